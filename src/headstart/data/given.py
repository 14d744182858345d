"""Data sets that are handed over in Python, laid down as files that a study can name.

A run is taken up again, checked and repeated by what lies on disk; an object in memory is not.
"""

from __future__ import annotations

import filecmp
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.config import StudyError

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same archive from the same images, whenever it is made


def stored(data: Any, flag: str, folder: Path, *, labeled: bool) -> Path:
    """Where a study finds the images of ``data``: a folder or an archive below ``folder``.

    Args:
        data: a ``datasets.Dataset`` or ``DatasetDict``, or anything with ``len`` and items, such as
            a ``torch.utils.data.Dataset``: an image each, or a pair of image and class. An image is
            a Pillow image, or an array or tensor: (H, W), (H, W, C) or (C, H, W), of bytes or of
            numbers from 0 to 1. A class is a text, or a number into ``data.classes`` where that is.
        flag: how an error line names it.
        folder: made where it is missing.
        labeled: whether items need a class.

    Raises:
        StudyError: an item that is neither, in one line.
    """
    if hasattr(data, "save_to_disk"):  # Hugging Face's own way; named by what is in it
        parts = data.values() if hasattr(data, "values") else [data]
        mark = "-".join(str(getattr(part, "_fingerprint", "")) for part in parts)
        place = folder / f"{flag}-{mark}"
        if not place.exists():
            data.save_to_disk(str(place))
        return place
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise StudyError(f"{flag}: {type(data).__name__} is no path and no data set with items")
    folder.mkdir(parents=True, exist_ok=True)
    place, beside = folder / f"{flag}.zip", folder / f".{flag}.zip.part"
    try:
        _archive(data, flag, beside, labeled=labeled)
        if not (place.is_file() and filecmp.cmp(place, beside, shallow=False)):
            beside.replace(place)  # else the old one stays, and with it what was made from it
    finally:
        beside.unlink(missing_ok=True)
    return place


def _archive(data: Any, flag: str, path: Path, *, labeled: bool) -> None:
    """A zip of PNG files, in a folder for each class."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i, (image, target) in enumerate(_items(data, flag, labeled=labeled)):
            above = f"{_class(data, target)}/" if labeled else ""
            info = zipfile.ZipInfo(f"{above}{i:08d}.png", _LONG_AGO)
            try:
                archive.writestr(info, _png(image))
            except (TypeError, ValueError, AttributeError, OSError) as error:
                raise StudyError(f"{flag}: item {i} is no image: {error}") from None


def _items(data: Any, flag: str, *, labeled: bool) -> Iterator[tuple[Any, Any]]:
    for i in range(len(data)):
        item = data[i]
        pair = item if isinstance(item, tuple) else (item,)
        if labeled and len(pair) < 2:
            raise StudyError(f"{flag}: item {i} has no class; give (image, class) pairs")
        yield pair[0], pair[1] if labeled else None


def _class(data: Any, target: Any) -> str:
    number = target.item() if hasattr(target, "item") else target
    names = getattr(data, "classes", None)
    name = str(names[number]) if names and isinstance(number, int) else str(number)
    return name.replace("/", "_").strip(".") or "_"


def _png(image: Any) -> bytes:
    content = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(_bytes_of(image))
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _bytes_of(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An array of bytes, (H, W) or (H, W, 3)."""
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3):
        raise ValueError(f"an array of shape {array.shape}")
    if array.dtype != np.uint8:
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"numbers from {array.min():.3g} to {array.max():.3g}, not from 0 to 1; leave out "
                "the normalisation"
            )
        array = np.round(array * 255).astype(np.uint8)
    return array
