"""A folder that ``datasets.Dataset.save_to_disk`` wrote, of one split or of several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place
from headstart.data.sources.rows import found_in
from headstart.data.sources.tables import IMAGE, Part, arrow, holds_images, rows_of

_STATE, _SPLITS = "state.json", "dataset_dict.json"


class Saved:
    """A saved Hugging Face data set with a column ``image``; ``label``, ``split``, ``group`` and
    ``path`` (a name) where there are any. Its own splits are the splits.
    """

    about: ClassVar[str] = "a saved Hugging Face data set"

    def accepts(self, path: Path) -> bool:
        """A folder with ``state.json`` and ``dataset_info.json``, or ``dataset_dict.json``."""
        one = (path / _STATE).is_file() and (path / "dataset_info.json").is_file()
        return one or (path / _SPLITS).is_file()

    def images(self, place: Place) -> list[Found]:
        """Every row, in the order of the data set.

        Raises:
            StudyError: pyarrow is not installed, a file of the folder is missing or damaged, there
                is no column ``image``, or rows as of ``found_in``.
        """
        lib = arrow(place, "lib")
        try:
            parts = list(_parts(place))
        except (lib.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, StudyError):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StudyError(
                f"{place}: not readable as a saved Hugging Face data set ({reason})"
            ) from None
        return found_in(place, rows_of(place, parts))

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """The content in a column, the path in another, saved as one data set or as splits."""
        from datasets import Dataset, DatasetDict, Features, Image, Value

        text = Value("string")
        features = Features(image=Image(), path=text, label=text, group=text)
        parts: dict[str, list[dict[str, object]]] = {}
        for f in files:
            row = {"path": f.id.partition("/")[2], "label": f.label, "group": f.group}
            content = {"bytes": Path(f.path).read_bytes(), "path": None}
            parts.setdefault(f.split, []).append({"image": content, **row})
        saved = {k: Dataset.from_list(rows, features=features) for k, rows in parts.items()}
        (saved[""] if "" in saved else DatasetDict(saved)).save_to_disk(folder)
        return folder


def _parts(place: Place) -> Iterator[Part]:
    """A part for each file of Arrow records."""
    splits = {"": place.path}
    if (place.path / _SPLITS).is_file():
        names = json.loads((place.path / _SPLITS).read_text("utf8"))["splits"]
        splits = {str(name): place.path / str(name) for name in names}
    for split, folder in splits.items():
        for stated in json.loads((folder / _STATE).read_text("utf8"))["_data_files"]:
            yield part_of(place, folder / str(stated["filename"]), split)


def part_of(place: Place, file: Path, split: str, names: Mapping[str, str] | None = None) -> Part:
    """A file of Arrow records; ``names`` gives columns other names."""
    pyarrow, ipc = arrow(place, "lib"), arrow(place, "ipc")
    table = _renamed(ipc.open_stream(pyarrow.memory_map(str(file))).read_all(), names or {})
    if not holds_images(table.schema):
        listed = ", ".join(f"'{name}'" for name in table.column_names)
        raise StudyError(f"{place}: needs the column '{IMAGE}' with images, has {listed}")
    column = table.column(IMAGE)
    have, rows = list(table.column_names), table.num_rows
    return Part(file, _without_bytes(table), have, rows, partial(_cell, column), split)


def _renamed(table: Any, names: Mapping[str, str]) -> Any:
    """The table, and what Hugging Face keeps beside it, with columns under their new names."""
    metadata = dict(table.schema.metadata or {})
    if b"huggingface" in metadata:
        stated = json.loads(metadata[b"huggingface"])
        kinds = stated["info"]["features"]
        stated["info"]["features"] = {names.get(name, name): kind for name, kind in kinds.items()}
        metadata[b"huggingface"] = json.dumps(stated).encode()
    columns = [names.get(name, name) for name in table.column_names]
    return table.rename_columns(columns).replace_schema_metadata(metadata)


def _without_bytes(table: Any) -> Any:
    """The paths alone in the column of images; a view, nothing is copied."""
    image = table.schema.get_field_index(IMAGE)
    flat = table.select([IMAGE]).flatten()
    rest = table.remove_column(image)
    if f"{IMAGE}.path" in flat.column_names:
        rest = rest.append_column(f"{IMAGE}.path", flat.column(f"{IMAGE}.path"))
    return rest


def _cell(column: Any, row: int) -> object:
    """Bytes, or the file that the data set names in their place, as those of folders do."""
    content: object = column[row].as_py()
    if isinstance(content, dict) and content.get("bytes") is None:
        file = Path(content.get("path") or "")
        if file.is_absolute() and file.is_file():
            return file.read_bytes()
    return content
