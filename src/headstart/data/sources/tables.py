"""Tables in Arrow's memory layout, as Parquet files and saved Hugging Face data sets hold them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from headstart.config import StudyError
from headstart.data.sources.base import Place
from headstart.data.sources.rows import COLUMNS, Row, check_columns

IMAGE = "image"
"""The column that holds images: bytes, or a struct of ``bytes`` and ``path``."""


@dataclass(frozen=True)
class Part:
    """One table: its columns without the images' bytes, and how to get at those."""

    file: Path
    table: Any
    """A ``pyarrow.Table``; of ``image`` only the paths, as the column ``image.path``."""
    columns: Sequence[str]
    """The names of all columns, for error lines."""
    rows: int
    content: Callable[[int], object] | None
    """The cell of ``image`` in a row; None where there is no such column."""
    split: str = ""
    """Of all its rows, where the data set says so."""


def arrow(place: Place, module: str) -> Any:
    """A module of pyarrow.

    Raises:
        StudyError: it is not installed.
    """
    try:
        return import_module(f"pyarrow.{module}")
    except ImportError:
        raise StudyError(
            f"{place}: needs pyarrow; install it with: pip install 'headstart[hf]'"
        ) from None


def holds_images(schema: Any) -> bool:
    """Whether its column ``image`` has bytes, or a struct with ``bytes``."""
    if IMAGE not in schema.names:
        return False
    kind = schema.field(IMAGE).type
    parts = [kind.field(i) for i in range(kind.num_fields)]
    return "binary" in str(kind) and (
        not parts or any(part.name == "bytes" and "binary" in str(part.type) for part in parts)
    )


def rows_of(place: Place, parts: Sequence[Part]) -> list[Row]:
    """All rows. An image is called by its ``path``; where there is no such column by the path in
    its ``image``, if that is another one for every row; else by its number.

    Raises:
        StudyError: a missing column.
    """
    for part in parts:
        check_columns(place, part.columns, paths=part.content is None)
    own = [_own_paths(part) for part in parts]
    flat = [path for paths in own for path in paths]
    usable = bool(flat) and all(flat) and len(set(flat)) == len(flat)
    rows: list[Row] = []
    for part, paths in zip(parts, own, strict=True):
        rows.extend(_rows(part, paths if usable else [], len(rows)))
    return rows


def _rows(part: Part, names: Sequence[str], before: int) -> Iterator[Row]:
    texts = {name: _texts(part, name) for name in COLUMNS if name in part.table.column_names}
    state = part.file.stat()
    for i in range(part.rows):
        known = {name: column[i] for name, column in texts.items()}
        known.setdefault("path", names[i] if names else f"{before + i:08d}")
        known.setdefault("split", part.split)
        at = f"row {before + i + 1}"
        if part.content is None:
            yield Row.of(at, known)
        else:
            read = partial(_bytes, part.content, i)
            yield Row.of(at, known, read, (state.st_size, state.st_mtime_ns + i))


def _bytes(content: Callable[[int], object], row: int) -> bytes:
    cell = content(row)
    held = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(held, bytes):
        raise ValueError("the row holds no bytes of an image")
    return held


def _own_paths(part: Part) -> list[str]:
    """The path in each cell of ``image``, or "" where there is none."""
    if f"{IMAGE}.path" not in part.table.column_names:
        return [""] * part.rows
    return [str(path or "") for path in part.table.column(f"{IMAGE}.path").to_pylist()]


def _texts(part: Part, column: str) -> list[str]:
    """A column as text; numbers of classes by the names that Hugging Face keeps beside them."""
    values = part.table.column(column).to_pylist()
    names = _class_names(part.table.schema.metadata) if column == "label" else []
    if names:
        values = [_class(names, value) for value in values]
    return ["" if value is None else str(value).strip() for value in values]


def _class(names: Sequence[str], value: object) -> object:
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else ""


def _class_names(metadata: dict[bytes, bytes] | None) -> list[str]:
    try:
        stated = json.loads((metadata or {})[b"huggingface"])
        return [str(name) for name in stated["info"]["features"]["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
