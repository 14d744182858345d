"""Foreground masks: where the object is in each image, after the same crop as the model sees.

A source is a folder of PNGs, a COCO file (``.json``) or a table of boxes (``.csv``). A mask belongs
to an image if the path of one, without its ending, ends in the whole path of the other: image
``labeled/test/zaino/007.jpg`` and mask ``zaino/007.png``, or the reverse. Each mask is squashed to
the square of the pixel cache, as its image was, and goes through the same crop afterwards.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pycocotools import mask as coco

from headstart.config import StudyError
from headstart.data.cache import Progress
from headstart.data.decode import EXTENSIONS, MAX_PIXELS, own_size_limit
from headstart.data.scan import Found
from headstart.types import Doubles, Ints, Strings

MAX_BYTES = 2**29  # of a JSON or CSV file
MAX_OUTLINE = 2_000_000  # pixels along a polygon
SHAPE_TOLERANCE = 0.02  # a mask may be smaller than its image, but not of another shape
Foreground = npt.NDArray[np.bool_]  # (H0, W0)
Reader = Callable[[tuple[int, int]], Foreground]  # from an image's (width, height)


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of some images.

    ``ids`` (M,) the images that have one, in the order asked for; ``coverage`` (M, S, S) uint8, the
    whole mask squashed to a square like its image: 255 where all of a pixel is object; ``aspect``
    (M,) float32 width over height; ``area`` (M,) share of the image that the object covers;
    ``approximate`` (M,) bool, made of boxes, not outlines; ``asked`` how many images were meant
    to have one.
    """

    ids: Strings
    coverage: npt.NDArray[np.uint8]
    aspect: npt.NDArray[np.float32]
    area: Doubles
    approximate: npt.NDArray[np.bool_]
    asked: int

    def rows(self, ids: Strings) -> Ints:
        """The row of each of ``ids`` (N,) in these masks, −1 where it has no mask."""
        place = {identity: i for i, identity in enumerate(self.ids.tolist())}
        return np.array([place.get(identity, -1) for identity in ids.tolist()], dtype=np.int64)

    def centred(self, rows: Ints, size: int) -> Foreground:
        """Masks (B, T, T) of some rows, aligned with ``Images.centred`` at ``size`` T pixels.

        A pixel is object where at least half of it is. The crop may leave out all of an object.
        """
        import torch

        from headstart.data.views import centre_views

        squashed = torch.from_numpy(self.coverage[rows])[:, None]
        views = centre_views(squashed, torch.from_numpy(self.aspect[rows]), size)
        return np.asarray(views[:, 0].numpy() >= 0.5)


def load_masks(
    source: Path,
    images: Sequence[Found],
    side: int,
    wanted: Container[str] | None = None,
    progress: Progress | None = None,
) -> Masks:
    """Find and read the masks of ``images``.

    Args:
        source: a folder of PNGs, a COCO ``.json``, a ``.csv`` of boxes (columns ``file, x, y, w,
            h`` in pixels of the upright image, several rows for several objects), or a folder of
            generated bags.
        images: all images of the study, so that a name which fits two of them is seen.
        side: S, side of the cached images in pixels.
        wanted: ids of the images whose masks are read; all without it.
        progress: called with what is done, how many, and how many in all.

    In a PNG the object is what is opaque, if some of it is transparent; else, with a palette, what
    is not colour 0; else what is above 127, or above 0 where nothing is above 127. A COCO image's
    object is all its annotations together; one with a box only is approximate.

    Raises:
        StudyError: in one line: nothing there, a name that fits two images, a broken file, or a
            mask of another shape than its image.
    """
    readers = _find(source, images)
    ids, coverage, aspect, area, rough = [], [], [], [], []
    asked = [image for image in images if wanted is None or image.id in wanted]
    masked = [image for image in asked if image.id in readers]
    for done, image in enumerate(masked):
        if progress and done % 64 == 0:
            progress("reading masks", done, len(masked))
        read, approximate = readers[image.id]
        size = _image_size(source, image)
        mask = read(size)
        ids.append(image.id)
        coverage.append(_squashed(mask, side))
        aspect.append(size[0] / size[1])
        area.append(mask.mean())
        rough.append(approximate)
    return Masks(
        np.array(ids, dtype=np.str_),
        np.array(coverage, dtype=np.uint8).reshape(-1, side, side),
        np.array(aspect, dtype=np.float32),
        np.array(area, dtype=np.float64),
        np.array(rough, dtype=bool),
        len(asked),
    )


def _find(source: Path, images: Sequence[Found]) -> dict[str, tuple[Reader, bool]]:
    """How to read the mask of each image that has one, by id, and whether it is approximate."""
    if source.is_dir():
        folder = source / "masks" if (source / "bags.json").is_file() else source
        readers = _png_folder(folder)
    elif not source.is_file():
        raise _wrong(source, "no such file or folder")
    elif source.suffix.lower() == ".json":
        readers = _coco(source)
    elif source.suffix.lower() == ".csv":
        readers = _boxes(source)
    else:
        raise _wrong(source, "neither a folder of PNGs, nor a .json (COCO), nor a .csv (boxes)")
    owners = _owners(source, sorted(readers), [image.id for image in images])
    if not owners:
        raise _wrong(
            source,
            f"none of its {len(readers)} masks belongs to an image; the path of a mask must end "
            f"like its image's ('{images[0].id if images else ''}')",
        )
    return {identity: readers[name] for identity, name in owners.items()}


def _wrong(source: Path, reason: str) -> StudyError:
    return StudyError(f"--masks {source}: {reason}")


def _parts(name: str) -> tuple[str, ...]:
    """A path's parts without the file's ending; ``007.jpg.png`` is the mask of ``007.jpg``."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return ()
    stem, ending = os.path.splitext(parts[-1])
    inner, before = os.path.splitext(stem)
    if ending and before.lower() in EXTENSIONS:
        stem = inner
    return (*parts[:-1], stem)


def _owners(source: Path, names: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    """Image id -> name of its mask: the same path, or one of the two ends in all of the other."""
    masks = {_parts(name): name for name in names}
    if len(masks) < len(names):
        kept = set(masks.values())
        twice = next(name for name in names if name not in kept)
        raise _wrong(source, f"'{twice}' has the same name as another mask")
    ends: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for parts in masks:
        for start in range(len(parts)):
            ends[parts[start:]].append(parts)
    owners: dict[str, str] = {}
    owner_of: dict[str, str] = {}
    for identity in ids:
        own = _own_mask(source, identity, masks, ends)
        if own is None:
            continue
        name = masks[own]
        if name in owner_of:
            raise _wrong(
                source, f"mask '{name}' fits two images, '{owner_of[name]}' and '{identity}'"
            )
        owners[identity], owner_of[name] = name, identity
    return owners


def _own_mask(
    source: Path,
    identity: str,
    masks: Mapping[tuple[str, ...], str],
    ends: Mapping[tuple[str, ...], Sequence[tuple[str, ...]]],
) -> tuple[str, ...] | None:
    full = _parts(identity)
    for start in range(len(full)):  # the mask is named by the end of the image's path
        if full[start:] in masks:
            return full[start:]
    below = full[1:]  # without 'labeled' or 'unlabeled', which may not be what the folder is called
    for name in (full, below):
        deeper = ends.get(name, ()) if name else ()
        if len(deeper) > 1:
            pair = sorted(masks[parts] for parts in deeper)[:2]
            raise _wrong(source, f"'{identity}' has two masks, '{pair[0]}' and '{pair[1]}'")
        if deeper:
            return deeper[0]
    return None


def _image_size(source: Path, found: Found) -> tuple[int, int]:
    """Width and height of an image turned upright, from its header."""
    path = found.path
    try:
        content = path if found.read is None else io.BytesIO(found.read())
        with own_size_limit(), Image.open(content) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise _wrong(source, f"the image '{path}' cannot be read ({_first(error)})") from error
    if not 0 < width * height <= MAX_PIXELS:
        raise _wrong(source, f"the image '{path}' has {width} x {height} pixels")
    return (height, width) if turned else (width, height)


def _first(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0][:120]
    return line or type(error).__name__


def _squashed(mask: Foreground, side: int) -> npt.NDArray[np.uint8]:
    """(S, S) coverage, by the same filter that squashed the image."""
    whole = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))


def _check_shape(source: Path, name: str, mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Both (width, height): a smaller copy is fine, another shape is another picture."""
    (mask_w, mask_h), (width, height) = mask, image
    # A pixel more or less is rounding, however small the mask is.
    apart = abs(mask_w * height - mask_h * width)
    if apart > max(SHAPE_TOLERANCE * mask_h * width, width, height):
        raise _wrong(
            source,
            f"'{name}' has {mask_w} x {mask_h} pixels and its image {width} x {height}: "
            "a mask must have the shape of its image, turned upright",
        )


# --- PNGs


def _png_folder(folder: Path) -> dict[str, tuple[Reader, bool]]:
    readers: dict[str, tuple[Reader, bool]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(".png") and not name.startswith("."):
                path = Path(parent, name)
                readers[path.relative_to(folder).as_posix()] = (_png_reader(folder, path), False)
    if not readers:
        raise _wrong(folder, "no PNG in it")
    return readers


def _png_reader(folder: Path, path: Path) -> Reader:
    def read(size: tuple[int, int]) -> Foreground:
        name = path.relative_to(folder).as_posix()
        try:
            with own_size_limit(), Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _wrong(folder, f"'{name}' has {image.width} x {image.height} pixels")
                upright = ImageOps.exif_transpose(image)
            _check_shape(folder, name, upright.size, size)
            return _foreground(upright)
        except StudyError:
            raise
        except Exception as error:
            raise _wrong(folder, f"'{name}' cannot be read ({_first(error)})") from error

    return read


def _foreground(image: Image.Image) -> Foreground:
    """(H0, W0): what ``load_masks`` calls the object of a PNG."""
    if image.mode in ("RGBA", "LA", "PA"):
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() < 255:
            return np.asarray(alpha > 127)
        image = image.convert("RGB")
    if image.mode in ("P", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(np.asarray(image) != 0)
    grey = np.asarray(image.convert("L"))
    return np.asarray(grey > (127 if grey.max(initial=0) > 127 else 0))


# --- tables of boxes


def _boxes(source: Path) -> dict[str, tuple[Reader, bool]]:
    text = _text(source)
    try:
        rows = list(csv.DictReader(io.StringIO(text), restkey="", strict=True))
    except csv.Error as error:
        raise _wrong(source, f"not a table ({_first(error)})") from error
    columns = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    missing = [name for name in ("file", "x", "y", "w", "h") if name not in columns]
    if missing:
        raise _wrong(source, f"no column '{missing[0]}'; needs file, x, y, w, h")
    boxes: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for line, row in enumerate(rows, start=2):
        name = (row[columns["file"]] or "").strip()
        if not _parts(name):
            raise _wrong(source, f"line {line}: no file name")
        cells = [row[columns[key]] for key in ("x", "y", "w", "h")]
        boxes[name].append(_box(source, f"line {line}", cells))
    return {name: (_box_reader(source, name, own), True) for name, own in boxes.items()}


def _box(source: Path, where: str, cells: Any) -> tuple[float, ...]:
    """x, y, w, h of a box, all finite, with a width and a height."""
    try:
        x, y, w, h = (float(cell) for cell in cells)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(source, f"{where}: a box is four numbers x, y, w, h") from error
    if not all(isfinite(value) for value in (x, y, w, h)) or min(w, h) <= 0:
        raise _wrong(source, f"{where}: a box needs finite numbers, and w and h above 0")
    return x, y, w, h


def _box_reader(source: Path, name: str, boxes: Sequence[tuple[float, ...]]) -> Reader:
    def read(size: tuple[int, int]) -> Foreground:
        mask = np.zeros((size[1], size[0]), dtype=bool)
        for box in boxes:
            _fill_box(mask, box)
        if not mask.any():
            raise _wrong(source, f"'{name}': no box lies inside the image of {size[0]} x {size[1]}")
        return mask

    return read


def _fill_box(mask: Foreground, box: tuple[float, ...]) -> None:
    """True in every pixel whose centre the box holds, or the nearest one of a thin box."""
    x, y, w, h = box
    left, right = _cells(x, w, mask.shape[1])
    top, bottom = _cells(y, h, mask.shape[0])
    mask[top:bottom, left:right] = True


def _cells(start: float, extent: float, side: int) -> tuple[int, int]:
    low, high = (min(max(edge, 0.0), float(side)) for edge in (start, start + extent))
    if high <= low:
        return 0, 0
    first, last = round(low), round(high)
    return (first, last) if last > first else (min(int(low), side - 1), min(int(low), side - 1) + 1)


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > MAX_BYTES:
            raise _wrong(source, f"larger than {MAX_BYTES >> 20} MiB; give the test images only")
        return source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(source, f"cannot be read as text ({_first(error)})") from error


# --- COCO


def _coco(source: Path) -> dict[str, tuple[Reader, bool]]:
    try:
        table = json.loads(_text(source))
    except (ValueError, RecursionError) as error:
        raise _wrong(source, f"not JSON ({_first(error)})") from error
    images, annotations = (_rows(source, table, key) for key in ("images", "annotations"))
    by_image: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        by_image[_key(source, annotation, "image_id")].append(annotation)
    readers: dict[str, tuple[Reader, bool]] = {}
    for image in images:
        name = image.get("file_name")
        if not isinstance(name, str) or not _parts(name):
            raise _wrong(source, "an image without a file_name")
        own = by_image.get(_key(source, image, "id"))
        if own:
            rough = any(not annotation.get("segmentation") for annotation in own)
            readers[name] = (_coco_reader(source, image, own), rough)
    if not readers:
        raise _wrong(source, "no image with an annotation")
    return readers


def _rows(source: Path, table: Any, key: str) -> list[dict[str, Any]]:
    rows = table.get(key) if isinstance(table, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _wrong(source, f"no list '{key}' in it; a COCO file has images and annotations")
    return rows


def _key(source: Path, row: dict[str, Any], name: str) -> int | str:
    value = row.get(name)
    if not isinstance(value, (int, str)):
        raise _wrong(source, f"a row without '{name}'")
    return value


def _coco_reader(source: Path, image: dict[str, Any], own: list[dict[str, Any]]) -> Reader:
    name = image["file_name"]

    def read(size: tuple[int, int]) -> Foreground:
        stated = (image.get("width", size[0]), image.get("height", size[1]))
        if not all(isinstance(side, int) and side > 0 for side in stated):
            raise _wrong(source, f"'{name}': width and height must be whole numbers above 0")
        if stated[0] * stated[1] > MAX_PIXELS:
            raise _wrong(source, f"'{name}' has {stated[0]} x {stated[1]} pixels")
        _check_shape(source, name, stated, size)
        mask = np.zeros((stated[1], stated[0]), dtype=bool)
        for annotation in own:
            _add_annotation(mask, annotation, source, name)
        return mask

    return read


def _add_annotation(mask: Foreground, row: dict[str, Any], source: Path, name: str) -> None:
    outline = row.get("segmentation")
    if isinstance(outline, dict):
        mask |= _run_lengths(outline, mask.shape, source, name)
    elif isinstance(outline, list) and outline:
        mask |= _polygons(outline, mask.shape, source, name)
    else:
        _fill_box(mask, _box(source, f"'{name}'", row.get("bbox")))


def _polygons(outline: list[Any], shape: tuple[int, ...], source: Path, name: str) -> Foreground:
    """(H, W): what lies inside any of the polygons, as COCO's own tools draw them."""
    polygons = []
    for polygon in outline:
        try:
            points = np.array(polygon, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(source, f"'{name}': a polygon is a list of numbers") from error
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise _wrong(source, f"'{name}': a polygon is x, y of three points or more")
        corners = points.reshape(-1, 2)
        # Drawing takes memory for every pixel of the outline.
        if np.abs(corners - np.roll(corners, 1, axis=0)).sum() > MAX_OUTLINE:
            raise _wrong(source, f"'{name}': a polygon is longer than {MAX_OUTLINE} pixels")
        polygons.append(points.tolist())
    return _decoded(coco.merge(coco.frPyObjects(polygons, *shape)))


def _run_lengths(
    outline: dict[str, Any], shape: tuple[int, ...], source: Path, name: str
) -> Foreground:
    """(H, W) of run lengths down the columns, which start with the background."""
    counts, size = outline.get("counts"), outline.get("size")
    if size != list(shape):
        raise _wrong(source, f"'{name}': run lengths of size {size!r:.40}, not {list(shape)}")
    if isinstance(counts, str) and _fills(counts, shape[0] * shape[1]):
        return _decoded({"size": size, "counts": counts.encode()})
    if (
        isinstance(counts, list)
        and all(type(run) is int and run >= 0 for run in counts)
        and sum(counts) == shape[0] * shape[1]
    ):
        return _decoded(coco.frPyObjects(outline, *shape))
    raise _wrong(source, f"'{name}': the run lengths do not add up to its pixels")


def _fills(counts: str, pixels: int) -> bool:
    """Whether packed run lengths add up to a number of pixels.

    pycocotools refuses runs that are too long for the size. It does not refuse runs that are too
    short, and leaves the rest of the mask undefined; those must fit one pixel less too.
    """
    # Of five bits each; with more than six of them a run could not be a number of pixels.
    if not re.fullmatch("([P-o]{0,5}[0-O])*", counts):
        return False
    return _fits(counts, pixels) and not _fits(counts, pixels - 1)


def _fits(counts: str, pixels: int) -> bool:
    try:
        _decoded({"size": [pixels, 1], "counts": counts.encode()})
    except ValueError:
        return False
    return True


def _decoded(runs: dict[str, Any]) -> Foreground:
    with warnings.catch_warnings():
        # pycocotools 2.0.11 makes its array in a way that NumPy 2 means to end.
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(coco.decode(runs), dtype=bool)
