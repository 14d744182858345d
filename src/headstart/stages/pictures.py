"""Attribution maps as small PNGs, for people to look at; never for measuring."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.types import Floats

SIDE = 128  # pixels of a picture
_NEGATIVE, _POSITIVE = np.array([33, 102, 172.0]), np.array([178, 24, 43.0])


def draw_photo(photo: Floats, path: Path) -> Path:
    """A photo (3, H, W) in [0, 1] as a PNG."""
    return _write(photo.transpose(1, 2, 0) * 255, path)


def draw_map(values: Floats, photo: Floats, path: Path) -> Path:
    """A signed map (H, W): red for, blue against, over a faint grey photo (3, H, W).

    Each map is scaled by the 99th percentile of its own magnitude; a map of zeros stays grey.
    """
    scale = float(np.percentile(np.abs(values), 99))
    strength = np.clip(values / scale if scale > 0 else values, -1, 1)[..., None]
    grey = 255 * (0.6 + 0.4 * photo.mean(axis=0))[..., None].repeat(3, axis=2)
    colour = np.where(strength > 0, _POSITIVE, _NEGATIVE)
    return _write(grey + np.abs(strength) * (colour - grey), path)


def _write(pixels: np.ndarray, path: Path) -> Path:
    image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    part = path.with_suffix(".part")
    image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(part, "PNG", optimize=True)
    os.replace(part, path)
    return path
