"""Attribution maps as small PNGs, for people to look at; never for measuring.

Every map is drawn on one scale: its values are divided by the 99th percentile of their own size,
as they are before maps are compared, and 1 is full red, −1 full blue. How large the values were
before is lost in the colours, so ``scale`` tells it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from headstart.files import write_bytes
from headstart.types import Floats

SIDE = 104  # pixels of a picture, as wide as the page shows it
COLOURS = 32  # of a picture: a quarter of the bytes, and the eye sees no difference
_NEGATIVE, _POSITIVE = np.array([33, 102, 172.0]), np.array([178, 24, 43.0])
MARK = (164, 14, 38)  # of a word in a picture that is not to be trusted
_OUTLINE = (15, 140, 60)

Bools = npt.NDArray[np.bool_]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def draw_photo(photo: Floats, path: Path, mask: Bools | None = None) -> Path:
    """A photo (3, H, W) in [0, 1] as a PNG, the object's ``mask`` (H, W) outlined."""
    return _write(photo.transpose(1, 2, 0) * 255, path, mask)


def draw_map(values: Floats, photo: Floats, path: Path, mask: Bools | None = None) -> Path:
    """A signed map (H, W): red for, blue against, over a faint grey photo (3, H, W).

    A map of zeros stays grey.
    """
    return _write(coloured(values, photo), path, mask)


def scale(values: Floats) -> float:
    """The size that is drawn in full colour: the 99th percentile of |values|, 0 for no map."""
    return float(np.percentile(np.abs(values), 99))


def coloured(values: Floats, photo: Floats) -> npt.NDArray[np.float64]:
    """Pixels (H, W, 3) in 0 … 255 of a map over its photo."""
    most = scale(values)
    strength = np.clip(values / most if most > 0 else values, -1, 1)[..., None].astype(np.float64)
    grey = 255 * (0.6 + 0.4 * photo.mean(axis=0))[..., None].repeat(3, axis=2)
    colour = np.where(strength > 0, _POSITIVE, _NEGATIVE)
    return np.asarray(grey + np.abs(strength) * (colour - grey))


@dataclass(frozen=True)
class Column:
    """One column of a sheet: its heading in two lines, and a picture (H, W, 3) a row.

    ``marks`` are words to be written below in the pictures, one a row; none without.
    """

    heading: tuple[str, str]
    pictures: tuple[npt.NDArray[np.float64], ...]
    marks: tuple[str, ...] = ()


def draw_sheet(rows: Sequence[str], columns: Sequence[Column], path: Path, side: int = 160) -> Path:
    """Pictures in a table, with headings: rows are named on the left."""
    left, top, gap = 150, 44, 8
    size = (left + len(columns) * (side + gap), top + len(rows) * (side + gap))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for r, name in enumerate(rows):
        draw.text((6, top + r * (side + gap) + side // 2 - 8), name, fill="black", font=font)
    for c, column in enumerate(columns):
        x = left + c * (side + gap)
        for i, line in enumerate(column.heading):
            fits = _shortened(draw, line, font, side)
            draw.text((x, 4 + 18 * i), fits, fill="black" if i == 0 else "#57606a", font=font)
        for r, pixels in enumerate(column.pictures):
            picture = _picture(pixels, side, None)
            sheet.paste(picture, (x, top + r * (side + gap)))
            if r < len(column.marks) and column.marks[r]:
                at = (x + 4, top + r * (side + gap) + side - 18)
                draw.text(at, column.marks[r], fill=MARK, font=font)
    return _save(sheet.quantize(256, dither=Image.Dither.NONE), path)


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> str:
    """The text, cut to fit a width in pixels."""
    short = text
    while draw.textlength(short, font=font) > width:
        text = text[:-1]
        short = text + "…"
    return short


def _write(pixels: npt.NDArray[np.floating], path: Path, mask: Bools | None) -> Path:
    picture = _picture(pixels, SIDE, mask)
    return _save(picture.quantize(COLOURS, dither=Image.Dither.NONE), path)


def _picture(pixels: npt.NDArray[np.floating], side: int, mask: Bools | None) -> Image.Image:
    picture = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    if mask is not None:
        grown = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
        edge = grown & ~_eroded(grown)
        drawn = np.asarray(picture).copy()
        drawn[edge] = _OUTLINE
        picture = Image.fromarray(drawn)
    return picture


def _eroded(mask: Bools) -> Bools:
    """What is left of a mask without its outermost pixels; the frame of the picture counts."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & inside)


def _save(image: Image.Image, path: Path) -> Path:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    write_bytes(path, content.getbuffer())
    return path
