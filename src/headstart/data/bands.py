"""An image whose channels are no colours: microscopy, satellites, depth.

A TIFF (read by tifffile), a NumPy array (``.npy``), or what Pillow reads without loss. NumPy and
Pillow are all that is imported, until a TIFF comes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.decode import (
    EXTENSIONS,
    MAX_PIXELS,
    Decoded,
    formats,
    is_file,
    one_line,
    or_reason,
    own_size_limit,
    too_large,
    turn_of,
)

ENDINGS = EXTENSIONS | {".npy"}
"""Names of files that may be such images."""
NEEDS_TIFFFILE = "TIFF files of channels need tifffile: pip install 'headstart[tiff]'"
TOP = 65535  # what 1 is kept as
MOST_BYTES = 2**30  # of one image's values; more are refused by the stated size

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_NPY = b"\x93NUMPY"
# Pillow's modes that are values and not names of colours.
_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L"})
_PALETTE = 3  # TIFF 6.0, PhotometricInterpretation
_STRIP = 1 << 22  # pixels scaled at a time

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Bands:
    """What a study says of such images: how many ``channels`` each must have, and the values that
    become 0 and 1, None for the range of the file's own type.
    """

    channels: int
    value_range: tuple[float, float] | None = None


class RefusedError(Exception):
    """Why a file is no such image."""


def decode_bands(path: Path, side: int, bands: Bands) -> Decoded | str:
    """Read all channels, scale them to 0 … 65535, squash to ``side``; a reason where impossible.

    With limits [a, b] a value v becomes (v − a)/(b − a), no less than 0 and no more than 1. The
    limits are ``bands.value_range``; without it the range of an 8- or 16-bit integer type, and 0
    and 1 for floating point, which then must lie in it. The squashing is Pillow's antialiased
    bilinear one in float32.

    Returns:
        ``pixels`` (C, side, side) uint16 (little-endian) of 65535 times the scaled value.
    """

    def read() -> Decoded | str:
        try:
            return _decoded(path, side, bands)
        except RefusedError as why:
            return one_line(str(why))

    return or_reason(read)


def _decoded(path: Path, side: int, bands: Bands) -> Decoded:
    if not is_file(path):
        raise RefusedError("not a file")
    values = _values(path, bands.channels)  # (C, H, W)
    if len(values) != bands.channels:
        raise RefusedError(f"{_counted(len(values))}, and data.channels is {bands.channels}")
    scale = _Scale.of(values.dtype, bands.value_range)
    digest = hashlib.sha256(repr((values.shape, values.dtype.newbyteorder("<").str)).encode())
    pixels = np.empty((len(values), side, side), np.dtype("<u2"))
    for channel, kept in zip(values, pixels, strict=True):
        shares = np.empty(channel.shape, np.float32)
        for rows in _strips(channel):
            part = np.ascontiguousarray(channel[rows])
            digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False).data)
            shares[rows] = scale.shares(part)
        small = Image.fromarray(shares).resize((side, side), Image.Resampling.BILINEAR)
        kept[:] = np.rint(np.clip(np.asarray(small), 0, 1) * np.float32(TOP))
    return Decoded(pixels, values.shape[2], values.shape[1], digest.hexdigest())


def _counted(channels: int) -> str:
    return f"{channels} channel{'' if channels == 1 else 's'}"


def _strips(channel: Array) -> Iterator[slice]:
    rows = max(1, _STRIP // channel.shape[1])
    for top in range(0, len(channel), rows):
        yield slice(top, top + rows)


# --- values to shares --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scale:
    """The values that become 0 and 1, and whether others are refused or clipped."""

    low: float
    high: float
    strict: bool = False

    @classmethod
    def of(cls, dtype: np.dtype[Any], value_range: tuple[float, float] | None) -> _Scale:
        if dtype.kind not in "buif":
            raise RefusedError(f"values of type {dtype}, which are no plain numbers")
        if value_range:
            return cls(*value_range)
        if dtype.kind == "f":
            return cls(0.0, 1.0, strict=True)
        if dtype.kind == "b":
            return cls(0.0, 1.0)
        if dtype.itemsize > 2:
            raise RefusedError(f"{dtype} values have no usual range; set data.value_range")
        limits = np.iinfo(dtype)
        return cls(float(limits.min), float(limits.max))

    def shares(self, part: Array) -> npt.NDArray[np.float64]:
        """Some values as shares of the range, in [0, 1]."""
        values = part.astype(np.float64)
        if not np.isfinite(values).all():
            raise RefusedError("holds values that are no numbers (NaN or infinite)")
        if self.strict and (values.min() < 0 or values.max() > 1):
            raise RefusedError(
                f"values from {values.min():.4g} to {values.max():.4g}, beyond 0 and 1; set "
                "data.value_range"
            )
        with np.errstate(over="ignore"):  # a difference beyond float64 is beyond the range too
            shares = (values - self.low) / (self.high - self.low)
        return np.clip(shares, 0, 1, out=shares)


# --- files to values ---------------------------------------------------------------------------


def _values(path: Path, channels: int) -> Array:
    """All values of a file, (C, H, W), by what it holds and not by its name."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(_NPY):
        return _of_npy(path, channels)
    return _of_tiff(path) if head[:4] in _TIFF else _of_picture(path)


def _of_npy(path: Path, channels: int) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3:
        first, last = array.shape[0] == channels, array.shape[2] == channels
        if first and last:
            raise RefusedError(f"shape {array.shape} may be (C, H, W) or (H, W, C)")
        if not (first or last):
            raise RefusedError(f"an array of shape {array.shape}, and data.channels is {channels}")
        array = array if first else array.transpose(2, 0, 1)
    else:
        raise RefusedError(f"shape {array.shape}, and not (H, W), (H, W, C) or (C, H, W)")
    _require_size(array.shape, array.dtype)
    return array


def _of_tiff(path: Path) -> Array:
    """The first series of a TIFF: one page with all channels, or a page a channel."""
    try:
        import tifffile
    except ImportError:
        raise RefusedError(NEEDS_TIFFFILE) from None
    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise RefusedError("a TIFF without an image")
        series = file.series[0]
        if series.keyframe.photometric == _PALETTE:
            raise RefusedError("a TIFF with a palette, whose values are names of colours")
        places = [i for i, n in enumerate(series.shape) if n != 1 or series.axes[i] in "YX"]
        axes = "".join(series.axes[i] for i in places)
        other = axes.replace("Y", "").replace("X", "")
        if len(other) > 1 or axes.count("Y") != 1 or axes.count("X") != 1:
            sides = " x ".join(map(str, series.shape))
            raise RefusedError(f"axes {series.axes} of {sides}; one beside Y and X may be channels")
        shape = tuple(series.shape[i] for i in places)
        order = [axes.index(axis) for axis in (*other, "Y", "X")]
        _require_size(tuple(shape[i] for i in order), np.dtype(series.dtype))
        array = np.asarray(series.asarray(maxworkers=1)).reshape(shape).transpose(order)
    return array if other else array[None]


def _of_picture(path: Path) -> Array:
    """What Pillow reads without loss; EXIF orientation is applied."""
    with own_size_limit(), Image.open(path, formats=formats()) as image:
        _require_size((len(image.getbands()), image.height, image.width), np.dtype(np.float32))
        if image.format == "PNG" and _png_is_deep_colour(path):
            raise RefusedError("a PNG of 16-bit colours, which is not read without loss; use TIFF")
        if image.mode not in _MODES:
            raise RefusedError(f"colours of the kind {image.mode}, which are no measured values")
        image.load()
        turn = turn_of(image)[1]
        array = np.asarray(image if turn is None else image.transpose(turn))
        if image.format == "PNG" and image.mode == "I":  # older versions of Pillow
            array = array.astype(np.uint16)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _png_is_deep_colour(path: Path) -> bool:
    """Whether its header (IHDR) says 16 bits and more than grey."""
    with path.open("rb") as file:
        depth, kind = file.read(26)[24:26]
    return depth == 16 and kind != 0


def _require_size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an image without pixels, or with more than can be worked on, by its stated size."""
    height, width = shape[-2:]
    if height * width * len(shape) == 0 or min(shape) == 0:
        raise RefusedError("an image without pixels")
    if height * width > MAX_PIXELS:
        raise RefusedError(too_large(width, height))
    if math.prod(shape) * dtype.itemsize > MOST_BYTES:
        raise RefusedError(f"too large: more than {MOST_BYTES // 2**20} MiB of values")
