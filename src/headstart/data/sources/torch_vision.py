"""A data set of torchvision by its name: ``torchvision:CIFAR10``, perhaps with ``@FOLDER``."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place
from headstart.data.sources.rows import Row, found_in

PREFIX = "torchvision:"
HOME = "~/.cache/headstart/torchvision"
SPLITS = ("train", "val", "valid", "validation", "test")


class TorchVision:
    """The images that ``torchvision.datasets.NAME`` has in a folder, fetched where they are not.

    Its parts (``train=``, or ``split=`` train, val and test) are the splits. Images are read as it
    gives them, and handed on as PNG.
    """

    about: ClassVar[str] = "a torchvision data set by name (torchvision:NAME@FOLDER)"

    def accepts(self, path: Path) -> bool:
        """A location that begins with ``torchvision:``."""
        return str(path).startswith(PREFIX)

    def images(self, place: Place) -> list[Found]:
        """Every image, in the order of the data set, its number for a name.

        Raises:
            StudyError: torchvision has no such data set, it is neither in the folder nor to be
                fetched, or rows as of ``found_in``.
        """
        name, _, root = str(place.path).removeprefix(PREFIX).partition("@")
        parts = _parts(place, name, Path(os.path.expanduser(root or HOME)))
        rows = [row for split, data in parts.items() for row in _rows(place, split, data)]
        return found_in(place, rows)

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """None: a data set of torchvision has its own images and names."""
        raise NotImplementedError


def _parts(place: Place, name: str, root: Path) -> dict[str, Any]:
    """The data set of each split; of one without splits, under ""."""
    kind = getattr(import_module("torchvision.datasets"), name, None)
    if not inspect.isclass(kind):
        raise StudyError(f"{place}: torchvision has no data set '{name}'")
    known = inspect.signature(kind).parameters
    if "train" in known:
        asked: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
    elif "split" in known:
        asked = {split: {"split": split} for split in SPLITS}
    else:
        asked = {"": {}}
    found, reason = {}, "it has no split"
    for split, settings in asked.items():
        try:
            found[split] = _made(kind, root, settings, can_fetch="download" in known)
        except ValueError as error:  # a split that it does not have
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - of the network, the disk or the archive
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise StudyError(f"{place}: not in {root}, and not to be fetched ({line})") from None
    if not found:
        raise StudyError(f"{place}: not read by headstart ({reason})")
    return found


def _made(kind: Any, root: Path, settings: dict[str, Any], *, can_fetch: bool) -> Any:
    """The data set as it lies in ``root``; where it does not, fetched first."""
    try:
        return kind(root=str(root), **settings)
    except (RuntimeError, FileNotFoundError):
        if not can_fetch:
            raise
        root.mkdir(parents=True, exist_ok=True)
        return kind(root=str(root), download=True, **settings)


def _rows(place: Place, split: str, data: Any) -> Iterator[Row]:
    targets = _targets(data) if place.labeled else [""] * len(data)
    names = getattr(data, "classes", None)
    for i, target in enumerate(targets):
        label = str(names[target]) if names and isinstance(target, int) else str(target)
        known = {"path": f"{split}/{i:07d}".lstrip("/"), "label": label, "split": split}
        yield Row.of(f"image {i}", known, partial(_png, data, i), (len(data), i))


def _targets(data: Any) -> list[Any]:
    """The class of every image; looked up without decoding where the data set lists them."""
    for name in ("targets", "_labels", "labels"):
        listed = getattr(data, name, None)
        if listed is not None and len(listed) == len(data):
            return [item.item() if hasattr(item, "item") else item for item in listed]
    return [data[i][1] for i in range(len(data))]


def _png(data: Any, i: int) -> bytes:
    """The image without loss, its levels as they are."""
    image, content = data[i][0], io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()
