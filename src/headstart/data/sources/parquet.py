"""A Parquet file: a list of images as in a CSV file, or the images themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place
from headstart.data.sources.manifest import Manifest
from headstart.data.sources.rows import COLUMNS, found_in
from headstart.data.sources.tables import IMAGE, Part, arrow, holds_images, rows_of

LARGEST_GROUP = 2**30
"""Bytes of images that are held at once: Parquet is read a row group at a time."""


class Parquet:
    """The columns of a CSV list; or a column ``image``, as Hugging Face writes it, with the files'
    bytes, where ``path`` is only a name.
    """

    about: ClassVar[str] = "a Parquet file with a column 'path' or 'image'"

    def accepts(self, path: Path) -> bool:
        """A file that is called ``.parquet``."""
        return path.suffix.lower() == ".parquet" and path.is_file()

    def images(self, place: Place) -> list[Found]:
        """Every row: sorted by path; images that the file itself holds in the order of the rows,
        so that each row group is read once.

        Raises:
            StudyError: pyarrow is not installed, no Parquet file, row groups too large to hold, a
                missing column, or rows as of ``found_in``.
        """
        part = _part(place)
        found = found_in(place, rows_of(place, [part]))
        return found if part.content else sorted(found, key=lambda one: one.id)

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """The images in one folder, and the list beside it."""
        from pyarrow import csv, parquet

        listed = Manifest().example(files, folder)
        as_text = csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, "string"))
        parquet.write_table(csv.read_csv(listed, convert_options=as_text), folder / "i.parquet")
        return folder / "i.parquet"


def _part(place: Place) -> Part:
    parquet, lib = arrow(place, "parquet"), arrow(place, "lib")
    try:
        file = parquet.ParquetFile(place.path)
        held = holds_images(file.schema_arrow)
        # Of the images only their paths; their bytes are read when each is decoded.
        wanted = [name for name in COLUMNS if name in file.schema_arrow.names]
        if held:
            _check_groups(place, file)
            wanted.append(f"{IMAGE}.path")
        table = (
            file.read(columns=wanted).flatten().replace_schema_metadata(file.schema_arrow.metadata)
        )
    except (lib.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StudyError(f"{place}: not readable as Parquet ({reason})") from None
    columns, rows = list(file.schema_arrow.names), file.metadata.num_rows
    return Part(place.path, table, columns, rows, _cells(file) if held else None)


def _check_groups(place: Place, file: Any) -> None:
    sizes = (file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
    if max(sizes, default=0) > LARGEST_GROUP:
        raise StudyError(
            f"{place}: a row group is larger than {LARGEST_GROUP // 2**20} MiB; write the file "
            "with smaller ones, such as row_group_size=100"
        )


def _cells(file: Any) -> Callable[[int], object]:
    """Cells of the column of images; the row group that was read last is kept."""
    group_of = [
        (group, row)
        for group in range(file.num_row_groups)
        for row in range(file.metadata.row_group(group).num_rows)
    ]

    @lru_cache(maxsize=1)
    def column(group: int) -> Any:
        return file.read_row_group(group, columns=[IMAGE]).column(IMAGE)

    def cell(number: int) -> object:
        group, row = group_of[number]
        content: object = column(group)[row].as_py()
        return content

    return cell
