"""A contact sheet: what was generated, at a glance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from headstart.data.synthetic.shapes import CLASSES


def contact_sheet(
    source: Path | Mapping[str, Sequence[Image.Image]], columns: int = 8, cell: int = 96
) -> Image.Image:
    """A sheet of pictures, a row a class (or a row a name), each in a square of ``cell`` pixels.

    ``source`` is a folder that ``generate`` wrote (labelled images come first) or pictures by name.
    """
    rows = _first_of_each(source, columns) if isinstance(source, Path) else source
    margin = 72
    sheet = Image.new("RGB", (margin + columns * cell, max(1, len(rows)) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (name, pictures) in enumerate(rows.items()):
        draw.text((4, y * cell + cell // 2 - 6), name, fill="black")
        for x, picture in enumerate(pictures[:columns]):
            small = picture.convert("RGB")
            small.thumbnail((cell - 2, cell - 2), Image.Resampling.LANCZOS)
            left = margin + x * cell + (cell - small.width) // 2
            sheet.paste(small, (left, y * cell + (cell - small.height) // 2))
    return sheet


def _first_of_each(folder: Path, columns: int) -> dict[str, list[Image.Image]]:
    record: dict[str, Any] = json.loads((folder / "bags.json").read_text(encoding="utf8"))
    images = sorted(record["images"], key=lambda image: image["split"] == "pool")
    rows: dict[str, list[Image.Image]] = {}
    for name in CLASSES:
        paths = [image["path"] for image in images if image["class"] == name][:columns]
        rows[name] = [Image.open(folder / path).convert("RGB") for path in paths]
    return rows
