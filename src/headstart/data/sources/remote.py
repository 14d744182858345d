"""WebDataset shards that lie elsewhere: ``s3://``, ``gs://``, ``https://``, what fsspec reads."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar

from headstart.config import StudyError
from headstart.data.sources.base import ADDRESS, Found, Place
from headstart.data.sources.shards import Shard, Shards, expanded, listed
from headstart.files import lock

T = TypeVar("T")
# Bytes of copies that are kept: training reads some shards at a time, and each once an epoch.
MOST_BYTES = 10 * 10**9
PAUSES = (1.0, 5.0)  # seconds before a fetch is tried again
_FINAL = (FileNotFoundError, PermissionError, ImportError, ValueError)  # trying again is no use


def address_of(path: Path) -> str:
    """The address that a path was made from, which lost a slash on the way."""
    address = ADDRESS.sub(r"\1://", str(path))
    return address.replace("file://", "file:///", 1) if address.startswith("file://") else address


class Remote:
    """``s3://bucket/photos-{000..999}.tar``, or one ``.tar``, as the source of shards reads them.

    A shard is copied whole, and the copies of those that were not read for longest are deleted
    where all take more than ``MOST_BYTES``.
    """

    about: ClassVar[str] = "WebDataset shards elsewhere (s3://bucket/name-{000..999}.tar)"

    def accepts(self, path: Path) -> bool:
        """A location that begins with a protocol, such as ``https:/``."""
        return bool(ADDRESS.match(str(path)))

    def images(self, place: Place) -> list[Found]:
        """All images, as of the source of shards.

        Raises:
            StudyError: no name of shards, a shard that is not there or cannot be fetched, a
                protocol that needs another package, or as of the source of shards.
        """
        if place.path.suffix.lower() != ".tar":
            raise StudyError(
                f"{place}: only .tar files are read from there, in WebDataset's layout"
            )
        folder = place.copies or Path(tempfile.gettempdir()) / "headstart"
        copies = Copies(folder / "shards")
        above = address_of(place.path.parent)
        try:
            shards = [_shard(copies, f"{above}/{name}") for name in expanded(place)]
            return listed(place, shards)
        except StudyError as error:
            line = str(error)
            raise StudyError(line if line.startswith("--") else f"{place.flag} {line}") from None

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """Two shards, named by the protocol for local files."""
        return Path(f"file:{Shards().example(files, folder)}")


def _shard(copies: Copies, address: str) -> Shard:
    changed = copies.changed(address)
    name, opened = address.rpartition("/")[2], partial(copies.open, address, changed)
    return Shard(name, opened, lambda: changed, far=address)


class Copies:
    """Files from elsewhere in a folder, which may be shared by threads and processes."""

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        self.folder, self.most = folder, most

    def changed(self, address: str) -> int:
        """A number that changes when the file there does, as far as its server tells."""

        def ask() -> object:
            system, path = _system(address)
            info = system.info(path)
            known = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "updated")
            return [info.get(key) for key in known]

        told = hashlib.sha256(repr(_tried(address, ask)).encode()).digest()
        return int.from_bytes(told[:6], "big")

    def open(self, address: str, changed: int) -> BinaryIO:
        """The copy of a file, fetched where there is none of it as it was when it ``changed``.

        Raises:
            StudyError: it cannot be fetched.
        """
        name = hashlib.sha256(f"{address} {changed}".encode()).hexdigest()
        path = self.folder / f"{name[:32]}.tar"
        while True:
            with suppress(FileNotFoundError):
                os.utime(path)  # the last one used is the last to go
                return path.open("rb")
            _tried(address, partial(self._fetch, address, path))

    def _fetch(self, address: str, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock"), lambda: None):
            if path.exists():  # another one fetched it meanwhile
                return
            beside = path.with_suffix(".part")
            try:
                system, there = _system(address)
                system.get_file(there, str(beside))
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        self._make_room(path)

    def _make_room(self, kept: Path) -> None:
        """Delete the copies that were not used for longest, but never the one just made."""
        copies = []
        for path in self.folder.glob("*.tar"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                copies.append((stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, size, _ in copies) - self.most
        for _, size, path in sorted(copies):
            if excess <= 0:
                return
            if path != kept:
                path.unlink(missing_ok=True)
                excess -= size


def _system(address: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path there."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(address)
    return system, str(path)


def _tried(address: str, work: Callable[[], T]) -> T:
    """What a piece of work gives, tried again where the network may have failed."""
    for pause in (*PAUSES, None):
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - each protocol has errors of its own
            why = _root(error)
            if pause is None or isinstance(why, _FINAL):
                raise StudyError(f"{address}: {_reason(why)}") from None
            time.sleep(pause)
    raise AssertionError  # the last pause is None


def _root(error: BaseException) -> BaseException:
    """What an error came from: fsspec calls a server that is away a file that is not there."""
    if error.__cause__:
        return _root(error.__cause__)
    status = getattr(error, "status", None)  # of HTTP
    if status in (404, 410):
        return FileNotFoundError()
    return PermissionError(f"status {status}") if status in (401, 403) else error


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, PermissionError):
        return f"no permission to read it ({first})"
    return f"cannot be fetched ({first}); run again to go on"
