"""Groups of images given by the user, such as all photos of one person, product or patient.

Also a way to pair images so that no pair has two images of one group.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from headstart.config import StudyError
from headstart.data.scan import Found
from headstart.types import Ints

FOLDER = "folder"
_IDS = ("id", "file", "filename", "file name", "file_name", "image", "name", "path")


def read_groups(spec: str, files: Sequence[Found]) -> tuple[str, ...]:
    """The group of each file, "" for an image without one.

    Args:
        spec: a CSV file with the columns ``group`` and ``id`` (or ``file``, ``image``, ``path``),
            which holds ids, paths below the images' folder, or file names with or without their
            extension; or the word ``folder`` for the name of the folder an image lies in below its
            class folder; or a regular expression with one group that is searched in the id.
        files: the images of the study.

    Raises:
        StudyError: no such file, no such column, a name that several images have, a bad
            expression, or nothing that matches any labelled image.
    """
    if spec == FOLDER:
        groups = [_folder(file) for file in files]
        reason = "no labelled image lies in a folder of its own below its class folder"
    elif spec.lower().endswith(".csv") or Path(spec).is_file():
        groups = _from_table(Path(spec), files)
        reason = "none of its rows names a labelled image"
    else:
        groups = _from_pattern(spec, files)
        reason = f"matches no labelled image, such as '{_first_labelled(files)}'"
    if not any(group for group, file in zip(groups, files, strict=True) if file.label):
        raise StudyError(f"--groups {spec}: {reason}")
    return tuple(groups)


def partners(groups: Ints, rng: np.random.Generator) -> Ints:
    """For each of n images the position of another (n,), of another group where there is one.

    ``groups`` (n,) are whole numbers. Each image is the partner of one other, unless one group
    holds more than half of them: then some are partners several times. A single image gets itself.
    """
    count = len(groups)
    shuffled = rng.permutation(count)
    _, first, place, sizes = np.unique(
        groups[shuffled], return_index=True, return_inverse=True, return_counts=True
    )
    # Groups in a row; a step as long as the longest leads out of every one of them.
    ring = shuffled[np.argsort(first[place], kind="stable")]
    step = int(sizes.max(initial=1)) if len(sizes) > 1 else 1
    partner = np.empty(count, dtype=np.int64)
    partner[ring] = np.roll(ring, step)
    if len(sizes) > 1:
        stuck = np.flatnonzero(groups[partner] == groups)  # of a group that is more than half
        others = ring[~np.isin(groups[ring], groups[stuck])]
        partner[stuck] = others[np.arange(len(stuck)) % max(len(others), 1)]
    return partner


def _first_labelled(files: Sequence[Found]) -> str:
    return next((file.id for file in files if file.label), "")


def _folder(file: Found) -> str:
    """labeled/[split/]class/…/group/name: the last folder, unless it is the class's own."""
    parts = file.id.split("/")[1:-1]
    own = (1 + bool(file.split)) if file.label else 0
    return parts[-1] if len(parts) > own else ""


def _from_pattern(spec: str, files: Sequence[Found]) -> list[str]:
    try:
        pattern = re.compile(spec)
    except re.error as error:
        raise StudyError(
            f"--groups {spec}: neither a CSV file, nor 'folder', nor a regular expression ({error})"
        ) from None
    if pattern.groups != 1:
        raise StudyError(
            f"--groups {spec}: a regular expression needs one group in brackets, like '/(\\d+)_'; "
            f"this one has {pattern.groups}"
        )
    matches = (pattern.search(file.id) for file in files)
    return [(match.group(1) or "") if match else "" for match in matches]


def _from_table(path: Path, files: Sequence[Found]) -> list[str]:
    named = _names(files)
    groups = [""] * len(files)
    for name, group in _rows(path):
        matches = named.get(name, ())
        if len(matches) > 1:
            raise StudyError(
                f"--groups {path}: '{name}' is the name of {len(matches)} images; write their ids, "
                f"like '{files[matches[0]].id}'"
            )
        for i in matches:
            groups[i] = group
    return groups


def _rows(path: Path) -> list[tuple[str, str]]:
    """(name, group) of every row, spaces around them dropped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            key = next((columns[name] for name in _IDS if name in columns), None)
            if key is None or "group" not in columns:
                have = ", ".join(f"'{name}'" for name in columns) or "none"
                raise StudyError(
                    f"--groups {path}: needs the columns 'id' (or 'file') and 'group', has {have}"
                )
            rows = [(row[key] or "", row[columns["group"]] or "") for row in reader]
    except OSError as error:
        raise StudyError(f"--groups {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"--groups {path}: not readable as CSV: {error}") from None
    return [(name.strip(), group.strip()) for name, group in rows]


def _names(files: Iterable[Found]) -> dict[str, list[int]]:
    """Every name an image can be given by, with the positions of the images that have it."""
    named: dict[str, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        below = file.id.partition("/")[2]
        name = below.rpartition("/")[2]
        for answer in {file.id, below, name, name.rpartition(".")[0] or name}:
            named[answer].append(i)
    return named
