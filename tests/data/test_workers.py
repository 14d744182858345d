"""Decoding in worker processes: nothing that a file does to its decoder reaches the program."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import StudyError
from headstart.data import workers
from headstart.data.decode import Decoded, decode
from headstart.data.worker import Task
from headstart.data.workers import COMMAND, Job, Row, decode_files

SIDE = 8
BYTES = 3 * SIDE * SIDE
SABOTAGED = (sys.executable, "-P", str(Path(__file__).parent / "sabotaged_worker.py"))
START = 100  # pixels need not begin at the file's first byte


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(path)
    return path


def named(folder: Path, picture: Path, *names: str) -> list[str]:
    """Links to one picture under many names."""
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        os.link(picture, path)
    return paths


def place(folder: Path, count: int, **limits: float) -> Task:
    """A file of 0xAA to write pixels into."""
    path = folder / "pixels"
    path.write_bytes(b"\xaa" * (START + count * BYTES))
    return Task(str(path), START, SIDE, **limits)  # type: ignore[arg-type]


def written(task: Task) -> np.ndarray:
    """(N, 3, SIDE, SIDE) from the file."""
    content = Path(task.pixels).read_bytes()
    assert content[:START] == b"\xaa" * START
    return np.frombuffer(content[START:], np.uint8).reshape(-1, 3, SIDE, SIDE)


def jobs(paths: list[str]) -> Iterator[Job]:
    """Each file goes to the place of its row."""
    return ((row, path, row) for row, path in enumerate(paths))


def run(task: Task, paths: list[str], command: tuple[str, ...] = SABOTAGED) -> list[Row]:
    """Rows in order of the files; no process is left."""
    rows = sorted(decode_files(jobs(paths), task, command), key=lambda row: row.row)
    assert [row.row for row in rows] == list(range(len(paths)))
    assert not children()
    return rows


def children() -> list[int]:
    """Processes that this one started and that are alive, or dead and not waited for."""
    try:
        return [os.waitpid(-1, os.WNOHANG)[0]]
    except ChildProcessError:
        return []


def reasons(rows: list[Row]) -> list[str]:
    return [row.reason for row in rows]


def test_rows_are_what_decoding_gives(tmp_path: Path, picture: Path) -> None:
    good = named(tmp_path, picture, *(f"{i}.png" for i in range(200)))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    paths = [*good[:100], str(bad), str(tmp_path / "gone.png"), *good[100:]]
    task = place(tmp_path, len(paths))
    rows = run(task, paths, COMMAND)
    whole = decode(picture, SIDE)
    assert isinstance(whole, Decoded)
    for row, path, pixels in zip(rows, paths, written(task), strict=True):
        if path in good:
            assert (row.reason, row.digest, row.aspect) == ("", whole.digest, 7 / 9)
            assert np.array_equal(pixels, whole.pixels)
        else:
            assert row.reason == decode(Path(path), SIDE)
            assert (pixels == 0xAA).all()


ODD = [
    "new\nline.png",
    "quote\"'.png",
    "ünïcöde_包.png",
    "😀.png",
    os.fsdecode(b"caf\xe9.png"),
    "\\.png",
]


def test_paths_of_any_bytes_reach_the_decoder(tmp_path: Path, picture: Path) -> None:
    deep = tmp_path / os.fsdecode(b"\xff" * 240) / os.fsdecode(b"\xfe" * 240)
    deep.mkdir(parents=True)
    long = [str(deep / f"{'包' * 40}{i}.png") for i in range(60)]  # 5 kB a line, written as JSON
    paths = named(tmp_path, picture, *ODD) + named(deep, picture, *(Path(p).name for p in long))
    assert set(reasons(run(place(tmp_path, len(paths)), paths, COMMAND))) == {""}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("segfault.png", "the decoder crashed (signal 11)"),
        ("abort.png", "the decoder crashed (signal 6)"),
        ("killed.png", "the decoder was killed (signal 9), most likely for lack of memory"),
        ("exit.png", "the decoder ended the process (status 3)"),
        ("sysexit.png", "the decoder ended the process (status 4)"),
        ("swallow.png", "needs more than 512 MB to decode"),
        ("hang.png", "took longer than 3 s to decode"),
    ],
)
def test_what_a_decoder_does_costs_only_its_file(
    tmp_path: Path, picture: Path, name: str, reason: str
) -> None:
    paths = named(tmp_path, picture, *(f"{i}.png" for i in range(10)), name, "last.png")
    rows = run(place(tmp_path, len(paths), seconds=3, memory=512 << 20), paths)
    assert reasons(rows) == [*[""] * 10, reason, ""]


def test_a_small_file_that_states_gigabytes_does_not_get_them(
    tmp_path: Path, picture: Path
) -> None:
    """63 pixels, and a chunk of four gigabytes that ends after some bytes: found by fuzzing."""
    content = bytearray(picture.read_bytes())
    chunk = content.index(b"IDAT")
    content[chunk - 4 : chunk] = b"\xff" * 4
    (tmp_path / "bomb.png").write_bytes(content)
    paths = [*named(tmp_path, picture, "1.png", "2.png"), str(tmp_path / "bomb.png")]
    first, second, bomb = reasons(run(place(tmp_path, 3), paths, COMMAND))
    assert (first, second) == ("", "")
    assert bomb in ("needs more than 1536 MB to decode", "") or bomb.startswith("OSError")


def test_all_of_them_together_and_every_file_hostile(tmp_path: Path, picture: Path) -> None:
    kinds = ("segfault", "abort", "exit", "babble", "once")
    names = [f"{kind}{i}.png" for i in range(3) for kind in kinds]
    paths = named(tmp_path, picture, *names, "hang.png")
    rows = run(place(tmp_path, len(paths), seconds=3), paths)
    assert [bool(row.reason) for row in rows] == [*[True, True, True, False, False] * 3, True]


def test_what_killed_an_innocent_file_does_not_count(tmp_path: Path, picture: Path) -> None:
    paths = named(tmp_path, picture, "1.png", "once.png", "2.png")
    assert reasons(run(place(tmp_path, 3), paths)) == [""] * 3
    assert (tmp_path / "once.mark").exists()


def test_time_is_counted_for_each_file(tmp_path: Path, picture: Path) -> None:
    """Eight files of 0.4 s each are fine where one may take 3 s."""
    paths = named(tmp_path, picture, *(f"slow{i}.png" for i in range(8)))
    assert reasons(run(place(tmp_path, 8, seconds=3), paths)) == [""] * 8


def test_what_decoders_print_is_not_heard(
    tmp_path: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = named(tmp_path, picture, "babble1.png", "2.png", "babble3.png")
    assert reasons(run(place(tmp_path, 3), paths)) == [""] * 3
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_does_not_start_is_one_line(tmp_path: Path, picture: Path) -> None:
    with pytest.raises(StudyError, match=r"images could not be started: no such module$"):
        run(place(tmp_path, 1), [str(picture)], (*SABOTAGED, "nostart"))
    assert not children()
    with pytest.raises(StudyError, match=r"images could not be started: No such file or directory"):
        run(place(tmp_path, 1), [str(picture)], ("/no/such/program",))
    command = (sys.executable, "-c", "import headstart_is_not_there")
    with pytest.raises(StudyError, match="ModuleNotFoundError: No module named 'headstart_is_not"):
        run(place(tmp_path, 1), [str(picture)], command)


def test_a_worker_that_hangs_at_its_start_is_one_line(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "START_SECONDS", 0.5)
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(StudyError, match="images could not be started"):
        run(place(tmp_path, 1), [str(picture)], command)
    assert not children()


def test_pixels_that_cannot_be_written_are_an_error(tmp_path: Path, picture: Path) -> None:
    task = Task("/dev/full", 0, SIDE)
    with pytest.raises(OSError, match="No space left"):
        run(task, [str(picture)], COMMAND)
    assert not children()


def test_no_file_needs_no_worker(tmp_path: Path) -> None:
    assert run(place(tmp_path, 0), [], ("/no/such/program",)) == []


def test_few_files_need_one_worker_and_many_one_a_core(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 3)
    started: list[object] = []
    real = workers._Worker

    def counted(*what: object) -> object:
        started.append(what)
        return real(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "_Worker", counted)
    paths = named(tmp_path, picture, *(f"{i}.png" for i in range(200)))
    for count, expected in ((1, 1), (32, 1), (33, 2), (200, 3)):
        started.clear()
        run(place(tmp_path, count), paths[:count], COMMAND)
        assert len(started) == expected


def test_stopping_early_leaves_no_process(tmp_path: Path, picture: Path) -> None:
    paths = named(tmp_path, picture, *(f"{i}.png" for i in range(100)), "hang.png")
    rows = decode_files(jobs(paths), place(tmp_path, len(paths)), SABOTAGED)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert not children()


# --- the life of a worker ----------------------------------------------------------------------


def test_a_worker_imports_nothing_heavy() -> None:
    code = "import sys, headstart.data.worker; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert {"numpy", "PIL", "headstart"} <= found
    heavy = {"torch", "scipy", "torchvision", "lightning", "pydantic", "yaml", "rich", "pandas"}
    assert not heavy & found


PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from headstart.data.worker import Task
from headstart.data.workers import decode_files
pixels, path, *command = sys.argv[1:]
task = Task(pixels, 100, 8, seconds=float({seconds}))
print("begun", flush=True)
for row in decode_files(((i, path, i) for i in range(10**9)), task, command):
    pass
"""


@contextlib.contextmanager
def parent(folder: Path, path: str, seconds: float = 20) -> Iterator[subprocess.Popen[str]]:
    """A program that decodes one file over and over, with its workers started."""
    task = place(folder, 1)
    with open(task.pixels, "r+b") as file:
        file.truncate(1 << 40)  # sparse: rows go on and on
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(seconds=seconds), task.pixels, path, *SABOTAGED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        wait_for(lambda: len(group(process.pid)) > 1)
        time.sleep(0.5)
        yield process
    finally:
        for pid in group(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def group(leader: int) -> list[int]:
    """Processes of a session, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_for(holds: object, seconds: float = 30) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@linux
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path, picture: Path) -> None:
    with parent(tmp_path, str(picture)) as process:
        process.kill()
        wait_for(lambda: not group(process.pid))


@linux
def test_a_decoder_that_hangs_does_not_outlive_its_parent_for_long(
    tmp_path: Path, picture: Path
) -> None:
    (path,) = named(tmp_path, picture, "hang.png")
    with parent(tmp_path, path, seconds=1) as process:
        process.kill()
        wait_for(lambda: not group(process.pid))


@linux
def test_ctrl_c_ends_all_at_once_and_workers_say_nothing(tmp_path: Path, picture: Path) -> None:
    (path,) = named(tmp_path, picture, "slow.png")
    with parent(tmp_path, path) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.communicate(timeout=30)[1]
        assert said.count("KeyboardInterrupt") == 1
        assert not group(process.pid)


def test_a_task_is_one_line_of_ascii() -> None:
    task = Task(os.fsdecode(b"/caf\xe9/\n/\xe5\x8c\x85"), 128, 96)
    line = task.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert Task(**json.loads(line)) == task
