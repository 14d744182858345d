"""The pixel cache: built once, whoever asks and whatever happens meanwhile."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.config import StudyError
from headstart.data import cache as cache_module
from headstart.data import workers
from headstart.data.cache import PixelCache, allocate, identity, open_cache
from headstart.data.decode import decode
from headstart.data.prints import prints
from headstart.data.scan import Found, find_unlabeled
from headstart.data.worker import Task
from headstart.data.workers import Job, Row

SIDE = 16


def photos(folder: Path, count: int) -> list[Found]:
    """``count`` different pictures of different shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (20 + i % 5, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return find_unlabeled(folder)


def watched(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Names of the files that are decoded from now on; after some of them the power goes out."""
    seen: list[str] = []

    def decode_files(files: Iterable[Job], task: Task) -> Iterator[Row]:
        given = list(files)
        names = {row: Path(path).name for row, path, _ in given}
        for row in workers.decode_files(given, task):
            if len(seen) == stop_after:
                raise KeyboardInterrupt
            seen.append(names[row.row])
            yield row

    monkeypatch.setattr(cache_module, "decode_files", decode_files)
    return seen


def check(cache: PixelCache, files: list[Found]) -> None:
    """Every row is what decoding its file gives."""
    assert cache.pixels.shape == (len(files), 3, SIDE, SIDE)
    assert cache.pixels.dtype == np.uint8
    for i, file in enumerate(files):
        decoded = decode(Path(file.path), SIDE)
        if isinstance(decoded, str):
            assert cache.reasons[i] == decoded
            assert cache.digests[i] == ""
            assert not cache.pixels[i].any()
        else:
            assert cache.reasons[i] == ""
            assert cache.digests[i] == decoded.digest
            assert cache.aspect[i] == np.float32(decoded.width / decoded.height)
            assert np.array_equal(cache.pixels[i], decoded.pixels)
            found = prints(decoded.pixels[None])
            assert cache.prints.hashes[i] == found.hashes[0]
            assert cache.prints.mirrored[i] == found.mirrored[0]
            assert cache.prints.flat[i] == found.flat[0]


def test_rows_belong_to_files_and_are_built_only_where_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 12)
    seen = watched(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert sorted(seen) == [Path(f.path).name for f in files]
    again = open_cache(files, SIDE, tmp_path / "cache")
    assert len(seen) == 12
    check(again, files)
    assert not again.pixels.flags.writeable


def test_another_side_or_list_is_another_cache(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 4)
    open_cache(files, SIDE, tmp_path / "cache")
    assert open_cache(files, 8, tmp_path / "cache").pixels.shape == (4, 3, 8, 8)
    fewer = open_cache(files[:3], SIDE, tmp_path / "cache")
    check(fewer, files[:3])
    homes = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert len(homes) == 3


def test_a_changed_file_has_another_identity(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    before = identity(files)
    assert identity(files) == before
    path = Path(files[1].path)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = identity(files)
    assert touched != before
    path.write_bytes(path.read_bytes() + b"\0")  # as old as before, but longer
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    longer = identity(files)
    assert longer not in (before, touched)
    path.unlink()
    assert identity(files) not in (before, touched, longer)
    assert identity(files[::-1]) != identity(files)


def test_changed_pixels_are_read_again(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    open_cache(files, SIDE, tmp_path / "cache")
    Image.new("RGB", (30, 20), "red").save(files[1].path)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


@pytest.mark.parametrize("stop_after", [0, 1, 5, 11])
def test_a_build_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    files = photos(tmp_path / "in", 12)
    monkeypatch.setattr(cache_module, "BLOCK", 2)
    watched(monkeypatch, stop_after)
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, SIDE, tmp_path / "cache")
    seen = watched(monkeypatch)
    told: list[tuple[str, int, int]] = []
    cache = open_cache(files, SIDE, tmp_path / "cache", lambda *now: told.append(now))
    first = stop_after // 2 * 2  # one worker decodes in order, so whole blocks are done
    assert sorted(seen) == [f"{i:03d}.png" for i in range(first, 12)]
    assert told == [("reading images", n, 12) for n in range(first + 1, 13)]
    check(cache, files)
    assert not list((tmp_path / "cache").glob("*/block-*"))


def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Found], Path]:
    """A build with two of three blocks of two images done; the files, and its folder."""
    files = photos(tmp_path / "in", 6)
    monkeypatch.setattr(cache_module, "BLOCK", 2)
    watched(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, SIDE, tmp_path / "cache")
    return files, home(tmp_path)


def home(tmp_path: Path) -> Path:
    (pixels,) = (tmp_path / "cache").glob("*/pixels.npy")
    return pixels.parent


@pytest.mark.parametrize("kept", [0, 40, 400])
def test_a_pixel_file_cut_off_while_it_was_built_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    files, folder = stopped(tmp_path, monkeypatch)
    cut(folder / "pixels.npy", kept)
    seen = watched(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert len(seen) == 6


def test_finished_blocks_whose_pixels_or_records_were_lost_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut, when the records reached the disk and the pixels did not."""
    files, folder = stopped(tmp_path, monkeypatch)
    assert sorted(p.name for p in folder.glob("block-*")) == [
        "block-00000000.json",
        "block-00000001.json",
    ]
    flip(folder / "pixels.npy", -4 * 3 * SIDE * SIDE - 1)  # the last byte of row 1
    flip(folder / "block-00000001.json", -30)
    seen = watched(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert len(seen) == 6


def test_records_of_another_size_of_blocks_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = stopped(tmp_path, monkeypatch)
    watched(monkeypatch)
    monkeypatch.setattr(cache_module, "BLOCK", 3)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


# --- a finished cache that something happened to -----------------------------------------------


def cut(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def as_old(path: Path, harm: Callable[[Path], None]) -> None:
    """Harm a file in place, so that its size, time of change and inode stay, as a bad disk does."""
    stat = path.stat()
    harm(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)


HEADER = 128
HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "first pixel": (lambda h: flip(h / "pixels.npy", HEADER), "image 1 of 5 were altered"),
    "last pixel": (lambda h: flip(h / "pixels.npy", -1), "image 5 of 5 were altered"),
    "bad disk": (
        lambda h: as_old(h / "pixels.npy", lambda p: flip(p, -1)),
        "image 5 of 5 were altered",
    ),
    "magic": (lambda h: flip(h / "pixels.npy", 0), "pixels.npy was cut off or altered"),
    "header": (lambda h: flip(h / "pixels.npy", 20), "pixels.npy was cut off or altered"),
    "one byte short": (lambda h: cut(h / "pixels.npy", -1), "pixels.npy was cut off or altered"),
    "header only": (lambda h: cut(h / "pixels.npy", HEADER), "pixels.npy was cut off or altered"),
    "half a header": (lambda h: cut(h / "pixels.npy", 60), "pixels.npy was cut off or altered"),
    "empty": (lambda h: cut(h / "pixels.npy", 0), "pixels.npy was cut off or altered"),
    "longer": (
        lambda h: (h / "pixels.npy").write_bytes((h / "pixels.npy").read_bytes() + b"1"),
        "pixels.npy was cut off or altered",
    ),
    "no pixels": (lambda h: (h / "pixels.npy").unlink(), "pixels.npy is gone"),
    "table cut": (lambda h: cut(h / "done.json", -1), "done.json was cut off or altered"),
    "table empty": (lambda h: cut(h / "done.json", 0), "done.json was cut off or altered"),
    "table altered": (lambda h: flip(h / "done.json", -20), "done.json was cut off or altered"),
    "state altered": (lambda h: flip(h / "done.json", 3), "done.json was cut off or altered"),
    "table of old": (lambda h: (h / "done.json").write_text("{}"), "done.json was cut off or"),
    "table no text": (lambda h: (h / "done.json").write_bytes(b"\xff"), "done.json was cut off or"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Found], Path]:
    """Five files and the folder of their cache."""
    folder = tmp_path_factory.mktemp("whole")
    files = photos(folder / "in", 5)
    open_cache(files, SIDE, folder / "cache")
    return files, folder / "cache"


@pytest.mark.parametrize("harm", HARMS)
def test_a_cache_that_was_altered_is_named_and_made_anew(
    whole: tuple[list[Found], Path], tmp_path: Path, harm: str
) -> None:
    files, cache = whole
    shutil.copytree(cache, tmp_path / "cache")
    folder = home(tmp_path)
    do, why = HARMS[harm]
    do(folder)
    said: list[str] = []
    check(open_cache(files, SIDE, tmp_path / "cache", line=said.append), files)
    (line,) = said
    assert line.startswith(f"{folder}: ")
    assert why in line
    assert line.endswith("; the images are read again")
    check(open_cache(files, SIDE, tmp_path / "cache", line=said.append), files)
    assert len(said) == 1


@pytest.mark.parametrize("name", ["pixels.npy", "done.json"])
def test_files_swapped_between_caches_are_noticed(tmp_path: Path, name: str) -> None:
    files = photos(tmp_path / "in", 4)
    open_cache(files[:2], SIDE, tmp_path / "cache")
    one = home(tmp_path)
    open_cache(files[2:], SIDE, tmp_path / "cache")
    (two,) = (p.parent for p in (tmp_path / "cache").glob("*/pixels.npy") if p.parent != one)
    aside = tmp_path / "aside"
    for source, target in ((one / name, aside), (two / name, one / name), (aside, two / name)):
        os.replace(source, target)
    said: list[str] = []
    for part in (files[:2], files[2:]):
        check(open_cache(part, SIDE, tmp_path / "cache", line=said.append), part)
    assert len(said) == 2


def test_whole_folders_swapped_are_noticed(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 4)
    open_cache(files[:2], SIDE, tmp_path / "cache")
    one = home(tmp_path)
    open_cache(files[2:], SIDE, tmp_path / "cache")
    (two,) = (p.parent for p in (tmp_path / "cache").glob("*/pixels.npy") if p.parent != one)
    shutil.rmtree(one)
    two.rename(one)
    said: list[str] = []
    check(open_cache(files[:2], SIDE, tmp_path / "cache", line=said.append), files[:2])
    assert "done.json is that of other images" in said[0]


def test_a_large_cache_is_compared_in_part_and_wholly_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 20)
    open_cache(files, SIDE, tmp_path / "cache")
    compared: list[int] = []
    real = zlib.crc32

    def crc32(row: bytes) -> int:
        compared.append(1)
        return real(row)

    monkeypatch.setattr(cache_module, "zlib", SimpleNamespace(crc32=crc32))
    monkeypatch.setattr(cache_module, "CHECKED", 5 * 3 * SIDE * SIDE)
    open_cache(files, SIDE, tmp_path / "cache")
    assert len(compared) == 5
    pixels = home(tmp_path) / "pixels.npy"
    compared.clear()
    os.utime(pixels)
    open_cache(files, SIDE, tmp_path / "cache")
    assert len(compared) == 20
    compared.clear()
    open_cache(files, SIDE, tmp_path / "cache")  # the new time was noted
    assert len(compared) == 5
    flip(pixels, HEADER + 7 * 3 * SIDE * SIDE)
    said: list[str] = []
    check(open_cache(files, SIDE, tmp_path / "cache", line=said.append), files)
    assert "image 8 of 20" in said[0]


def test_a_cache_that_is_made_anew_leaves_readers_what_they_had(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    reader = open_cache(files, SIDE, tmp_path / "cache")
    cut(home(tmp_path) / "done.json", 5)
    open_cache(files, SIDE, tmp_path / "cache")
    check(reader, files)


def test_a_copied_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = photos(tmp_path / "in", 3)
    open_cache(files, SIDE, tmp_path / "cache")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    seen = watched(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "copy"), files)
    assert seen == []


# --- disks that refuse -------------------------------------------------------------------------


def test_a_whole_cache_is_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 3)
    open_cache(files, SIDE, tmp_path / "cache")
    os.utime(home(tmp_path) / "pixels.npy")
    shutil.copytree(home(tmp_path), tmp_path / "other" / home(tmp_path).name)
    (tmp_path / "other" / home(tmp_path).name / "done.json").write_text("altered")
    read_only(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    with pytest.raises(StudyError, match=r"Read-only file system; name another folder with data"):
        open_cache(files[:2], SIDE, tmp_path / "cache")
    with pytest.raises(StudyError, match="Read-only file system"):
        open_cache(files, SIDE, tmp_path / "other")


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be opened for writing: the tests may run as root, whom no permission stops."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *how: object, **more: object) -> object:
        if set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, mode, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StudyError, match=r"closed: cannot keep the decoded images there: Permiss"):
        open_cache(files, SIDE, tmp_path / "closed")


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match="cannot keep the decoded images there: "):
            open_cache(files, SIDE, folder)


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    files = photos(tmp_path / "in", 3)
    seen = watched(monkeypatch)

    def full(*_: object) -> None:
        raise OSError(kind, "no room")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        StudyError, match=r"no room for the decoded images: 0 MB are needed, [\d,]+"
    ):
        open_cache(files, SIDE, tmp_path / "cache")
    assert seen == []
    assert not list((tmp_path / "cache").glob("*/*"))  # what was taken is given back
    monkeypatch.undo()
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


FILLED = """
import resource, sys
from pathlib import Path
from headstart.config import StudyError
from headstart.data.cache import open_cache
from headstart.data.scan import find_unlabeled
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    open_cache(find_unlabeled(Path(sys.argv[1])), 64, Path(sys.argv[2]))
except StudyError as error:
    print(error)
"""


def test_a_limit_of_the_system_on_files_is_one_line(tmp_path: Path) -> None:
    photos(tmp_path / "in", 3)
    command = [sys.executable, "-c", FILLED, tmp_path / "in", tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no room for the decoded images: 0 MB are needed" in done.stdout


def test_room_is_taken_where_the_system_cannot_take_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"kept")
        file.flush()
        allocate(file.fileno(), 3 * 2**20 + 5)
    content = (tmp_path / "file").read_bytes()
    assert content == b"kept" + bytes(3 * 2**20 + 1)
    assert (tmp_path / "file").stat().st_blocks * 512 >= len(content)
    monkeypatch.delattr(os, "posix_fallocate")  # not every Unix has it
    files = photos(tmp_path / "in", 3)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


def test_room_is_really_taken(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        allocate(file.fileno(), 1 << 20)
    stat = (tmp_path / "file").stat()
    assert stat.st_size == 1 << 20
    assert stat.st_blocks * 512 >= 1 << 20


def test_a_disk_that_fills_while_images_are_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems promise room and do not keep it."""
    files = photos(tmp_path / "in", 3)

    def elsewhere(given: Iterable[tuple[int, str]], task: Task) -> Iterator[Row]:
        return workers.decode_files(given, replace(task, pixels="/dev/full"))

    monkeypatch.setattr(cache_module, "decode_files", elsewhere)
    with pytest.raises(StudyError, match="no room for the decoded images"):
        open_cache(files, SIDE, tmp_path / "cache")


def test_a_disk_that_does_not_keep_what_is_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 3)

    def altered(given: Iterable[tuple[int, str]], task: Task) -> Iterator[Row]:
        yield from workers.decode_files(given, task)
        flip(Path(task.pixels), -1)

    monkeypatch.setattr(cache_module, "decode_files", altered)
    with pytest.raises(StudyError, match="altered as soon as it was written; the disk may be fail"):
        open_cache(files, SIDE, tmp_path / "cache")


def test_a_file_that_vanishes_or_changes_after_it_was_found_is_not_fatal(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 4)
    Path(files[1].path).unlink()
    Path(files[2].path).unlink()
    os.mkfifo(files[2].path)
    cache = open_cache(files, SIDE, tmp_path / "cache")
    check(cache, files)
    assert "No such file" in cache.reasons[1]
    assert cache.reasons[2] == "not a file"


def test_unreadable_files_have_a_reason_and_are_not_fatal(tmp_path: Path) -> None:
    photos(tmp_path / "in", 4)
    (tmp_path / "in" / "001.png").write_bytes(b"")
    (tmp_path / "in" / "002.png").unlink()
    (tmp_path / "in" / "002.png").symlink_to(tmp_path / "gone.png")
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / "in" / name).write_bytes(b"<html>")
    files = find_unlabeled(tmp_path / "in")
    cache = open_cache(files, SIDE, tmp_path / "cache")
    check(cache, files)
    assert [bool(reason) for reason in cache.reasons] == [False, True, True, False, True]
    assert cache.aspect[1] == 1


def test_a_half_written_row_of_a_file_that_fails_is_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that is killed while its pixels are written leaves some of them behind."""
    files = photos(tmp_path / "in", 3)

    def dies(given: Iterable[tuple[int, str]], task: Task) -> Iterator[Row]:
        for row in workers.decode_files(given, task):
            yield replace(row, reason="died", digest="", aspect=1.0) if row.row == 1 else row

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "decode_files", dies)
        cache = open_cache(files, SIDE, tmp_path / "cache")
    assert not cache.pixels[1].any()
    assert cache.reasons[1] == "died"
    assert open_cache(files, SIDE, tmp_path / "cache").reasons[1] == "died"


def _open(files: list[Found], folder: Path, report: Callable[[int], None]) -> None:
    done = 0

    def count(what: str, now: int, total: int) -> None:
        nonlocal done
        done += 1

    check(open_cache(files, SIDE, folder, count), files)
    report(done)


BUILT = """
import sys
from pathlib import Path
from headstart.data import cache
from headstart.data.scan import find_unlabeled
cache.BLOCK = 100
cache.open_cache(find_unlabeled(Path(sys.argv[1])), 16, Path(sys.argv[2]))
"""


def test_a_build_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 700)
    command = [sys.executable, "-c", BUILT, tmp_path / "in", tmp_path / "cache"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not list((tmp_path / "cache").glob("*/block-*.json")):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert not list((tmp_path / "cache").glob("*/done.json"))
    monkeypatch.setattr(cache_module, "BLOCK", 100)
    seen = watched(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert 0 < len(seen) <= 600


def test_who_waits_is_told_so(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 2)
    (tmp_path / "cache").mkdir()
    name = f"{SIDE}px-{identity(files)[:16]}.lock"
    said: list[str] = []
    script = (
        "import sys, time, filelock\n"
        "with filelock.FileLock(sys.argv[1]):\n    print('locked', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache" / name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:

        def hear(line: str) -> None:
            said.append(line)
            other.kill()

        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        check(open_cache(files, SIDE, tmp_path / "cache", line=hear), files)
    assert said == ["waiting for another process that reads these images"]


def test_two_processes_at_once_build_it_once(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 40)
    context = multiprocessing.get_context("fork")
    reports = context.SimpleQueue()
    twins = [
        context.Process(target=_open, args=(files, tmp_path / "cache", reports.put))
        for _ in range(2)
    ]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(60)
    assert [twin.exitcode for twin in twins] == [0, 0]
    assert sorted([reports.get(), reports.get()]) == [0, 40]  # one built, one waited


def test_what_the_system_kept_from_us_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk that was away for a moment takes no image out of later studies."""
    files = photos(tmp_path / "in", 4)
    real = cache_module.decode_files

    def away(jobs: Any, task: Any) -> Any:
        for row in real(jobs, task):
            reason = "OSError: [Errno 5] Input/output error" if row.row == 1 else row.reason
            yield replace(row, reason=reason)

    monkeypatch.setattr(cache_module, "decode_files", away)
    first = open_cache(files, 8, tmp_path / "cache")
    assert first.reasons[1]
    assert not first.pixels[1].any()
    monkeypatch.undo()
    asked: list[int] = []

    def counted(jobs: Any, task: Any) -> Any:
        jobs = list(jobs)
        asked.extend(row for row, *_ in jobs)
        return real(jobs, task)

    monkeypatch.setattr(cache_module, "decode_files", counted)
    second = open_cache(files, 8, tmp_path / "cache")
    assert asked == [1]
    assert not second.reasons[1]
    assert second.pixels[1].any()
    open_cache(files, 8, tmp_path / "cache")
    assert asked == [1]
