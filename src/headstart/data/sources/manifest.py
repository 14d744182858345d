"""A CSV file that lists the images: their paths, and what is known of each."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place
from headstart.data.sources.rows import COLUMNS, Row, check_columns, found_in


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
            StudyError: a file that is no CSV, a missing column, or rows as of ``found_in``.
        """
        return sorted(found_in(place, list(_rows(place))), key=lambda found: found.id)

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


def _rows(place: Place) -> Iterator[Row]:
    """The lines of the file, spaces around values dropped; empty lines are passed by."""
    try:
        with place.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            check_columns(place, list(columns), "line 1: ")
            for row in reader:
                known = {n: (row[columns[n]] or "").strip() for n in COLUMNS if n in columns}
                if any(known.values()):
                    yield Row.of(f"line {reader.line_num}", known)
    except OSError as error:
        raise StudyError(f"{place}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{place}: not readable as CSV: {error}") from None
