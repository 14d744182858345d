"""Find the images of a study: whatever source reads the location, each once, in a stable order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.config import StudyError
from headstart.data.decode import EXTENSIONS
from headstart.data.sources import SOURCES
from headstart.data.sources.base import Found, Place, Source

__all__ = ["Found", "find_labeled", "find_unlabeled"]


def find_unlabeled(
    path: Path,
    exclude: Path | None = None,
    endings: frozenset[str] = EXTENSIONS,
    copies: Path | None = None,
) -> list[Found]:
    """The pool: all images at a location, such as a folder in any nesting.

    ``endings`` are those of the names of image files, ``copies`` is where copies of files go that
    lie elsewhere.

    Raises:
        StudyError: nothing there, saying what was seen.
    """
    return _images(Place(path, False, exclude, endings, copies))


def find_labeled(
    path: Path,
    exclude: Path | None = None,
    endings: frozenset[str] = EXTENSIONS,
    copies: Path | None = None,
) -> list[Found]:
    """All images with a class at a location, such as class folders, with or without splits.

    Raises:
        StudyError: nothing there, an image without a class, fewer than two classes, or a split for
            some images only.
    """
    place = Place(path, True, exclude, endings, copies)
    found = _images(place)
    if len({f.label for f in found}) < 2:
        raise StudyError(f"{place}: needs at least two classes, found only '{found[0].label}'")
    return found


def _images(place: Place) -> list[Found]:
    """What the source that reads the place lists; of a package's, with who read it."""
    name, source = _source(place)
    found, extension = source.images(place), SOURCES.extension(name)
    return [replace(file, reader=extension.origin) for file in found] if extension else found


def _source(place: Place) -> tuple[str, Source]:
    sources = {name: SOURCES[name]() for name in SOURCES.whole()}
    for name, source in reversed(sources.items()):
        if source.accepts(place.path):
            return name, source
    if not place.path.exists():
        raise StudyError(f"{place}: no such folder or file")
    faults = [fault for fault in map(SOURCES.fault, SOURCES) if fault]
    if faults:  # it may be the one that would have read this
        raise StudyError(f"{place}: no source reads it, and one is broken: {faults[0]}")
    known = " or ".join(source.about for source in sources.values())
    raise StudyError(f"{place}: is a file, not {known}")
