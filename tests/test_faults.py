"""Whatever fails, one line says so, what was finished stays, and the next run goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml

import tiny_study
from headstart import cli, faults, files, interrupt, pipeline, terminal
from headstart.config import Study, StudyError
from headstart.methods import METHODS
from headstart.methods.simclr import SimCLR
from headstart.methods.supervised import Supervised
from headstart.pipeline import run_study
from headstart.reporting import schema
from headstart.stages import report as report_stage

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "encoder": {"image_size": 16},
    "pretrain": {"epochs": 2, "batch_size": 32, "checkpoint_minutes": 0},
    "classify": {"protocols": ["linear"]},
    "explain": {"images": 2, "pictures": 1, "attributions": ["saliency"]},
    "compare": {"replicates": 100},
}


def small(bags: Path, **changes: Any) -> Study:
    return tiny_study.study(bags, only=["simclr"], **(SMALL | {"data": {"limit": 20}} | changes))


def findings(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf8"))
    results.pop("provenance")
    return results


def finished_work(folder: Path) -> dict[str, int]:
    return {
        str(path.parent.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.glob("*/*/done.json")
    }


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_stage, "write_report", lambda _, folder: folder / "report.html")


@pytest.fixture(scope="module")
def peace(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study without any fault; to be read only."""
    folder = tmp_path_factory.mktemp("peace") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_stage, "write_report", lambda _, folder: folder / "report.html")
        run_study(small(bags), folder)
    return folder


Main = Callable[..., tuple[int, str]]


@pytest.fixture
def main(bags: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """``headstart run`` on the small study in this process: exit code and stderr."""

    def run(out: Path, **changes: Any) -> tuple[int, str]:
        file = out.parent / "study.yaml"
        file.write_text(yaml.safe_dump(small(bags, **changes).model_dump(mode="json")))
        monkeypatch.setattr(sys, "argv", ["headstart", "run", str(file), "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def last_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    return stderr.splitlines()[-1].removeprefix("headstart: ")


# --- the disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("checkpoint-next.pt", errno.ENOSPC),
        ("encoder.safetensors", errno.EIO),
        ("features.npz", errno.EACCES),
        ("results.json", errno.EROFS),
    ],
)
def test_a_disk_that_fails_is_one_line_and_the_next_run_goes_on(
    at: str, number: int, main: Main, peace: Path, tmp_path: Path, no_page: None
) -> None:
    """Every kind of file, and every kind of failure."""
    out = tmp_path / "run"
    real = files.os.replace

    def fails(source: Path, target: Path) -> None:
        if Path(target).name == at and "random" not in str(target):
            raise OSError(number, os.strerror(number), str(target))
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "replace", fails)
        code, stderr = main(out)
    line = last_line(stderr)
    assert code == 1
    assert at in line
    assert faults._DISK[number] in line
    assert line.endswith(faults.GO_ON)
    assert not list(out.rglob(f".{at}.part"))
    before = finished_work(out)
    assert before
    code, stderr = main(out)
    assert code == 0, stderr
    assert before.items() <= finished_work(out).items()
    assert findings(out) == findings(peace)


def test_a_file_that_may_not_grow(main: Main, tmp_path: Path) -> None:
    """The kernel itself says no."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        code, stderr = main(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1, stderr
    line = last_line(stderr)
    assert line.startswith(str(tmp_path / "run" / "pretrain"))
    assert "no file may grow so large here; see ulimit -f" in line


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [1, 6])
def test_a_disk_that_is_full(megabytes: int, bags: Path, tmp_path: Path) -> None:
    """A disk of some megabytes, in a name space of its own, away from this machine's network."""
    if subprocess.run(["unshare", "-rmn", "true"], check=False).returncode:
        pytest.skip("needs user name spaces")
    file, disk = tmp_path / "study.yaml", tmp_path / "disk"
    file.write_text(yaml.safe_dump(small(bags).model_dump(mode="json")))
    disk.mkdir()
    script = (
        f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && '
        'exec "$2" -m headstart run "$3" --out "$1/run"'
    )
    done = subprocess.run(
        ["unshare", "-rmn", "sh", "-c", script, "sh", disk, sys.executable, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    line = last_line(done.stderr)
    assert line.startswith(f"{disk}/run/")
    assert "the disk is full; make room" in line


@pytest.mark.slow
def test_a_study_without_any_network(bags: Path, tmp_path: Path) -> None:
    """The kernel gives it no interface but a loopback that is down."""
    if subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        pytest.skip("needs user name spaces")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(small(bags).model_dump(mode="json")))
    run = [sys.executable, "-m", "headstart", "run", file, "--out", tmp_path / "run"]
    subprocess.run(["unshare", "-rn", *run], check=True, capture_output=True)
    assert (tmp_path / "run" / "report.html").is_file()


class Removes(tiny_study.Spoken):
    """Takes the run folder away while a method trains."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def progress(self, what: str, done: int, total: int) -> None:
        if what.startswith("simclr"):
            away = self.folder.with_name("away")
            if not away.exists():  # at once, as a tracker may write meanwhile
                self.folder.rename(away)


def test_a_run_folder_that_is_taken_away(bags: Path, tmp_path: Path, no_page: None) -> None:
    with pytest.raises(OSError, match=r"run") as caught:
        run_study(small(bags), tmp_path / "run", Removes(tmp_path / "run"))
    line = faults.machine_fault(caught.value)
    assert line
    assert "it is gone; was it moved or removed while the study ran?" in line


def test_faults_of_ours_are_not_told_as_faults_of_the_machine() -> None:
    assert faults.machine_fault(ValueError("wrong shape")) is None
    assert faults.machine_fault(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert faults.machine_fault(OSError("no number")) is None


# --- moved, and without its images ---------------------------------------------------------------


def test_a_run_folder_may_be_moved(bags: Path, peace: Path, tmp_path: Path, no_page: None) -> None:
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(peace, moved)
    before = finished_work(moved)
    tell = tiny_study.Spoken()
    run_study(small(bags), moved, tell)
    assert finished_work(moved) == before
    assert not [what for what, _, _ in tell.bars if what.split()[0] in ("simclr", "classify")]
    assert findings(moved) == findings(peace)
    texts = [path for path in moved.glob("*/*/*") if path.suffix == ".json"]
    assert texts
    for path in texts:
        assert str(peace.parent) not in path.read_text(encoding="utf8")


def test_without_its_images_a_study_is_not_taken_up(peace: Path, tmp_path: Path) -> None:
    """What was found stays; going on needs the images."""
    moved = tmp_path / "run"
    shutil.copytree(peace, moved)
    with pytest.raises(StudyError, match="no such folder"):
        run_study(small(tmp_path / "gone"), moved)
    assert findings(moved) == findings(peace)


# --- damaged artifacts ---------------------------------------------------------------------------


def test_every_kind_of_artifact_that_is_damaged_is_named_and_made_anew(
    bags: Path, peace: Path, tmp_path: Path, no_page: None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(peace, run)
    spoilt = {
        "index": "datasetindex.npz",
        "pretrain": "encoder.safetensors",
        "extract": "features.npz",
        "classify": "head.safetensors",
        "evaluate": "predictions.npz",
        "explain": "attributions.npz",
        "gates": "done.json",
        "compare": "comparison.json",
    }
    for number, (verb, name) in enumerate(spoilt.items()):
        path = next(p for p in sorted(run.glob(f"{verb}/*/**/{name}")) if "majority" not in str(p))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content[:-3] if number % 2 else content)
    tell = tiny_study.Spoken()
    run_study(small(bags), run, tell)
    said = [line for line in tell.lines if line.endswith("making it anew")]
    named = {line.split("/")[0]: line for line in said}
    assert len(said) == len(spoilt)  # and nothing that hangs on them
    for verb, name in spoilt.items():
        assert f"{name} is damaged" in named[verb]
    assert findings(run) == findings(peace)
    assert (run / "predictions.csv").read_bytes() == (peace / "predictions.csv").read_bytes()


# --- memory --------------------------------------------------------------------------------------


def hungry(most: int, error: Exception) -> type[SimCLR]:
    """SimCLR for which memory holds so many images and no more."""

    class Hungry(SimCLR):
        def loss(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
            if len(x1) > most:
                raise error
            return super().loss(x1, x2)

    return Hungry


@pytest.mark.parametrize(
    ("most", "wanted"),
    [
        (8, "one of 8 does; try --batch-size 8, or --activation-checkpointing"),
        (5, "try --batch-size 4"),
        (1, "nor does any"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["gpu", "host", "torch", "cuda", "cublas"],
)
def test_a_batch_that_does_not_fit_is_told_with_one_that_does(
    error: Exception, most: int, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simclr", hungry(most, error))
    run = tiny_study.open_run(tiny_study.study(encoder={"image_size": 16}), tmp_path)
    data = tiny_study.made_data(run, pool=40)
    with pytest.raises(StudyError) as caught:
        pipeline.pretrain(run, data, "simclr", 0, pipeline.start(run, 0, "random"))
    line = str(caught.value)
    assert line.startswith("simclr (seed 0): a step of 32 images does not fit into the memory of")
    assert wanted in line


def test_memory_that_was_enough_until_now_is_no_reason_for_another_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program took it: what was learnt is gone on from, not begun anew with less."""
    steps: list[int] = []

    class Crowded(SimCLR):
        def loss(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
            steps.append(len(x1))
            if len(steps) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().loss(x1, x2)

    monkeypatch.setitem(METHODS.entries, "simclr", Crowded)
    settings = {"batch_size": 8, "epochs": 2, "checkpoint_minutes": 0}
    asked = tiny_study.study(encoder={"image_size": 16}, pretrain=settings)
    run = tiny_study.open_run(asked, tmp_path)
    data = tiny_study.made_data(run, pool=40)
    with pytest.raises(MemoryError) as caught:
        pipeline.pretrain(run, data, "simclr", 0, pipeline.start(run, 0, "random"))
    assert "run the same command again" in str(faults.machine_fault(caught.value))
    entry = pipeline.pretrain(run, data, "simclr", 0, pipeline.start(run, 0, "random"))
    assert entry.info["status"] == "ok"
    assert len(steps) == 2 + 1 + entry.info["steps"] - 2  # two kept, one failed, the rest


def test_what_read_ahead_in_vain_is_let_go() -> None:
    """An error from the thread that reads ahead must not keep a training's memory alive."""
    import gc
    import weakref

    from headstart.data.ahead import Ahead

    class Large:
        pass

    def alive() -> weakref.ref[Large]:
        large = Large()

        def batch(step: int) -> tuple[torch.Tensor, ...]:
            raise torch.OutOfMemoryError(f"CUDA out of memory. {type(large)}")

        ahead = Ahead(batch, 3, torch.device("cpu"))
        with contextlib.suppress(torch.OutOfMemoryError):
            ahead(0)
        return weakref.ref(large)

    gc.disable()  # what only the collector of cycles frees is still held when memory is short
    try:
        assert alive()() is None
    finally:
        gc.enable()


def test_another_error_in_a_training_is_not_taken_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = hungry(8, RuntimeError("shapes cannot be multiplied"))
    monkeypatch.setitem(METHODS.entries, "simclr", broken)
    run = tiny_study.open_run(tiny_study.study(encoder={"image_size": 16}), tmp_path)
    data = tiny_study.made_data(run, pool=40)
    with pytest.raises(RuntimeError, match="shapes"):
        pipeline.pretrain(run, data, "simclr", 0, pipeline.start(run, 0, "random"))


def test_a_finetuning_that_does_not_fit_names_its_own_setting(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Supervised.loss

    def hungry_loss(self: Supervised, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if len(x) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, x, y)

    monkeypatch.setattr(Supervised, "loss", hungry_loss)
    with pytest.raises(StudyError, match=r"try --set classify\.finetune\.batch_size=8, or --act"):
        run_study(small(bags), tmp_path / "run")


def test_images_asked_at_once_become_fewer_where_memory_is_short(tmp_path: Path) -> None:
    from headstart.runtime.networks import outputs

    run = tiny_study.open_run(tiny_study.study(encoder={"image_size": 16}), tmp_path)
    data = tiny_study.made_data(run, pool=40)
    network, asked = tiny_study.small_encoder().eval(), list[int]()

    def short(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        if len(x) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        answer: torch.Tensor = network(x)
        return answer

    images = data.images(data.index.where("pool"))
    torch.testing.assert_close(outputs(network, images, short), outputs(network, images))
    assert asked == [40, 20, 10, *[5] * 8]

    def none(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        outputs(network, images, none)


def test_memory_that_runs_out_anywhere_else_is_one_line(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "extract", none)
    code, stderr = main(tmp_path / "run")
    assert code == 1
    assert last_line(stderr).startswith("out of memory; ")


# --- signals and pipes ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_ends_with_one_line_and_the_next_run_goes_on(
    number: signal.Signals,
    main: Main,
    peace: Path,
    tmp_path: Path,
    no_page: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = terminal.Terminal.progress

    def called(self: terminal.Terminal, what: str, done: int, total: int) -> None:
        real(self, what, done, total)
        if what.startswith("simclr"):
            os.kill(os.getpid(), number)

    before = signal.default_int_handler
    was = signal.signal(number, before)  # it may be ignored here, as under nohup
    with monkeypatch.context() as patch:
        patch.setattr(terminal.Terminal, "progress", called)
        code, stderr = main(tmp_path / "run", pretrain={**SMALL["pretrain"], **LATE})
    assert code == 128 + number
    assert last_line(stderr) == f"stopped by {number.name}; {faults.GO_ON}"
    assert signal.signal(number, was) == before
    (checkpoint,) = (tmp_path / "run").glob("pretrain/simclr-*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    code, stderr = main(tmp_path / "run")
    assert code == 0, stderr
    found = findings(tmp_path / "run")
    assert found == findings(peace)


LATE = {"checkpoint_minutes": 60}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_outside_of_training_ends_at_once(
    number: signal.Signals, main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(*_: object) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("went on")

    monkeypatch.setattr(pipeline, "extract", waits)
    was = signal.signal(number, signal.default_int_handler)
    code, stderr = main(tmp_path / "run")
    assert signal.signal(number, was) == signal.default_int_handler
    assert code == 128 + number
    assert last_line(stderr).startswith(f"stopped by {number.name}")


def test_what_a_library_makes_of_an_interruption_is_still_one(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in the middle of a C function it may come out as an error, or not at all."""

    def turned(*_: object) -> None:
        with contextlib.suppress(interrupt.Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("could not determine the shape of something")

    monkeypatch.setattr(pipeline, "extract", turned)
    code, stderr = main(tmp_path / "run")
    assert code == 128 + signal.SIGTERM
    assert last_line(stderr).startswith("stopped by SIGTERM")

    def swallowed(run: Any, *_: object) -> None:
        with contextlib.suppress(interrupt.Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        pipeline.start(run, 0, "random")  # the next artifact that is asked for
        raise AssertionError("went on")

    monkeypatch.setattr(pipeline, "extract", swallowed)
    code, stderr = main(tmp_path / "run")
    assert code == 128 + signal.SIGTERM


SECOND = """
import os, signal, sys
from headstart import interrupt
with interrupt.listening():
    with interrupt.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        print("goes on", flush=True)
        os.kill(os.getpid(), signal.SIGUSR1)
        print("never", flush=True)
"""


def test_a_second_signal_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 128 + signal.SIGUSR1
    assert done.stdout == "goes on\n"
    assert done.stderr == ""


def test_a_terminal_that_closes_says_so_twice() -> None:
    # Tests may themselves be run where it is ignored.
    script = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    script += SECOND.replace("SIGTERM", "SIGHUP").replace("SIGUSR1", "SIGHUP")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "goes on\nnever\n"  # the work there was done before the end
    assert "Interrupted" in done.stderr


def test_a_run_folder_with_a_link_in_it_is_refused(bags: Path, tmp_path: Path) -> None:
    """It could be aimed at any file that we may write."""
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / "run" / "index").mkdir(parents=True)
    (tmp_path / "run" / "index" / "x.csv").symlink_to(mine)
    with pytest.raises(StudyError, match=r"index/x\.csv is a link"):
        run_study(small(bags), tmp_path / "run")
    assert mine.read_text() == "mine"


def test_signals_that_are_ignored_stay_ignored() -> None:
    """As under nohup, or in the background of a script."""
    script = (
        "import os, signal\nfrom headstart import interrupt\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with interrupt.listening():\n    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_reader_of_stdout_that_goes_away() -> None:
    """``headstart presets | true``, with more to say than a pipe holds."""
    script = (
        "import sys\nfrom headstart import cli\n"
        "import typer\n"
        "@cli.app.command()\ndef speak() -> None:\n"
        "    for _ in range(9000):\n        print('many words, one line')\n"
        "sys.argv = ['headstart', 'speak']\ncli.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_terminal_that_goes_away_does_not_end_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    gone = os.fdopen(writes, "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", gone)
    told = terminal.Terminal()
    for i in range(3):
        told.line(f"nobody hears line {i}")
        told.progress("nor this", i, 3)
    with contextlib.suppress(BrokenPipeError):  # what was never said
        gone.close()


# --- numbers that are none -----------------------------------------------------------------------


class NotANumber(SimCLR):
    def loss(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        return super().loss(x1, x2) * float("nan")


def supervised_not_a_number(self: Supervised, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return self(x).sum() * float("nan")


def valid(run: Path) -> None:
    """What was written of a study with losses is still what the schema says."""
    jsonschema.validate(json.loads((run / "results.json").read_text(encoding="utf8")), schema())


def test_a_lost_method_is_named_and_the_study_goes_on(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simclr", NotANumber)
    code, stderr = main(tmp_path / "run")
    assert code == 0, stderr
    lost = next(line for line in stderr.splitlines() if line.startswith("Not judged: "))
    assert lost.startswith("Not judged: SimCLR, linear head."), stderr
    assert "not a number" in lost
    valid(tmp_path / "run")
    results = findings(tmp_path / "run")
    status = {f"{a['method']}/{a['protocol']}": a["status"] for a in results["arms"]}
    assert status.pop("simclr/linear") == "failed"
    assert set(status.values()) == {"ok"}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert "not a number" in page


def test_a_lost_baseline_leaves_nothing_to_compare_with_and_says_so(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervised, "loss", supervised_not_a_number)
    protocols = {
        "classify": {**tiny_study.settings()["classify"], "protocols": ["linear", "finetune"]}
    }
    code, stderr = main(tmp_path / "run", **protocols)
    assert code == 0, stderr
    valid(tmp_path / "run")
    results = findings(tmp_path / "run")
    status = {f"{a['method']}/{a['protocol']}": a["status"] for a in results["arms"]}
    assert status["supervised/supervised"] == status["simclr/finetune"] == "failed"
    assert status["simclr/linear"] == "ok"
    sentences = {row["arm_a"]: row["sentence"] for row in results["comparisons"]}
    assert sentences["simclr/linear"].startswith("No verdict. SimCLR, linear head: nothing to")
    assert "training failed: not a number in every trial" in sentences["simclr/finetune"]
    assert {row["verdict"] for row in results["comparisons"]} == {"no verdict"}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert "not a number in every trial" in page


def test_a_study_without_any_trained_arm_fails(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simclr", NotANumber)
    monkeypatch.setattr(Supervised, "loss", supervised_not_a_number)
    code, stderr = main(tmp_path / "run")
    assert code == 1
    lost = "".join(line for line in stderr.splitlines() if line.startswith("Not judged: "))
    assert "Not judged: supervised." in lost, stderr
    assert "Traceback" not in stderr
    assert (tmp_path / "run" / "report.html").is_file()
