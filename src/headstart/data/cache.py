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
import math
import os
import re
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.config import StudyError
from headstart.data.bands import Bands
from headstart.data.decode import Pixels
from headstart.data.prints import NO_PRINTS, Prints
from headstart.data.scan import Found
from headstart.data.spool import Spool
from headstart.data.stream import Listed, Streamed
from headstart.data.worker import Task
from headstart.data.workers import Row, decode_files
from headstart.files import lock, write_bytes

Progress = Callable[[str, int, int], None]
Line = Callable[[str], None]
VERSION = 3  # raised when decoding comes to give other pixels
BANDS_VERSION = 1  # the same of channels that are no colours
BLOCK = 512  # images between two records on disk
# Bytes of pixels whose checksums are compared at every opening, about 0.1 s: all of a small cache,
# a stretch from a random place on of a large one. All of any cache where size, time of change or
# inode of its file are not those that were noted.
CHECKED = 512 * 2**20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of what is known of each image.
COLUMNS = ("aspect", "digest", "reason", "crc", "hashes", "mirrored", "flat")
WAITING = "waiting for another process that reads these images"
_SYSTEM_ERROR = re.compile(r"\w+: \[Errno \d+\]")  # a reason that is the system's, not the image's


@dataclass(frozen=True)
class PixelCache:
    """Decoded images. Row ``i`` belongs to file ``i`` of the list it was built from.

    ``pixels`` (N, 3, S, S) uint8, or (N, C, S, S) uint16 where the channels are no colours (0 …
    65535 for 0 … 1), memory-mapped, or decoded again as they are taken where there is no room for
    all; ``aspect`` (N,) float32 width over height; ``digests`` (N,) equal for copies (see
    ``Decoded``), "" where unreadable; ``reasons`` (N,) why not, "" where readable; ``prints`` to
    find near-copies by.
    """

    pixels: Pixels | Streamed
    aspect: npt.NDArray[np.float32]
    digests: tuple[str, ...]
    reasons: tuple[str, ...]
    prints: Prints = NO_PRINTS

    def take(self, rows: npt.NDArray[np.int64], out: Pixels | None = None) -> Pixels:
        """The images of some rows (B, C, S, S), perhaps into an array that is there already."""
        if isinstance(self.pixels, Streamed):
            return self.pixels.take(rows, out)
        # "clip" leaves out a copy; callers have looked that the rows are there.
        return np.take(self.pixels, rows, axis=0, out=out, mode="clip")

    def expect(self, batches: Iterable[npt.NDArray[np.int64]]) -> None:
        """Rows that will be taken soon, the next first: those that are not kept are read now."""
        if isinstance(self.pixels, Streamed):
            self.pixels.expect(batches)


@dataclass(frozen=True)
class Kept:
    """How images are kept: as RGB of 8 bits, or with ``bands`` as so many channels of 16; of their
    pixels ``budget`` bytes at most.
    """

    bands: Bands | None = None
    budget: int | None = None


class _AlteredError(Exception):
    """A finished cache whose content is not what was written."""


def open_cache(
    files: Sequence[Found],
    side: int,
    folder: Path,
    progress: Progress | None = None,
    line: Line | None = None,
    kept: Kept | None = None,
) -> PixelCache:
    """The cache of the given files with square images of ``side`` pixels, built where missing.

    Where there is no room for all, labelled images are kept first, then the first others. The rest
    are decoded whenever they are taken; no pixel differs for it.

    Files that cannot be read get a row of zeros and a reason; none of them is fatal. Those that the
    system kept from being read (permission, a network disk) are tried again at every opening. A
    whole cache is only read, so its folder may be read-only.

    Raises:
        StudyError: the folder cannot be written, or has no room for the pixels.
    """
    home = _Home.of(files, side, folder, kept or Kept())
    tell = line or (lambda _: None)
    with home.errors_as_one_line():
        with suppress(FileNotFoundError, _AlteredError):
            cache = home.read()
            if not (_may_read_now(files, cache) and os.access(home.path, os.W_OK)):
                return cache
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / f"{home.path.name}.lock", lambda: tell(WAITING)):
            try:
                _retry_unread(home)
                return home.read()
            except FileNotFoundError:
                pass
            except _AlteredError as why:
                tell(f"{home.path}: {why}; the images are read again")
                home.clear()
            try:
                _build(home, progress)
            except OSError as error:
                if error.errno in NO_ROOM:  # what was taken of it is given back
                    home.clear()
                raise
        return home.read()


def identity(files: Sequence[Found], bands: Bands | None = None) -> str:
    """SHA-256 over the names, sizes and times of change of the files, and how they are decoded.

    Another version of a package may read something else from the same place, so it counts too.
    """
    digest = hashlib.sha256(repr(VERSION if bands is None else (BANDS_VERSION, bands)).encode())
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
    files: Sequence[Found]
    name: str
    """The identity of the files."""
    places: npt.NDArray[np.int64]
    """Where in ``pixels.npy`` each image stands, −1 where there is no room for it."""
    shape: tuple[int, int, int, int]
    bands: Bands | None = None

    @classmethod
    def of(cls, files: Sequence[Found], side: int, folder: Path, kept: Kept) -> _Home:
        name = identity(files, kept.bands)
        shape = (kept.bands.channels if kept.bands else 3, side, side)
        one = math.prod(shape) * (2 if kept.bands else 1)
        most = len(files) if kept.budget is None else kept.budget // one
        places = _places(files, most)
        count = int((places >= 0).sum())
        part = "" if count == len(files) else f"-{count}"
        path = folder / f"{side}px-{name[:16]}{part}"
        return cls(path, files, name, places, (count, *shape), kept.bands)

    @property
    def whole(self) -> bool:
        """Whether there is room for all images."""
        return self.shape[0] == len(self.files)

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype("<u2") if self.bands else np.dtype("|u1")

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

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
                needed = self.size / 1e6
                free = shutil.disk_usage(folder).free / 1e6
                raise StudyError(
                    f"{folder}: no room for the decoded images: {needed:,.0f} MB are needed, "
                    f"{free:,.0f} MB are free; make room there, name another folder with "
                    "data.cache, or keep fewer with --cache-budget"
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
        mapped = self.mapped("r")
        now = self._state()
        crcs = np.array(table["crc"], np.uint32)
        _compare(mapped, crcs[self.places >= 0], everywhere=state != now)
        if state != now:  # a copy of the folder, say; the next opening need not read it all again
            with suppress(OSError):
                self._write_table(table)
        aspect = np.array(table["aspect"], dtype=np.float32)
        prints = Prints(
            np.array(table["hashes"], np.uint64),
            np.array(table["mirrored"], np.uint64),
            np.array(table["flat"], np.bool_),
        )
        pixels: Pixels | Streamed = mapped
        if not self.whole:
            readable = np.array([not reason for reason in table["reason"]], np.bool_)
            pixels = Streamed(
                mapped, Listed(self.files, self.places, crcs, readable), self.task(mapped)
            )
        return PixelCache(pixels, aspect, tuple(table["digest"]), tuple(table["reason"]), prints)

    def mapped(self, mode: Any) -> np.memmap[Any, Any]:
        """The pixels, after a check of the file's size and shape."""
        try:
            pixels = np.lib.format.open_memmap(self.pixels, mode=mode)
        except FileNotFoundError:
            raise _AlteredError("pixels.npy is gone") from None
        except (ValueError, EOFError, SyntaxError, TokenError):  # the header is Python
            raise _AlteredError("pixels.npy was cut off or altered") from None
        size = pixels.offset + pixels.nbytes
        alike = pixels.shape == self.shape and pixels.dtype == self.dtype
        if not (alike and pixels.flags.c_contiguous):
            raise _AlteredError("pixels.npy is that of other images")
        if self.pixels.stat().st_size != size:
            raise _AlteredError("pixels.npy was cut off or altered")
        return pixels

    def task(self, pixels: Any) -> Task:
        """What its workers need to know."""
        place = os.path.abspath(self.pixels)
        return Task(place, int(pixels.offset), self.shape[-1], bands=self.bands)

    def finish(self, rows: Sequence[Row]) -> None:
        """Mark it whole; rows in order."""
        self._write_table({key: [getattr(row, key) for row in rows] for key in COLUMNS})

    def _state(self) -> list[int]:
        stat = self.pixels.stat()
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]

    def _table(self) -> tuple[dict[str, Any], list[int]]:
        head, table = _unsealed(self.done)
        if table.pop("files") != self.name or len(table["crc"]) != len(self.files):
            raise _AlteredError("done.json is that of other images")
        if not set(table).issuperset(COLUMNS):
            raise _AlteredError("done.json was written by an earlier version")
        if "pixels" not in head:
            raise _AlteredError("done.json was cut off or altered")
        return table, head["pixels"]

    def _write_table(self, table: dict[str, Any]) -> None:
        _write_sealed(self.done, {"files": self.name, **table}, pixels=self._state())


def _compare(pixels: Pixels, crcs: npt.NDArray[np.uint32], *, everywhere: bool) -> None:
    count = len(pixels)
    most = count if everywhere else max(1, CHECKED * count // pixels.nbytes)
    start = 0 if most >= count else int(np.random.default_rng().integers(count))
    for i in range(start, start + min(most, count)):
        row = i % count
        if zlib.crc32(pixels[row]) != crcs[row]:
            raise _AlteredError(f"the pixels of image {row + 1} of {count} were altered")


def _places(files: Sequence[Found], most: int) -> npt.NDArray[np.int64]:
    """The place of each image (N,), at least one: labelled ones first, −1 beyond ``most``.

    Every arm and every judgement reads the labelled ones again and again, the pool once an epoch.
    """
    first = np.argsort(np.array([not file.label for file in files]), kind="stable")
    kept = np.sort(first[: max(1, most)])
    places = np.full(len(files), -1, np.int64)
    places[kept] = np.arange(len(kept))
    return places


def _build(home: _Home, progress: Progress | None) -> None:
    home.path.mkdir(exist_ok=True)
    pixels = _open_pixels(home)
    kept = _kept_blocks(home, pixels)
    count = len(home.files)
    rows: list[Row | None] = [None] * count
    for block in kept.values():
        for row in block:
            rows[row.row] = row
    done = sum(len(block) for block in kept.values())
    blocks: defaultdict[int, list[Row]] = defaultdict(list)
    missing = (i for i in range(count) if i // BLOCK not in kept)
    for row in _decoded(home, missing, pixels):
        rows[row.row] = row
        number = row.row // BLOCK
        blocks[number].append(row)
        if len(blocks[number]) == min(BLOCK, count - number * BLOCK):
            whole = {"rows": [asdict(row) for row in blocks.pop(number)]}
            _write_sealed(_block(home, number), whole)
        done += 1
        if progress:
            progress("reading images", done, count)
    pixels.flush()
    home.finish([row for row in rows if row is not None])
    for path in home.path.glob("block-*"):
        path.unlink()


def _decoded(home: _Home, rows: Iterable[int], pixels: Pixels) -> Iterator[Row]:
    """Decode images and write the pixels of those that have a place; in any order.

    An unreadable image is black: its worker may have died while it wrote.
    """
    spool = Spool(home.files, home.path)
    jobs = ((row, spool.file(row), int(home.places[row])) for row in rows)
    try:
        for row in decode_files(jobs, home.task(pixels)):
            spool.done(row.row)
            place = home.places[row.row]
            if row.reason and place >= 0:
                pixels[place] = 0
                yield replace(row, crc=zlib.crc32(bytes(pixels[place].nbytes)))
            else:
                yield row
    finally:
        spool.clear()


def _may_read_now(files: Sequence[Found], cache: PixelCache) -> list[int]:
    """Rows that could not be read because of the system, and can perhaps be read now."""
    return [
        row
        for row, reason in enumerate(cache.reasons)
        if _SYSTEM_ERROR.match(reason) and os.access(files[row].path, os.R_OK)
    ]


def _retry_unread(home: _Home) -> None:
    """Read the rows of ``_may_read_now`` once more."""
    again = _may_read_now(home.files, home.read())
    if not again:
        return
    table, _ = home._table()
    pixels = home.mapped("r+")
    for row in _decoded(home, again, pixels):
        for key in COLUMNS:
            table[key][row.row] = getattr(row, key)
    pixels.flush()
    home._write_table(table)


def _open_pixels(home: _Home) -> np.memmap[Any, Any]:
    """The file of pixels: that of a stopped build, or a new one."""
    with suppress(_AlteredError):
        return home.mapped("r+")
    home.clear()  # records of blocks speak of pixels that are gone
    header = {"descr": home.dtype.str, "fortran_order": False, "shape": home.shape}
    with home.pixels.open("xb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        allocate(file.fileno(), file.tell() + home.size)
    return home.mapped("r+")


def _kept_blocks(home: _Home, pixels: Pixels) -> dict[int, list[Row]]:
    """Finished blocks of a build that was stopped, without those whose pixels were lost."""
    kept = {}
    count = len(home.files)
    for number, start in enumerate(range(0, count, BLOCK)):
        try:
            listed = _unsealed(_block(home, number))[1]["rows"]
        except (FileNotFoundError, _AlteredError):
            continue
        if not all(set(row).issuperset(COLUMNS) for row in listed):
            continue  # of an earlier version
        block = [Row(**row) for row in listed]
        places = {row.row: home.places[row.row] for row in block}
        if sorted(places) == list(range(start, min(start + BLOCK, count))) and all(
            place < 0 or zlib.crc32(pixels[place]) == row.crc
            for row, place in zip(block, places.values(), strict=True)
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
