"""Pixels that the cache has no room for: decoded again, in worker processes, as they are needed."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from threading import RLock

import numpy as np
import numpy.typing as npt

from headstart.config import StudyError
from headstart.data.decode import Pixels
from headstart.data.sources.base import Found
from headstart.data.spool import Spool
from headstart.data.worker import Task
from headstart.data.workers import Decoding, Row

Ints = npt.NDArray[np.int64]

WAITING_BYTES = 256 * 2**20  # of decoded images that wait to be taken
READERS = 8  # images that are fetched at a time where they have no file of their own
_POLL_SECONDS = 0.2
_FETCH_SECONDS = 0.01  # the same while something is fetched, which does not wake us


@dataclass(frozen=True)
class Listed:
    """N images as an earlier pass found them: where each lies, the ``places`` (N,) of those whose
    pixels are kept, −1 for the others, and what to know others again by: ``crcs`` (N,) of their
    pixels, and whether they are ``readable`` (N,).
    """

    files: Sequence[Found]
    places: Ints
    crcs: npt.NDArray[np.uint32]
    readable: npt.NDArray[np.bool_]


class Streamed:
    """Images (N, C, S, S) of which some are ``kept`` (K, C, S, S) and the rest decoded when taken.

    What is expected is decoded ahead, as far as ``WAITING_BYTES`` hold it.
    """

    def __init__(self, kept: Pixels, listed: Listed, task: Task) -> None:
        self._kept, self._listed, self._task = kept, listed, task
        self.shape = (len(listed.places), *kept.shape[1:])
        self.dtype = kept.dtype
        self._one_at_a_time = RLock()  # a training may read ahead in a thread

    def __len__(self) -> int:
        return len(self._listed.places)

    def __getitem__(self, part: int | np.integer | slice | Ints) -> Pixels:
        """As of an array."""
        rows = np.arange(len(self))[part]
        taken = self.take(np.atleast_1d(rows))
        return taken if np.ndim(rows) else taken[0]

    def expect(self, batches: Iterable[Ints]) -> None:
        """Rows that will be taken soon, the next batch first; what was expected before is not."""
        rows = list(dict.fromkeys(self._to_decode(chain.from_iterable(batches))))
        with self._one_at_a_time:
            self._again.expect(rows)

    def take(self, rows: Ints, out: Pixels | None = None) -> Pixels:
        """Images (B, C, S, S) of rows (B,); those that could not be read are black.

        Raises:
            StudyError: one is gone or was altered since the earlier pass.
        """
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype) if out is None else out
        places = self._listed.places[rows]
        kept = places >= 0
        taken[kept] = self._kept[places[kept]]
        taken[~kept & ~self._listed.readable[rows]] = 0
        missing = np.flatnonzero(~kept & self._listed.readable[rows])
        with self._one_at_a_time:
            while len(missing):
                part, missing = np.split(missing, [self._again.most])
                taken[part] = self._again.take(rows[part].tolist())
        return taken

    def _to_decode(self, rows: Iterable[int]) -> Iterable[int]:
        for row in map(int, rows):
            if self._listed.places[row] < 0 and self._listed.readable[row]:
                yield row

    @cached_property
    def _again(self) -> _Again:
        return _Again(self._listed, self._task, self.shape[1:], self.dtype)


class _Again:
    """A file with places for decoded images, and the workers that fill it."""

    def __init__(
        self, listed: Listed, task: Task, shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="headstart-"))
        one = int(np.prod(shape)) * dtype.itemsize
        places = max(4, WAITING_BYTES // one)
        self.most = places // 2  # taken at once: the other half is for what is decoded ahead
        self._listed, self._spool = listed, Spool(listed.files, folder)
        (folder / "pixels").touch()
        self._decoded = np.memmap(folder / "pixels", dtype, "w+", shape=(places, *shape))
        self._decoding = Decoding(replace(task, pixels=str(folder / "pixels"), start=0))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="stream")
        self._free = list(range(places))
        self._places: dict[int, int] = {}
        """Of each row that was asked for, in that order."""
        self._ready: set[int] = set()
        self._read: dict[int, Future[str]] = {}
        """Rows whose content is fetched."""
        self._expected: list[int] = []
        weakref.finalize(self, _close, self._decoding, self._readers, folder)

    def expect(self, rows: list[int]) -> None:
        """Decode these ahead, as far as there are places."""
        self._expected = rows
        self._look(0)
        self._ahead()

    def take(self, rows: Sequence[int]) -> Pixels:
        """Decoded images (B, C, S, S), at most ``most``; their places are free afterwards."""
        wanted = dict.fromkeys(rows)
        for row in wanted:
            self._ask(row, wanted)
        while not self._ready.issuperset(wanted):
            self._look(_POLL_SECONDS)
        taken = self._decoded[[self._places[row] for row in rows]]
        for row in wanted:
            self._forget(row)
        self._expected = [row for row in self._expected if row not in wanted]
        self._ahead()
        return np.asarray(taken)

    def _ahead(self) -> None:
        for row in self._expected:
            if not self._free and not self._drop(self._expected):
                return
            if row not in self._places:
                self._ask(row, self._expected)

    def _ask(self, row: int, wanted: Iterable[int]) -> None:
        if row in self._places:
            return
        while not self._free and not self._drop(wanted):
            self._look(_POLL_SECONDS)
        self._places[row] = self._free.pop()
        if self._listed.files[row].read is None:
            self._decoding.ask((row, self._spool.file(row), self._places[row]))
        else:
            self._read[row] = self._readers.submit(self._spool.file, row)

    def _drop(self, wanted: Iterable[int]) -> bool:
        """Give up the oldest decoded image that is not wanted, if there is one."""
        kept = set(wanted)
        row = next((row for row in self._places if row in self._ready and row not in kept), None)
        if row is not None:
            self._forget(row)
        return row is not None

    def _forget(self, row: int) -> None:
        self._ready.remove(row)
        self._free.append(self._places.pop(row))

    def _look(self, seconds: float) -> None:
        """Take what was fetched and decoded by now, or wait for it."""
        try:
            for row in [row for row, content in self._read.items() if content.done()]:
                self._decoding.ask((row, self._read.pop(row).result(), self._places[row]))
            wait = min(seconds, _FETCH_SECONDS) if self._read else seconds
            for decoded in self._decoding.rows(wait):
                self._spool.done(decoded.row)
                self._check(decoded)
                self._ready.add(decoded.row)
        except OSError as error:  # no room where they lie
            raise StudyError(f"{error.filename}: {error.strerror or error}") from None

    def _check(self, decoded: Row) -> None:
        known = self._listed.crcs[decoded.row]
        if decoded.reason or decoded.crc != known:
            why = decoded.reason or "it was altered"
            raise StudyError(
                f"{self._listed.files[decoded.row].path}: was read before and cannot be read again "
                f"({why}); put the images back, and run again to go on"
            )


def _close(decoding: Decoding, readers: ThreadPoolExecutor, folder: Path) -> None:
    readers.shutdown(wait=False, cancel_futures=True)
    decoding.close()
    shutil.rmtree(folder, ignore_errors=True)
