"""Several processes for one run: started by headstart, by torchrun and by SLURM; stopped; lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import headstart
import tiny_study
from headstart.config import StudyError

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join(path for path in sys.path if path)
ALONE = os.environ | {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
HEADSTART = (sys.executable, "-m", "headstart", "run")
PATIENCE = 400.0  # seconds until something has surely gone wrong


def study_file(bags: Path, folder: Path, epochs: int = 20) -> Path:
    """One method, one linear head; a checkpoint every twentieth of a second."""
    settings: dict[str, Any] = tiny_study.settings(bags)
    settings["encoder"]["image_size"] = 16
    settings["methods"] = {"simclr": settings["methods"]["simclr"]}
    settings["pretrain"] = {"epochs": epochs, "batch_size": 16, "checkpoint_minutes": 0.001}
    settings["classify"]["protocols"] = ["linear"]
    settings["explain"], settings["seeds"] = {"images": 0}, [0]
    settings["compare"] = {"replicates": 100}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf8")
    return file


def children(pid: int) -> list[int]:
    """Every process below one."""
    own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*map(int, own), *(below for child in own for below in children(int(child)))]


def rank_of(pid: int) -> str | None:
    lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    found = [line for line in lines if line.startswith(b"RANK=")]
    return found[0].decode().removeprefix("RANK=") if found else None


@contextmanager
def started(command: Sequence[object], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a folder; nothing of it is left when the block ends."""
    words = [str(word) for word in command]
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(
            words, cwd=folder, env=ALONE, stdout=log, stderr=log, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        for pid in [*children(process.pid), process.pid] if process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        process.wait()


def wait_for_checkpoint(process: subprocess.Popen[str], run: Path) -> None:
    """Until a checkpoint is newer than the first recorded step."""
    until, recorded = time.monotonic() + PATIENCE, 0.0
    while True:
        assert process.poll() is None, (run.parent / "log.txt").read_text()
        assert time.monotonic() < until
        saved = [p.stat().st_mtime for p in run.glob("pretrain/simclr-*/checkpoint-previous.pt")]
        if recorded and saved and saved[0] > recorded:
            return
        recorded = recorded or (time.time() if first_steps(run) else 0.0)
        time.sleep(0.02)


def first_steps(run: Path) -> list[int]:
    """The first step that each start of the training recorded."""
    firsts = []
    for file in sorted(run.glob("tensorboard/pretrain/simclr-seed0/*")):
        steps = [event.step for event in EventFileLoader(str(file)).Load() if event.step]
        firsts += steps[:1]
    return firsts


def same_bits(run: Path, other: Path) -> None:
    one, two = (next(home.glob("pretrain/simclr-*/encoder.safetensors")) for home in (run, other))
    assert one.parent.name == two.parent.name
    assert one.read_bytes() == two.read_bytes()


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mistake_is_one_line_of_many_processes(bags: Path, tmp_path: Path) -> None:
    """Every process meets it; one says it."""
    command = (*HEADSTART, study_file(bags, tmp_path), "--devices", "3", "--out", "run", "--quiet")
    with started((*command, "--executor", "processes"), tmp_path) as process:
        assert process.wait(PATIENCE) == 2
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 1, lines
    assert "with several processes for one training write serial" in lines[0]


def test_python_starts_no_processes(bags: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="started by `headstart run` or torchrun, not from Python"):
        headstart.run(
            unlabeled=bags / "unlabeled",
            labeled=bags / "labeled",
            out=tmp_path,
            engine={"devices": 2},
        )


# --- stopped and lost --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_peace(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study by two processes that nobody stops."""
    folder = tmp_path_factory.mktemp("peace")
    file = study_file(bags, folder)
    with started((*HEADSTART, file, "--out", "run", "--devices", 2), folder) as process:
        assert process.wait(PATIENCE) == 0, (folder / "log.txt").read_text()
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["0", "1"])
def test_torchrun_restarts_what_is_killed_and_it_goes_on(
    victim: str, bags: Path, tmp_path: Path, in_peace: Path
) -> None:
    """A rank is killed: torchrun starts both again, from the checkpoint, to the same bits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--nproc-per-node", 2, "--max-restarts", 1, "--master-port", port)
    torchrun = (sys.executable, "-m", "torch.distributed.run", *options, "-m", "headstart", "run")
    with started((*torchrun, study_file(bags, tmp_path), "--out", "run"), tmp_path) as process:
        wait_for_checkpoint(process, tmp_path / "run")
        (pid,) = [pid for pid in children(process.pid) if rank_of(pid) == victim]
        os.kill(pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == 0, (tmp_path / "log.txt").read_text()
    assert (tmp_path / "run" / "results.json").exists()
    begun, again = first_steps(tmp_path / "run")
    assert begun < again
    same_bits(in_peace, tmp_path / "run")


@pytest.mark.slow
def test_a_signal_saves_and_another_number_of_processes_goes_on(bags: Path, tmp_path: Path) -> None:
    """SIGUSR1 to the command that was started: exit code 138; two processes begin, one ends."""
    command = (*HEADSTART, study_file(bags, tmp_path), "--out", "run", "--quiet")
    with started((*command, "--devices", 2), tmp_path) as process:
        wait_for_checkpoint(process, tmp_path / "run")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE) == 128 + signal.SIGUSR1, (tmp_path / "log.txt").read_text()
    log = (tmp_path / "log.txt").read_text()
    assert log.count("stopped by SIGUSR1") == 1
    assert "Traceback" not in log
    with started(command, tmp_path) as process:
        assert process.wait(PATIENCE) == 0, (tmp_path / "log.txt").read_text()
    begun, again = first_steps(tmp_path / "run")
    assert begun < again


# --- SLURM -------------------------------------------------------------------------------------

STAND_INS = {
    # Starts the tasks of two machines with two each, and passes signals on, as srun says it does.
    "srun": """
        tasks=()
        for i in 0 1 2 3; do
          SLURM_PROCID=$i SLURM_LOCALID=$((i % 2)) "${@:2}" & tasks+=($!)
        done
        trap 'kill -USR1 "${tasks[@]}"' USR1
        worst=0
        for task in "${tasks[@]}"; do
          while kill -0 $task 2>/dev/null; do wait $task; code=$?; done
          [ $code -gt $worst ] && worst=$code
        done
        exit $worst""",
    "scontrol": '[ "$1" = show ] && printf "one\\ntwo\\n" || echo "scontrol $*"',
    "headstart": """
        echo "$RANK $LOCAL_RANK of $WORLD_SIZE $LOCAL_WORLD_SIZE at $MASTER_ADDR: $*"
        trap 'exit 138' USR1
        touch "begun-$RANK"
        for i in $(seq 300); do [ -e finish ] && exit 0; sleep 0.1; done""",
}


@pytest.mark.parametrize("asked", [True, False])
def test_the_slurm_script(asked: bool, tmp_path: Path) -> None:
    """With stand-ins for SLURM and headstart: four ranks begin; a signal asks for a requeue."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    for name, body in {**STAND_INS, "job": script}.items():
        file = tmp_path / name
        file.write_text(script if name == "job" else f"#!/bin/bash\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    slurm = {"SLURM_JOB_ID": "70", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}
    env = os.environ | slurm | {"SLURM_JOB_NODELIST": "x", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    with (tmp_path / "log.txt").open("w") as log:
        job = subprocess.Popen([tmp_path / "job"], cwd=tmp_path, env=env, stdout=log, stderr=log)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("begun-*"))) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    if asked:
        job.send_signal(signal.SIGUSR1)
    else:
        (tmp_path / "finish").touch()
    assert job.wait(60) == (138 if asked else 0)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    ranks = sorted(line for line in lines if " of " in line)
    wanted = [f"{i} {i % 2} of 4 2 at one: run study.yaml --out runs/study" for i in range(4)]
    assert ranks == wanted
    assert ("scontrol requeue 70" in lines) == asked
