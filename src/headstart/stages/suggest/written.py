"""Suggestions for people: a table, and a sheet of small pictures with their ranks."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from headstart.data.batches import Images
from headstart.data.channels import shown
from headstart.files import write_bytes
from headstart.reporting.safe import csv_row
from headstart.stages.suggest.found import Suggested

COLUMNS = ("rank", "path", "cluster", "typicality", "distance", "class")
SIDE = 128  # pixels of a picture's longer side
STRIP = 18  # pixels below it, for its rank
GAP = 6
ACROSS = 10
MOST = 500  # pictures on the sheet; a larger one would be no overview


def as_csv(found: Suggested) -> str:
    """A row an image: rank, path, cluster, typicality, distance to the nearest labelled, class.

    Cells are written so that no spreadsheet takes one for a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    classes = found.classes or ("",) * len(found.paths)
    numbers = zip(found.cluster, found.typicality, found.distance, strict=True)
    rows = zip(found.paths, numbers, classes, strict=True)
    for rank, (path, (cluster, typical, distance), name) in enumerate(rows, 1):
        cells = [str(rank), path, str(cluster), f"{typical:.4f}", f"{distance:.4f}", name]
        writer.writerow(csv_row(cells))
    return text.getvalue()


def draw_sheet(images: Images, path: Path) -> None:
    """The first ``MOST`` images as a JPEG, in rows of ``ACROSS``, each with its rank below."""
    count = min(len(images), MOST)
    across = min(ACROSS, count)
    wide, high = SIDE + GAP, SIDE + STRIP + GAP
    size = (GAP + across * wide, GAP + math.ceil(count / across) * high)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i in range(count):
        x, y = GAP + i % across * wide, GAP + i // across * high
        picture = _picture(images, i)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        draw.text((x + SIDE // 2, y + SIDE + 2), str(i + 1), fill="black", font=font, anchor="ma")
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=88)
    write_bytes(path, content.getbuffer())


def _picture(images: Images, i: int) -> Image.Image:
    """A whole image in its own shape; the cache keeps it as a square."""
    row = images.rows[i]
    whole = np.asarray(images.cache.pixels[row])
    if whole.dtype != np.uint8:  # channels that are no colours
        whole = np.rint(shown(whole.astype(np.float32)) * 255).astype(np.uint8)
    pixels: npt.NDArray[np.uint8] = whole.transpose(1, 2, 0)
    aspect = float(images.cache.aspect[row])
    wide = round(SIDE * min(1.0, aspect))
    high = round(SIDE / max(1.0, aspect))
    shape = (max(1, wide), max(1, high))
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(shape, Image.Resampling.BICUBIC)
