"""One image file to right pixels, or a reason why not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
)
MAX_PIXELS = 100_000_000  # larger pictures are refused by their stated size, before decoding

Image.MAX_IMAGE_PIXELS = None  # our own limit above is stricter, and does not only warn


@dataclass(frozen=True)
class Decoded:
    """A readable image: ``pixels`` (3, S, S) uint8, the whole picture squashed to a square."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    digest: str
    """SHA-256 over the full-size RGB pixels and their shape: equal for copies in any lossless
    format."""


def decode(path: Path, side: int) -> Decoded | str:
    """Decode, turn upright, make RGB, squash to ``side``; a reason in one line where impossible.

    EXIF orientation is applied. Deep grey is scaled to 8 bits: whole numbers by the smallest of 8,
    10, 12, 14 and 16 bits that holds them, others by their own range of values; transparency is
    laid over white; CMYK, Lab and palettes are converted by Pillow; of an animation the first frame
    is taken.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return (
                    f"too large: {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million"
                )
            rgb = to_rgb(ImageOps.exif_transpose(image))
        small = rgb.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    except Exception as error:  # noqa: BLE001 - hostile files raise anything, and none is fatal
        first = (str(error).strip().splitlines() or [""])[0][:160]
        return f"{type(error).__name__}: {first}".rstrip(": ")
    full = np.asarray(rgb)
    digest = hashlib.sha256(repr(full.shape).encode())
    digest.update(np.ascontiguousarray(full).data)
    pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
    return Decoded(pixels, rgb.width, rgb.height, digest.hexdigest())


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB, values as a viewer would show them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled_grey(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """Deep grey to 8 bits; what cameras keep of 10 to 14 bits would be black by 257."""
    grey = np.nan_to_num(np.asarray(image).astype(np.float64))
    low, high = float(grey.min()), float(grey.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, next(2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    scaled = (grey - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(scaled + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
