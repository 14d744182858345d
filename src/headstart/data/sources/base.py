"""What a source of images is: it says whether it reads a location, and lists the images there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from headstart.data.decode import EXTENSIONS

ADDRESS = re.compile(r"^([a-z][a-z0-9+]+):/+")
"""How the address of something elsewhere begins, as a path that has lost slashes."""
SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation"}
SPLIT_NAMES |= {"valid": "validation", "training": "train", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Place:
    """Where the user says images are: ``path`` as given to ``--labeled`` or ``--unlabeled``."""

    path: Path
    labeled: bool
    exclude: Path | None = None
    """The run's folder: what lies in it is no data."""
    endings: frozenset[str] = EXTENSIONS
    """Of the names of image files, in lower case with the dot."""
    copies: Path | None = None
    """A folder for copies of files that lie elsewhere; the system's for passing files without."""

    @property
    def flag(self) -> str:
        """How an error line names the setting."""
        return "--labeled" if self.labeled else "--unlabeled"

    def __str__(self) -> str:
        """The beginning of an error line."""
        return f"{self.flag} {self.path}"

    def id(self, name: str) -> str:
        """The id of the image that this place calls ``name``: the same in every run."""
        return f"{'labeled' if self.labeled else 'unlabeled'}/{printable(name)}"


@dataclass(frozen=True, slots=True)  # there may be millions
class Found:
    """A file that may be an image, or the content of one.

    ``id`` is ``unlabeled/…`` or ``labeled/…`` with the path below that place; ``label`` is the name
    of its class, or "" in the pool; ``split`` is train, validation, test, or "" where none is
    given; ``group`` ties it to other images of that name, or is "".
    """

    id: str
    path: str
    """Its file; where it has none of its own, a name for a person to find it by."""
    label: str = ""
    split: str = ""
    group: str = ""
    read: Callable[[], bytes] | None = None
    """Gives the content of an image that has no file of its own, such as one in an archive."""
    stamp: tuple[int, int] | None = None
    """For one without a file: two numbers that change when the content does, cheap to have."""
    shard: str = ""
    """A file of images that should be read together, such as a shard far away; "" for none."""
    reader: str = ""
    """The package and version of the source that reads it; "" of ours. Not for sources to set."""

    def state(self) -> tuple[int, int]:
        """Size in bytes and time of change in nanoseconds, or its stamp; −1, −1 if it is gone."""
        if self.stamp is not None:
            return self.stamp
        try:
            stat = os.stat(self.path)
        except OSError:
            return -1, -1
        return stat.st_size, stat.st_mtime_ns


class Source(Protocol):
    """Reads one kind of location; made anew whenever one is read."""

    about: ClassVar[str]
    """What it reads, for error lines: 'a folder of images'."""

    def accepts(self, path: Path) -> bool:
        """Whether it reads this location; a look at the name or the first bytes, no more."""

    def images(self, place: Place) -> list[Found]:
        """The images there, each once, in an order that is the same every time.

        With ``place.labeled`` each has a label, and either all of them have a split or none has;
        otherwise they have neither. Images need not be readable: a broken one is found out, and
        listed, when it is decoded.

        Raises:
            StudyError: nothing usable there, in one line that begins with ``place``.
        """

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """Lay out the files of a small folder data set as this source reads them, below ``folder``.

        The contract tests read the location that comes back, and compare. The last parts of an id
        are [split/]class/name for a labelled file; the ids must come out the same.
        """


def printable(name: str) -> str:
    """A name that any text file can hold: bytes that are no UTF-8 are spelled out."""
    return name.replace(os.sep, "/").encode("utf8", "backslashreplace").decode("utf8")
