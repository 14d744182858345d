"""Images that have no file of their own, written to one for as long as a worker reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from headstart.data.scan import Found


class Spool:
    """Gives every image a file that a decoder can open, and takes the short-lived ones away.

    A decoder must not be trusted, so it works in a process of its own, and is told a path only.
    """

    def __init__(self, files: Sequence[Found], folder: Path) -> None:
        self.files = files
        self.folder = folder
        for left in folder.glob("image-*.part"):  # of a build that was killed
            left.unlink()

    def jobs(self, rows: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(row, path) of each; content is written only when its turn comes."""
        for row in rows:
            read = self.files[row].read
            if read is None:
                yield row, self.files[row].path
                continue
            path = self._path(row)
            try:
                content = read()
            except Exception:  # noqa: BLE001 - a broken archive raises anything, and none is fatal
                content = b""  # which no decoder takes for an image
            path.write_bytes(content)
            yield row, str(path)

    def done(self, row: int) -> None:
        """The image was decoded, or refused."""
        if self.files[row].read is not None:
            self._path(row).unlink(missing_ok=True)

    def _path(self, row: int) -> Path:
        return self.folder / f"image-{row:08d}.part"
