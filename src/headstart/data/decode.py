"""One image file to right pixels, or a reason why not. NumPy and Pillow are all it imports."""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
)
MAX_PIXELS = 100_000_000  # larger pictures are refused by their stated size, before decoding
NO_MEMORY = "MemoryError"
# A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves this many times the side that is asked for.
# Measured on 100 photos of 400 x 533: 1.4 to 1.8 times as fast as a full decode, pixels 0.3 to 0.8
# grey levels apart on average.
ENOUGH = 1.25

# By content, whatever the name says. Pillow knows more; one of them starts other programs (EPS).
FORMATS = frozenset(
    {"JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF"}
    | {"AVIF", "ICO", "JPEG2000", "PPM", "PSD", "TGA"}
)

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_STRIP = 1 << 22  # pixels worked on at a time where a copy of the whole picture would be too much


Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Of 8 bits are the colours of photographs, of 16 the channels that are no colours."""


@dataclass(frozen=True)
class Decoded:
    """A readable image: ``pixels`` (3, S, S) uint8, the whole picture squashed to a square; or
    (C, S, S) uint16 where its channels are no colours (see ``data.bands``).

    ``width`` and ``height`` are those of the upright picture in the file.
    """

    pixels: Pixels
    width: int
    height: int
    digest: str
    """Equal for copies, whatever S is. For JPEG the SHA-256 of the compressed picture and its
    orientation, so other metadata play no part; else of the full-size RGB pixels and their shape,
    so a copy in another lossless format is a copy too."""


@contextmanager
def own_size_limit() -> Iterator[None]:
    """Switch off Pillow's limit on the size of a picture while the block opens one.

    ``MAX_PIXELS`` takes its place; Pillow's own only warns up to twice its size.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode(path: Path, side: int) -> Decoded | str:
    """Decode, turn upright, make RGB, squash to ``side``; a reason in one line where impossible.

    EXIF orientation is applied. Deep grey is scaled to 8 bits: whole numbers by the smallest of 8,
    10, 12, 14 and 16 bits that holds them, others by their own range of values; transparency is
    laid over white; CMYK, Lab and palettes are converted by Pillow; of an animation the first frame
    is taken. A large JPEG is decoded at a half, a quarter or an eighth of its size.
    """
    return or_reason(lambda: _decoded(path, side))


def or_reason(read: Callable[[], Decoded | str]) -> Decoded | str:
    """What ``read`` gives, or in one line the error that it raises."""
    try:
        return read()
    except MemoryError:
        return NO_MEMORY
    except Exception as error:  # noqa: BLE001 - hostile files raise anything, and none is fatal
        first = (str(error).strip().splitlines() or [""])[0][:160]
        return one_line(f"{type(error).__name__}: {first}".rstrip(": "))


def one_line(text: str) -> str:
    """A text without what a terminal must not see."""
    return "".join(c if c.isprintable() else " " for c in text)


def _decoded(path: Path, side: int) -> Decoded | str:
    if not is_file(path):
        return "not a file"
    with own_size_limit(), Image.open(path, formats=formats()) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            return too_large(width, height)
        jpeg = image.format in ("JPEG", "MPO")
        # Without a mode, draft only scales: colours, those of CMYK too, stay as they are.
        scaled = image.draft(None, (math.ceil(ENOUGH * side),) * 2) if jpeg else None
        image.load()
        orientation, turn = turn_of(image)
        if scaled:  # its last row and column may be of a pixel that is mostly beyond the picture
            small = _squashed(to_rgb(image), side, scaled[1])
            small = small.transpose(turn) if turn is not None else small
            digest = _jpeg_digest(path, orientation)
        else:
            rgb = to_rgb(image.transpose(turn) if turn is not None else image)
            small = _squashed(rgb, side)
            digest = _jpeg_digest(path, orientation) if jpeg else _pixel_digest(rgb)
    if orientation in _LYING:
        width, height = height, width
    pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
    return Decoded(pixels, width, height, digest)


def square(image: Image.Image, side: int) -> tuple[npt.NDArray[np.uint8], float]:
    """An opened picture as ``decode`` makes it: (3, S, S) uint8, and its width over its height."""
    _, turn = turn_of(image)
    rgb = to_rgb(image.transpose(turn) if turn is not None else image)
    pixels = np.asarray(_squashed(rgb, side)).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels), rgb.width / rgb.height


def is_file(path: Path) -> bool:
    """Whether it can be read to an end: opening a named pipe would wait for ever."""
    return stat.S_ISREG(path.stat().st_mode)


def too_large(width: int, height: int) -> str:
    """The reason for a picture of more than ``MAX_PIXELS``."""
    return f"too large: {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million"


def turn_of(image: Image.Image) -> tuple[int, Image.Transpose | None]:
    """Its EXIF orientation, and what makes it upright."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation, _TURNS.get(orientation)


def _squashed(
    rgb: Image.Image, side: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return rgb.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


@cache
def formats() -> tuple[str, ...]:
    """The formats of ``FORMATS`` that this Pillow can read."""
    Image.init()
    return tuple(name for name in Image.OPEN if name in FORMATS)


# --- digests -----------------------------------------------------------------------------------


def _pixel_digest(rgb: Image.Image) -> str:
    """SHA-256 over the shape (H, W, 3) and the pixels."""
    digest = hashlib.sha256(repr((rgb.height, rgb.width, 3)).encode())
    for box in _strips(rgb):
        digest.update(rgb.crop(box).tobytes())
    return digest.hexdigest()


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes over the whole width that cover an image from its top."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


_SOS, _EOI = 0xDA, b"\xff\xd9"
# Comments and the application segments (EXIF, XMP, profiles, thumbnails), but for Adobe's, APP14,
# which says how colours are kept. ITU-T T.81, table B.1.
_METADATA = {0xFE, *range(0xE0, 0xF0)} - {0xEE}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment behind them


def _jpeg_digest(path: Path, orientation: int) -> str:
    """SHA-256 over what decides a JPEG's pixels: tables, frame, compressed data, orientation."""
    shown = orientation if orientation in range(2, 9) else 1
    digest = hashlib.sha256(f"jpeg {shown}".encode())
    with path.open("rb") as file:
        file.read(2)
        for marker, segment in _segments(file):
            if marker not in _METADATA:
                digest.update(bytes([marker]) + segment)
        for part in _until_end(file):
            digest.update(part)
    return digest.hexdigest()


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Markers and their segments up to the first scan; what lies between them is passed by."""
    before = b""
    while byte := file.read(1):
        if before == b"\xff" and byte not in b"\x00\xff":
            marker = byte[0]
            length = 0 if marker in _ALONE else int.from_bytes(file.read(2), "big")
            yield marker, file.read(max(0, length - 2))
            if marker == _SOS:
                return
        before = byte


def _until_end(file: BinaryIO) -> Iterator[bytes]:
    """The compressed data up to the first end-of-image marker; trailers follow it."""
    rest = b""
    while chunk := file.read(1 << 20):
        chunk = rest + chunk
        end = chunk.find(_EOI)
        if end >= 0:
            yield chunk[:end]
            return
        yield chunk[:-1]
        rest = chunk[-1:]
    yield rest


# --- colours -----------------------------------------------------------------------------------


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB, values as a viewer would show them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled_grey(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        shown = Image.new("RGB", rgba.size, "white")
        shown.paste(rgba, mask=rgba)
        return shown
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """Deep grey to 8 bits; what cameras keep of 10 to 14 bits would be black by 257."""
    ranges = [(strip.min(), strip.max()) for strip in _deep(image)]
    low, high = float(min(r[0] for r in ranges)), float(max(r[1] for r in ranges))
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, next(2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    scale = 255 / max(high - low, 1e-12)
    grey = Image.new("L", image.size)
    for box, strip in zip(_strips(image), _deep(image), strict=True):
        scaled = np.clip((strip - low) * scale + 0.5, 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), box)
    return grey.convert("RGB")


def _deep(image: Image.Image) -> Iterator[npt.NDArray[np.float64]]:
    for box in _strips(image):
        yield np.nan_to_num(np.asarray(image.crop(box)).astype(np.float64))
