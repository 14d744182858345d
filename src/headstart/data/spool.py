"""Images that have no file of their own, written to one for as long as a worker reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from headstart.config import StudyError
from headstart.data.scan import Found


class Spool:
    """Gives every image a file that a decoder can open, and takes the short-lived ones away.

    A decoder must not be trusted, so it works in a process of its own, and is told a path only.
    A file is written over once its image is done: making one anew takes ten times as long.
    """

    def __init__(self, files: Sequence[Found], folder: Path) -> None:
        self.files = files
        self.folder = folder
        self._names = count()
        self._free: list[Path] = []
        self._used: dict[int, Path] = {}
        self.clear()  # after a build that was killed

    def file(self, row: int) -> str:
        """The path of an image's file; content without one is written to one now.

        Raises:
            StudyError: content that lies elsewhere cannot be fetched.
            OSError: there is no room for it.
        """
        read = self.files[row].read
        if read is None:
            return self.files[row].path
        try:
            content = read()
        except StudyError:
            raise
        except Exception:  # noqa: BLE001 - a broken archive raises anything, and none is fatal
            content = b""  # which no decoder takes for an image
        return str(self._written(row, content))

    def done(self, row: int) -> None:
        """The image was decoded, or refused."""
        if (path := self._used.pop(row, None)) is not None:
            self._free.append(path)

    def clear(self) -> None:
        """Delete the files."""
        for left in self.folder.glob("image-*.part"):
            left.unlink(missing_ok=True)

    def _written(self, row: int, content: bytes) -> Path:
        try:
            path = self._free.pop()  # at once, as several threads may write
        except IndexError:
            path = self.folder / f"image-{next(self._names):08d}.part"
        self._used[row] = path
        # Not emptied first: some file systems then wait for the disk.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(content)
            file.truncate()
        return path
