"""Every image decoded once, into a memory-mapped array that all arms, seeds and runs share.

A cache folder is named after the identity (name, size, time of change) of the files in it and the
side of its images. It is built in blocks, so that a build killed halfway goes on where it was; a
lock lets a second process wait for the first. Every row has a checksum. A cache that is not what
was written is named, thrown away and made anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.config import StudyError
from headstart.data.scan import Found
from headstart.data.spool import Spool
from headstart.data.worker import Task
from headstart.data.workers import Row, decode_files
from headstart.files import lock, write_bytes

Progress = Callable[[str, int, int], None]
Line = Callable[[str], None]
VERSION = 3  # raised when decoding comes to give other pixels
BLOCK = 512  # images between two records on disk
# Bytes of pixels whose checksums are compared at every opening, about 0.1 s: all of a small cache,
# a stretch from a random place on of a large one. All of any cache where size, time of change or
# inode of its file are not those that were noted.
CHECKED = 512 * 2**20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COLUMNS = ("aspect", "digest", "reason", "crc")  # of what is known of each image
WAITING = "waiting for another process that reads these images"
_SYSTEM_ERROR = re.compile(r"\w+: \[Errno \d+\]")  # a reason that is the system's, not the image's


@dataclass(frozen=True)
class PixelCache:
    """Decoded images. Row ``i`` belongs to file ``i`` of the list it was built from.

    ``pixels`` (N, 3, S, S) uint8, memory-mapped; ``aspect`` (N,) float32 width over height;
    ``digests`` (N,) equal for copies (see ``Decoded``), "" where unreadable; ``reasons`` (N,) why
    not, "" where readable.
    """

    pixels: npt.NDArray[np.uint8]
    aspect: npt.NDArray[np.float32]
    digests: tuple[str, ...]
    reasons: tuple[str, ...]


class _AlteredError(Exception):
    """A finished cache whose content is not what was written."""


def open_cache(
    files: Sequence[Found],
    side: int,
    folder: Path,
    progress: Progress | None = None,
    line: Line | None = None,
) -> PixelCache:
    """The cache of the given files with square images of ``side`` pixels, built where missing.

    Files that cannot be read get a row of zeros and a reason; none of them is fatal. Those that the
    system kept from being read (permission, a network disk) are tried again at every opening. A
    whole cache is only read, so its folder may be read-only.

    Raises:
        StudyError: the folder cannot be written, or has no room for the pixels.
    """
    home = _Home.of(files, side, folder)
    tell = line or (lambda _: None)
    with home.errors_as_one_line():
        with suppress(FileNotFoundError, _AlteredError):
            cache = home.read()
            if not (_may_read_now(files, cache) and os.access(home.path, os.W_OK)):
                return cache
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / f"{home.path.name}.lock", lambda: tell(WAITING)):
            try:
                _retry_unread(files, home)
                return home.read()
            except FileNotFoundError:
                pass
            except _AlteredError as why:
                tell(f"{home.path}: {why}; the images are read again")
                home.clear()
            try:
                _build(files, home, progress)
            except OSError as error:
                if error.errno in NO_ROOM:  # what was taken of it is given back
                    home.clear()
                raise
        return home.read()


def identity(files: Sequence[Found]) -> str:
    """SHA-256 over the names, sizes and times of change of the files, and how they are decoded.

    Another version of a package may read something else from the same place, so it counts too.
    """
    digest = hashlib.sha256(repr(VERSION).encode())
    for file in files:
        known = (file.id, *file.state(), *([file.reader] if file.reader else []))
        digest.update(repr(known).encode("utf8", "backslashreplace"))
    return digest.hexdigest()


def allocate(file: int, size: int) -> None:
    """Make a file as long as it will be, and take the room on the disk now.

    On a full disk, writing to a memory-mapped page later would crash the process.

    Raises:
        OSError: no room.
    """
    try:
        os.posix_fallocate(file, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        zeros = bytes(1 << 20)  # a file system, or a Unix, that cannot take it at once
        for place in range(os.fstat(file).st_size, size, len(zeros)):
            os.pwrite(file, zeros[: size - place], place)


@dataclass(frozen=True)
class _Home:
    """One cache on disk: ``pixels.npy``, and ``done.json`` with all else, written last."""

    path: Path
    files: str
    """The identity of the files."""
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, files: Sequence[Found], side: int, folder: Path) -> _Home:
        name = identity(files)
        return cls(folder / f"{side}px-{name[:16]}", name, (len(files), 3, side, side))

    @property
    def pixels(self) -> Path:
        return self.path / "pixels.npy"

    @property
    def done(self) -> Path:
        return self.path / "done.json"

    @contextmanager
    def errors_as_one_line(self) -> Iterator[None]:
        """Turn errors of the system into one line that says what to do."""
        try:
            yield
        except _AlteredError as why:
            raise StudyError(
                f"{self.path}: {why} as soon as it was written; the disk may be failing; name "
                "another folder with data.cache"
            ) from None
        except OSError as error:
            folder = self.path.parent
            if error.errno in NO_ROOM:
                needed = np.prod(self.shape, dtype=np.int64) / 1e6
                free = shutil.disk_usage(folder).free / 1e6
                raise StudyError(
                    f"{folder}: no room for the decoded images: {needed:,.0f} MB are needed, "
                    f"{free:,.0f} MB are free; make room there, or name another folder with "
                    "data.cache"
                ) from None
            raise StudyError(
                f"{folder}: cannot keep the decoded images there: {error.strerror or error}; name "
                "another folder with data.cache"
            ) from None

    def clear(self) -> None:
        """Delete all of it; a process that has the old pixels open keeps them."""
        for path in (self.done, self.pixels, *self.path.glob("block-*"), *self.path.glob("*.part")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def read(self) -> PixelCache:
        """What is on disk.

        Raises:
            FileNotFoundError: it was never finished.
            _AlteredError: it was, and something has happened to it since.
        """
        table, state = self._table()
        pixels = self.mapped("r")
        now = self._state()
        _compare(pixels, table["crc"], everywhere=state != now)
        if state != now:  # a copy of the folder, say; the next opening need not read it all again
            with suppress(OSError):
                self._write_table(table)
        aspect = np.array(table["aspect"], dtype=np.float32)
        return PixelCache(pixels, aspect, tuple(table["digest"]), tuple(table["reason"]))

    def mapped(self, mode: Any) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The pixels, after a check of the file's size and shape."""
        try:
            pixels = np.lib.format.open_memmap(self.pixels, mode=mode)
        except FileNotFoundError:
            raise _AlteredError("pixels.npy is gone") from None
        except (ValueError, EOFError, SyntaxError):
            raise _AlteredError("pixels.npy was cut off or altered") from None
        size = pixels.offset + pixels.nbytes
        if pixels.shape != self.shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
            raise _AlteredError("pixels.npy is that of other images")
        if self.pixels.stat().st_size != size:
            raise _AlteredError("pixels.npy was cut off or altered")
        return pixels

    def task(self, pixels: np.memmap[Any, np.dtype[np.uint8]]) -> Task:
        """What its workers need to know."""
        return Task(os.path.abspath(self.pixels), int(pixels.offset), self.shape[-1])

    def finish(self, rows: Sequence[Row]) -> None:
        """Mark it whole; rows in order."""
        self._write_table({key: [getattr(row, key) for row in rows] for key in COLUMNS})

    def _state(self) -> list[int]:
        stat = self.pixels.stat()
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]

    def _table(self) -> tuple[dict[str, Any], list[int]]:
        head, table = _unsealed(self.done)
        if table.pop("files") != self.files or len(table["crc"]) != self.shape[0]:
            raise _AlteredError("done.json is that of other images")
        if "pixels" not in head:
            raise _AlteredError("done.json was cut off or altered")
        return table, head["pixels"]

    def _write_table(self, table: dict[str, Any]) -> None:
        _write_sealed(self.done, {"files": self.files, **table}, pixels=self._state())


def _compare(pixels: npt.NDArray[np.uint8], crcs: Sequence[int], *, everywhere: bool) -> None:
    count = len(pixels)
    most = count if everywhere else max(1, CHECKED * count // pixels.nbytes)
    start = 0 if most >= count else int(np.random.default_rng().integers(count))
    for i in range(start, start + min(most, count)):
        row = i % count
        if zlib.crc32(pixels[row]) != crcs[row]:
            raise _AlteredError(f"the pixels of image {row + 1} of {count} were altered")


def _build(files: Sequence[Found], home: _Home, progress: Progress | None) -> None:
    home.path.mkdir(exist_ok=True)
    pixels = _open_pixels(home)
    kept = _kept_blocks(home, pixels)
    rows: list[Row | None] = [None] * len(files)
    for block in kept.values():
        for row in block:
            rows[row.row] = row
    done = sum(len(block) for block in kept.values())
    spool = Spool(files, home.path)
    missing = spool.jobs(i for i in range(len(files)) if i // BLOCK not in kept)
    blocks: defaultdict[int, list[Row]] = defaultdict(list)
    for decoded in decode_files(missing, home.task(pixels)):
        spool.done(decoded.row)
        row = _settled(decoded, pixels)
        rows[row.row] = row
        number = row.row // BLOCK
        blocks[number].append(row)
        if len(blocks[number]) == min(BLOCK, len(files) - number * BLOCK):
            whole = {"rows": [asdict(row) for row in blocks.pop(number)]}
            _write_sealed(_block(home, number), whole)
        done += 1
        if progress:
            progress("reading images", done, len(files))
    pixels.flush()
    home.finish([row for row in rows if row is not None])
    for path in home.path.glob("block-*"):
        path.unlink()


def _may_read_now(files: Sequence[Found], cache: PixelCache) -> list[int]:
    """Rows that could not be read because of the system, and can perhaps be read now."""
    return [
        row
        for row, reason in enumerate(cache.reasons)
        if _SYSTEM_ERROR.match(reason) and os.access(files[row].path, os.R_OK)
    ]


def _retry_unread(files: Sequence[Found], home: _Home) -> None:
    """Read the rows of ``_may_read_now`` once more."""
    again = _may_read_now(files, home.read())
    if not again:
        return
    table, _ = home._table()
    pixels = home.mapped("r+")
    spool = Spool(files, home.path)
    for row in decode_files(spool.jobs(again), home.task(pixels)):
        spool.done(row.row)
        settled = _settled(row, pixels)
        for key in COLUMNS:
            table[key][row.row] = getattr(settled, key)
    pixels.flush()
    home._write_table(table)


def _settled(row: Row, pixels: npt.NDArray[np.uint8]) -> Row:
    """Set the pixels of an unreadable image to 0: its worker may have died while it wrote."""
    if not row.reason:
        return row
    pixels[row.row] = 0
    return replace(row, crc=zlib.crc32(bytes(pixels[row.row].nbytes)))


def _open_pixels(home: _Home) -> np.memmap[Any, np.dtype[np.uint8]]:
    """The file of pixels: that of a stopped build, or a new one."""
    with suppress(_AlteredError):
        return home.mapped("r+")
    home.clear()  # records of blocks speak of pixels that are gone
    header = {"descr": "|u1", "fortran_order": False, "shape": home.shape}
    with home.pixels.open("xb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        allocate(file.fileno(), file.tell() + int(np.prod(home.shape, dtype=np.int64)))
    return home.mapped("r+")


def _kept_blocks(home: _Home, pixels: npt.NDArray[np.uint8]) -> dict[int, list[Row]]:
    """Finished blocks of a build that was stopped, without those whose pixels were lost."""
    kept = {}
    for number, start in enumerate(range(0, len(pixels), BLOCK)):
        try:
            block = [Row(**row) for row in _unsealed(_block(home, number))[1]["rows"]]
        except (FileNotFoundError, _AlteredError):
            continue
        places = sorted(row.row for row in block)
        if places == list(range(start, min(start + BLOCK, len(pixels)))) and all(
            zlib.crc32(pixels[row.row]) == row.crc for row in block
        ):
            kept[number] = block
    return kept


def _block(home: _Home, number: int) -> Path:
    return home.path / f"block-{number:08d}.json"


def _write_sealed(path: Path, value: dict[str, Any], **head: Any) -> None:
    """Two lines of JSON: ``head`` with the SHA-256 of the second line, and ``value``."""
    second = json.dumps(value)
    first = json.dumps({**head, "sha256": hashlib.sha256(second.encode()).hexdigest()})
    write_bytes(path, f"{first}\n{second}".encode())


def _unsealed(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both lines, if they are what was written."""
    first, _, second = path.read_bytes().partition(b"\n")
    try:
        head = json.loads(first)
        whole = head["sha256"] == hashlib.sha256(second).hexdigest()
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _AlteredError(f"{path.name} was cut off or altered")
    return head, json.loads(second)
