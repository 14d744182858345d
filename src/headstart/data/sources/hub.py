"""A Hugging Face data set by its name: ``hf:NAME``, perhaps with ``@CONFIGURATION``, ``#SPLIT``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place
from headstart.data.sources.rows import found_in
from headstart.data.sources.saved import part_of
from headstart.data.sources.tables import IMAGE, Part, rows_of

PREFIX = "hf:"
LABEL = "label"


class Hub:
    """What ``datasets.load_dataset`` finds under a name: on this machine, or on the hub.

    The one column of images and the one column of classes are taken, whatever they are called. Its
    splits are the splits; with ``#SPLIT`` that one alone is read, and counts as not split.
    """

    about: ClassVar[str] = "a Hugging Face data set by name (hf:NAME)"

    def accepts(self, path: Path) -> bool:
        """A location that begins with ``hf:``."""
        return str(path).startswith(PREFIX)

    def images(self, place: Place) -> list[Found]:
        """Every row, sorted by the name of its image.

        Raises:
            StudyError: the library is not installed, there is no such data set or the hub cannot
                be reached, not one column of images, or rows as of ``found_in``.
        """
        name, _, split = str(place.path).removeprefix(PREFIX).partition("#")
        splits = _loaded(place, *name.partition("@")[::2])
        if split:
            if split not in splits:
                raise StudyError(f"{place}: no split '{split}', has {', '.join(splits)}")
            splits = {"": splits[split]}
        parts = [part for name, split in splits.items() for part in _parts(place, name, split)]
        return sorted(found_in(place, rows_of(place, parts)), key=lambda one: one.id)

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """Parquet files in a folder, which ``load_dataset`` takes for a data set of that name."""
        from datasets import Dataset, Features, Image, Value

        text = Value("string")
        features = Features(img=Image(), path=text, label=text, group=text)
        folder.mkdir(parents=True, exist_ok=True)
        for split in {f.split for f in files}:
            rows = [
                {
                    "img": {"bytes": Path(f.path).read_bytes(), "path": None},
                    "path": f.id.partition("/")[2],
                    "label": f.label,
                    "group": f.group,
                }
                for f in files
                if f.split == split
            ]
            data = Dataset.from_list(rows, features=features)
            data.to_parquet(folder / f"{split or 'train'}.parquet")
        return Path(f"{PREFIX}{folder}{'' if files[0].split else '#train'}")


def _loaded(place: Place, name: str, configuration: str) -> Mapping[str, Any]:
    """The splits by name."""
    try:
        library: Any = import_module("datasets")
    except ImportError:
        raise StudyError(
            f"{place}: needs the library datasets; install it with: pip install 'headstart[hf]'"
        ) from None
    library.disable_progress_bars()
    try:
        loaded: Mapping[str, Any] = library.load_dataset(name, configuration or None)
    except Exception as error:  # noqa: BLE001 - whatever the hub, the network or a file makes of it
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise StudyError(f"{place}: not loaded from Hugging Face: {reason}") from None
    return loaded


def _parts(place: Place, split: str, data: Any) -> Iterator[Part]:
    """A part for each file of Arrow records that the library keeps."""
    features = data.features.items()
    names = {
        _only(place, IMAGE, [n for n, kind in features if type(kind).__name__ == "Image"]): IMAGE
    }
    classes = [n for n, kind in features if type(kind).__name__ == "ClassLabel"]
    if place.labeled and LABEL not in data.features:
        names[_only(place, LABEL, classes)] = LABEL
    for file in data.cache_files:
        yield part_of(place, Path(file["filename"]), split, names)


def _only(place: Place, wanted: str, columns: Sequence[str]) -> str:
    if wanted in columns:
        return wanted
    if len(columns) == 1:
        return columns[0]
    have = " and ".join(f"'{name}'" for name in columns) or "none"
    raise StudyError(
        f"{place}: needs one column '{wanted}', has {have}; save it with that name "
        "(rename_column, save_to_disk) and give the folder"
    )
