"""Find the image files of a study: in any nesting, each once, in a stable order."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from headstart.config import StudyError
from headstart.data.decode import EXTENSIONS

SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation"}
SPLIT_NAMES |= {"valid": "validation", "training": "train", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Found:
    """A file that may be an image.

    ``id`` is ``unlabeled/…`` or ``labeled/…`` with the path below that folder; ``label`` is its
    class folder's name, or "" in the pool; ``split`` is given by the folders, or "".
    """

    id: str
    path: str
    label: str = ""
    split: str = ""


def find_unlabeled(folder: Path, exclude: Path | None = None) -> list[Found]:
    """All image files below ``folder``.

    Raises:
        StudyError: the folder is missing or holds no image, saying what was seen there.
    """
    files = _image_files(folder, "--unlabeled", exclude)
    return [Found(f"unlabeled/{_printable(name)}", str(folder / name)) for name in files]


def find_labeled(folder: Path, exclude: Path | None = None) -> list[Found]:
    """All image files below class folders, with or without train/validation/test above them.

    Raises:
        StudyError: the folder is missing, holds no image, fewer than two classes, images that lie
            in no class folder, or folders of splits beside folders of classes.
    """
    files = [Path(name) for name in _image_files(folder, "--labeled", exclude)]
    parted = _parted({name.parts[0] for name in files if len(name.parts) > 1}, folder)
    depth = 1 if parted else 0
    loose = [name for name in files if len(name.parts) < depth + 2]
    if loose:
        raise StudyError(
            f"--labeled {folder}: '{_printable(str(loose[0]))}' is in no class folder; put each "
            "image into a folder named after its class"
        )
    found = [
        Found(
            f"labeled/{_printable(name.as_posix())}",
            str(folder / name),
            _printable(name.parts[depth]),
            SPLIT_NAMES[name.parts[0].lower()] if parted else "",
        )
        for name in files
    ]
    if len({f.label for f in found}) < 2:
        raise StudyError(
            f"--labeled {folder}: needs at least two class folders, found only '{found[0].label}'"
        )
    return found


def _parted(tops: set[str], folder: Path) -> bool:
    """Whether the topmost folders are splits. One of them may be a class that is called ``train``;
    two of them among others would silently become classes, and that is an error.
    """
    splits = {name: SPLIT_NAMES[name.lower()] for name in tops if name.lower() in SPLIT_NAMES}
    if splits and len(splits) == len(tops) and "train" in splits.values():
        return True
    if len(set(splits.values())) > 1:
        names = " and ".join(f"'{_printable(name)}'" for name in sorted(splits)[:2])
        others = sorted(tops - splits.keys())
        beside = f"beside '{_printable(others[0])}'" if others else "without a folder 'train'"
        raise StudyError(
            f"--labeled {folder}: {names} stand {beside}; put there either folders of classes only,"
            " or only train, validation and test"
        )
    return False


def _image_files(folder: Path, flag: str, exclude: Path | None) -> list[str]:
    """Paths below ``folder``, sorted; links are followed, each real folder once; folders that an
    earlier run wrote are passed by.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise StudyError(f"{flag} {folder}: {what}")
    shut = os.path.realpath(exclude) if exclude else None
    if shut == os.path.realpath(folder):
        raise StudyError(f"--out {exclude}: the images lie there; name a folder for results only")
    files: list[str] = []
    others = 0
    seen: set[str | None] = {shut}

    def closed(error: OSError) -> None:  # os.walk would pass it by in silence
        raise StudyError(f"{flag} {_printable(str(error.filename))}: {error.strerror}")

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        real = os.path.realpath(parent)
        if real in seen or ("index" in folders and _of_a_run(parent)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(parent, folder)
        for name in names:
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in EXTENSIONS:
                files.append(name if below == os.curdir else os.path.join(below, name))
            else:
                others += 1
    if not files:
        seen_there = f"{others} other files" if others else "nothing"
        raise StudyError(
            f"{flag} {folder}: no images found (saw {seen_there}; looked for "
            f"{', '.join(sorted(EXTENSIONS))})"
        )
    return sorted(files)


_INDEXED = re.compile(r"images-[0-9a-f]{16}")


def _of_a_run(folder: str) -> bool:
    """Whether a run wrote there: its pictures are no data."""
    try:
        return any(map(_INDEXED.fullmatch, os.listdir(os.path.join(folder, "index"))))
    except OSError:  # the walk comes to it, and tells of it
        return False


def _printable(name: str) -> str:
    """A name that any text file can hold: bytes that are no UTF-8 are spelled out."""
    return name.replace(os.sep, "/").encode("utf8", "backslashreplace").decode("utf8")
