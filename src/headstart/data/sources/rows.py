"""The rules of a list of images, whatever file the list is kept in."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.config import StudyError
from headstart.data.sources.base import SPLIT_NAMES, Found, Place, printable

COLUMNS = ("path", "label", "split", "group")


@dataclass(frozen=True)
class Row:
    """One image of a list; what the list does not say is ""."""

    at: str
    """Where it stands, for error lines: 'line 3'."""
    path: str
    label: str = ""
    split: str = ""
    group: str = ""
    read: Callable[[], bytes] | None = None
    """Gives the content where the list holds it; otherwise ``path`` is a file."""
    stamp: tuple[int, int] | None = None
    shard: str = ""

    @classmethod
    def of(
        cls,
        at: str,
        known: Mapping[str, str],
        read: Callable[[], bytes] | None = None,
        stamp: tuple[int, int] | None = None,
    ) -> Row:
        """A row of the values in the columns that the list has."""
        path, label, split, group = (known.get(name, "") for name in COLUMNS)
        return cls(at, path, label, split, group, read, stamp, known.get("shard", ""))


def check_columns(place: Place, names: Sequence[str], at: str = "", *, paths: bool = True) -> None:
    """Raise StudyError where a column is missing that the place needs.

    A list that holds the images themselves needs no ``paths``.
    """
    needed = (("path",) if paths else ()) + (("label",) if place.labeled else ())
    for name in needed:
        if name not in names:
            have = ", ".join(f"'{printable(column)}'" for column in names) or "none"
            raise StudyError(f"{place}: {at}needs the column '{name}', has {have}")


def found_in(place: Place, rows: Sequence[Row]) -> list[Found]:
    """Every row as an image, in the order of the rows.

    Raises:
        StudyError: no rows, an image that is not there or is listed twice, an empty label, an
            unknown split, or a split in some rows only.
    """
    if not rows:
        raise StudyError(f"{place}: lists no images")
    if place.labeled:
        _check_labels(place, rows)
    seen: dict[str, str] = {}
    for row in rows:
        if not row.path:
            raise StudyError(f"{place}: {row.at}: no path")
        if row.read is None and not (place.path.parent / row.path).exists():
            raise StudyError(f"{place}: {row.at}: no file '{row.path}'")
        if (first := seen.setdefault(_name(place, row), row.at)) != row.at:
            raise StudyError(f"{place}: {row.at}: '{row.path}' stands in {first} already")
    return [_found(place, row) for row in rows]


def _check_labels(place: Place, rows: Sequence[Row]) -> None:
    parted = any(row.split for row in rows)
    for row in rows:
        if not row.label:
            raise StudyError(f"{place}: {row.at}: no label; give every image its class")
        if row.split and row.split.lower() not in SPLIT_NAMES:
            raise StudyError(
                f"{place}: {row.at}: unknown split '{row.split}'; write train, validation or test"
            )
        if parted and not row.split:
            raise StudyError(
                f"{place}: {row.at}: no split, though other rows have one; give every image a "
                "split, or none"
            )


def _found(place: Place, row: Row) -> Found:
    label, split = (
        (row.label, SPLIT_NAMES.get(row.split.lower(), "")) if place.labeled else ("", "")
    )
    name = _name(place, row)
    above = place.path.parent if row.read is None else place.path
    path = str(above / (row.path if row.read is None else printable(name)))
    return Found(place.id(name), path, label, split, row.group, row.read, row.stamp, row.shard)


def _name(place: Place, row: Row) -> str:
    """The path below the list's folder, however it is spelled."""
    whole = posixpath.normpath(Path(row.path).as_posix())
    above = posixpath.normpath(place.path.parent.absolute().as_posix())
    return whole.removeprefix(f"{above}/").lstrip("/")
