"""A CSV file that lists the images: their paths, and what is known of each."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import SPLIT_NAMES, Found, Place


@dataclass(frozen=True)
class _Row:
    """A line of the file; columns that it has not are ""."""

    line: int
    path: str
    label: str = ""
    split: str = ""
    group: str = ""


COLUMNS = ("path", "label", "split", "group")


class Manifest:
    """A CSV file with the column ``path``, and ``label``, ``split`` and ``group`` where known.

    Paths are relative to the file. For ``--labeled`` every row needs a label, and either all have a
    split or none has; for ``--unlabeled`` labels and splits are passed by.
    """

    about: ClassVar[str] = "a CSV file with a column 'path'"

    def accepts(self, path: Path) -> bool:
        """A file that is called ``.csv``."""
        return path.suffix.lower() == ".csv" and path.is_file()

    def images(self, place: Place) -> list[Found]:
        """Every row, sorted by path.

        Raises:
            StudyError: a file that is no CSV, a missing column, an image that is not there or is
                listed twice, an empty label, an unknown split, or a split in some rows only.
        """
        rows = list(_rows(place))
        if not rows:
            raise StudyError(f"{place}: lists no images")
        if place.labeled:
            _check_labels(place, rows)
        lines: dict[str, int] = {}
        for row in rows:
            if not row.path:
                raise StudyError(f"{_at(place, row)}: no path")
            if not (place.path.parent / row.path).exists():
                raise StudyError(f"{_at(place, row)}: no file '{row.path}'")
            if (first := lines.setdefault(_name(place, row), row.line)) != row.line:
                raise StudyError(f"{_at(place, row)}: '{row.path}' stands in line {first} already")
        return sorted((_found(place, row) for row in rows), key=lambda found: found.id)

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """The images in one folder, and the list beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "images.csv"
        with path.open("w", encoding="utf8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for found in files:
                name = found.id.partition("/")[2]
                copy = folder / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(Path(found.path).read_bytes())
                writer.writerow((name, found.label, found.split, found.group))
        return path


def _rows(place: Place) -> Iterator[_Row]:
    """The lines of the file, spaces around values dropped; empty lines are passed by."""
    try:
        with place.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            needed = ("path", "label") if place.labeled else ("path",)
            for name in needed:
                if name not in columns:
                    have = ", ".join(f"'{column}'" for column in columns) or "none"
                    raise StudyError(f"{place}: line 1: needs the column '{name}', has {have}")
            for row in reader:
                known = {n: (row[columns[n]] or "").strip() for n in COLUMNS if n in columns}
                if any(known.values()):
                    yield _Row(reader.line_num, **known)
    except OSError as error:
        raise StudyError(f"{place}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{place}: not readable as CSV: {error}") from None


def _check_labels(place: Place, rows: Sequence[_Row]) -> None:
    parted = any(row.split for row in rows)
    for row in rows:
        if not row.label:
            raise StudyError(f"{_at(place, row)}: no label; give every image its class")
        if row.split and row.split.lower() not in SPLIT_NAMES:
            raise StudyError(
                f"{_at(place, row)}: unknown split '{row.split}'; write train, validation or test"
            )
        if parted and not row.split:
            raise StudyError(
                f"{_at(place, row)}: no split, though other rows have one; give every image a "
                "split, or none"
            )


def _found(place: Place, row: _Row) -> Found:
    label, split = (
        (row.label, SPLIT_NAMES.get(row.split.lower(), "")) if place.labeled else ("", "")
    )
    path = str(place.path.parent / row.path)
    return Found(place.id(_name(place, row)), path, label, split, row.group)


def _name(place: Place, row: _Row) -> str:
    """The path below the manifest's folder, however it is spelled."""
    whole = posixpath.normpath(Path(row.path).as_posix())
    above = posixpath.normpath(place.path.parent.absolute().as_posix())
    return whole.removeprefix(f"{above}/").lstrip("/")


def _at(place: Place, row: _Row) -> str:
    return f"{place}: line {row.line}"
