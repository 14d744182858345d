"""WebDataset shards: tar files in which an image and its label share the name up to the dot."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

from headstart.config import StudyError
from headstart.data.sources.archive import Member, opened, tarred
from headstart.data.sources.base import ADDRESS, Found, Place, printable
from headstart.data.sources.rows import Row, found_in

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LARGEST_LABEL = 2**20  # bytes
_MOST = 100_000  # shards
_LABELS = (".txt", ".cls", ".json")  # the last counts


@dataclass(frozen=True)
class Shard:
    """One tar file, wherever it lies."""

    name: str
    open: Callable[[], BinaryIO]
    changed: Callable[[], int]
    """A number that changes when its content does."""
    far: str = ""
    """Its address where that is not on this machine."""


@dataclass
class _Sample:
    """The files of one key."""

    shard: Shard
    key: str
    image: Member | None = None
    labels: dict[str, Member] = field(default_factory=dict)


class Shards:
    """``photos-{000..003}.tar``: ``key.jpg`` with ``key.cls``, ``key.txt`` or ``key.json``.

    The label is the text of the first two, or ``label`` of the last, which may hold ``split`` and
    ``group`` too. The pool needs no labels. Read where they lie.
    """

    about: ClassVar[str] = "WebDataset shards (name-{000..003}.tar)"

    def accepts(self, path: Path) -> bool:
        """A path that ends in ``.tar`` with a range of numbers in braces in its name."""
        here = not ADDRESS.match(str(path))
        return here and path.suffix.lower() == ".tar" and bool(_BRACES.search(path.name))

    def images(self, place: Place) -> list[Found]:
        """All images, sorted by key; a key that several shards have is told apart by the shard.

        Raises:
            StudyError: a shard that is missing or damaged, no image, a label that cannot be read,
                or rows as of ``found_in``.
        """
        paths = [place.path.with_name(name) for name in expanded(place)]
        return listed(place, [_here(path) for path in paths])

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """Two shards, with labels as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for shard in (0, 1):
            with tarfile.open(folder / f"images-{shard:03d}.tar", "w") as archive:
                for found in files[shard::2]:
                    name = found.id.partition("/")[2]
                    known = {"label": found.label, "split": found.split, "group": found.group}
                    _add(archive, name, Path(found.path).read_bytes())
                    _add(archive, name.partition(".")[0] + ".json", json.dumps(known).encode())
        return folder / "images-{000..001}.tar"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def listed(place: Place, shards: Sequence[Shard]) -> list[Found]:
    """The images of all shards, sorted by key."""
    samples = [sample for shard in shards for sample in _samples(place, shard)]
    keys = Counter(sample.key for sample in samples)
    alone = max(keys.values(), default=1) == 1
    rows = [_row(place, sample, alone=alone) for sample in samples]
    return sorted(found_in(place, rows), key=lambda one: one.id)


def _here(path: Path) -> Shard:
    return Shard(path.name, partial(opened, path), lambda: path.stat().st_mtime_ns)


def expanded(place: Place) -> list[str]:
    """The names of a pattern's shards; numbers have the width of the first one."""
    names = [place.path.name]
    while match := _BRACES.search(names[0]):
        first, last = match.groups()
        count = int(last) - int(first) + 1
        if not 0 < count * len(names) <= _MOST:
            raise StudyError(f"{place}: a range goes up, to at most {_MOST} shards in all")
        numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
        names = [_BRACES.sub(number, name, count=1) for name in names for number in numbers]
    return names


def _samples(place: Place, shard: Shard) -> Iterator[_Sample]:
    """The keys of a shard that have an image."""
    samples: dict[str, _Sample] = {}
    try:
        for member in tarred(shard.open, shard.changed()):
            path = PurePosixPath(member.name)
            if any(part.startswith(".") for part in path.parts):
                continue
            key = str(path.parent / path.name.partition(".")[0])
            sample = samples.setdefault(key, _Sample(shard, key))
            if path.suffix.lower() in place.endings:
                if sample.image is not None:
                    raise StudyError(f"{place}: {shard.name} has two images '{printable(key)}'")
                sample.image = member
            elif path.suffix.lower() in _LABELS:
                sample.labels[path.suffix.lower()] = member
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        raise StudyError(f"{place}: {shard.name}: not readable as a tar ({reason})") from None
    yield from (sample for sample in samples.values() if sample.image is not None)


def _row(place: Place, sample: _Sample, *, alone: bool) -> Row:
    assert sample.image is not None
    name = sample.image.name
    known = _known(place, sample) if place.labeled or ".json" in sample.labels else {}
    known["path"] = name if alone else f"{sample.shard.name.removesuffix('.tar')}/{name}"
    known["shard"] = sample.shard.far
    at = f"'{printable(sample.key)}' of {sample.shard.name}"
    return Row.of(at, known, sample.image.read, (sample.image.size, sample.image.stamp))


def _known(place: Place, sample: _Sample) -> dict[str, str]:
    """Label, and split and group where there are any."""
    known: dict[str, str] = {}
    for ending, member in ((e, sample.labels[e]) for e in _LABELS if e in sample.labels):
        try:
            if member.size > _LARGEST_LABEL:
                raise ValueError(f"larger than {_LARGEST_LABEL} bytes")
            text = member.read().decode("utf8").strip()
            stated = json.loads(text) if ending == ".json" else {"label": text}
            given = {k: stated.get(k) for k in ("label", "split", "group")}
        except (ValueError, RecursionError, OSError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            name = printable(member.name)
            raise StudyError(
                f"{place}: {sample.shard.name}: '{name}' is no label ({reason})"
            ) from None
        known |= {k: str(v).strip() for k, v in given.items() if v is not None}
    return known
