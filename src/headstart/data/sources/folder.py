"""A folder of images: any tree for the pool; class folders, with or without splits, for labels."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from headstart.config import StudyError
from headstart.data.bands import ENDINGS
from headstart.data.sources.base import SPLIT_NAMES, Found, Place, printable

MASKS = "masks"
"""A folder of this name that mirrors the images beside it holds their masks, and is no class."""
_LOOKED_AT = 50  # masks; one that belongs to an image is enough


class Folder:
    """All image files below a folder; the last part of an image's id is its path below it.

    A folder ``masks`` with a PNG for some of the images, under the same path, is left out.
    """

    about: ClassVar[str] = "a folder of images"

    def accepts(self, path: Path) -> bool:
        """Any folder."""
        return path.is_dir()

    def images(self, place: Place) -> list[Found]:
        """All image files, in any nesting; with labels as ``_labeled`` reads them.

        Raises:
            StudyError: the folder holds no image, images that lie in no class folder, or folders
                of splits beside folders of classes.
        """
        names = _image_files(place)
        if place.labeled:
            return _labeled(place, names)
        return [Found(place.id(name), str(place.path / name)) for name in names]

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """The same tree again."""
        for file in files:
            copy = folder / file.id.partition("/")[2]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.path, copy)
        return folder


def _labeled(place: Place, names: Sequence[str]) -> list[Found]:
    """Images below class folders, with or without train/validation/test above them."""
    kinds = classes_of(place, names)
    return [Found(place.id(name), str(place.path / name), *kinds[name]) for name in names]


def classes_of(place: Place, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The class and the split, or "", of each image by its path below the place.

    Raises:
        StudyError: images that lie in no class folder, or folders of splits beside classes.
    """
    files = {name: Path(name).parts for name in names}
    parted = _parted({parts[0] for parts in files.values() if len(parts) > 1}, place)
    depth = 1 if parted else 0
    loose = [name for name, parts in files.items() if len(parts) < depth + 2]
    if loose:
        raise StudyError(
            f"{place}: '{printable(loose[0])}' is in no class folder; put each "
            "image into a folder named after its class"
        )
    return {
        name: (printable(parts[depth]), SPLIT_NAMES[parts[0].lower()] if parted else "")
        for name, parts in files.items()
    }


def _parted(tops: set[str], place: Place) -> bool:
    """Whether the topmost folders are splits. One of them may be a class that is called ``train``;
    two of them among others would silently become classes, and that is an error.
    """
    splits = {name: SPLIT_NAMES[name.lower()] for name in tops if name.lower() in SPLIT_NAMES}
    if splits and len(splits) == len(tops) and "train" in splits.values():
        return True
    if len(set(splits.values())) > 1:
        names = " and ".join(f"'{printable(name)}'" for name in sorted(splits)[:2])
        others = sorted(tops - splits.keys())
        beside = f"beside '{printable(others[0])}'" if others else "without a folder 'train'"
        raise StudyError(
            f"{place}: {names} stand {beside}; put there either folders of classes only,"
            " or only train, validation and test"
        )
    return False


def _image_files(place: Place) -> list[str]:
    """Paths below the folder, sorted; links are followed, each real folder once; folders that an
    earlier run wrote are passed by.
    """
    folder, exclude = place.path, place.exclude
    shut = os.path.realpath(exclude) if exclude else None
    if shut == os.path.realpath(folder):
        raise StudyError(f"--out {exclude}: the images lie there; name a folder for results only")
    files: list[str] = []
    others = 0
    seen: set[str | None] = {shut}

    def closed(error: OSError) -> None:  # os.walk would pass it by in silence
        raise StudyError(f"{place.flag} {printable(str(error.filename))}: {error.strerror}")

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        real = os.path.realpath(parent)
        if real in seen or ("index" in folders and _of_a_run(parent)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if MASKS in folders and os.path.samefile(parent, folder) and own_masks(folder):
            folders.remove(MASKS)
        below = os.path.relpath(parent, folder)
        for name in names:
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in place.endings:
                files.append(name if below == os.curdir else os.path.join(below, name))
            else:
                others += 1
    if not files:
        seen_there = f"{others} other files" if others else "nothing"
        raise StudyError(
            f"{place}: no images found (saw {seen_there}; looked for "
            f"{', '.join(sorted(place.endings))})"
        )
    return sorted(files)


_INDEXED = re.compile(r"images-[0-9a-f]{16}")


def _of_a_run(folder: str) -> bool:
    """Whether a run wrote there: its pictures are no data."""
    try:
        return any(map(_INDEXED.fullmatch, os.listdir(os.path.join(folder, "index"))))
    except OSError:  # the walk comes to it, and tells of it
        return False


def own_masks(folder: Path) -> Path | None:
    """``folder/masks`` if it holds masks of the images beside it, else None.

    It does if it has PNGs only, and one of them has the path of an image: ``masks/test/a/1.png``
    and ``test/a/1.jpg``. A class may be called masks.
    """
    masks = folder / MASKS
    if not masks.is_dir():
        return None
    images = (p for p in masks.rglob("*") if p.suffix.lower() in ENDINGS)
    for path in islice(images, _LOOKED_AT):
        if path.suffix.lower() != ".png":
            return None
        beside = folder / path.relative_to(masks)
        if any(beside.with_suffix(ending).is_file() for ending in ENDINGS):
            return masks
    return None
