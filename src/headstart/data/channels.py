"""Many images whose channels are no colours: their statistics, and grey pictures of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.config import Data
from headstart.data.bands import ENDINGS, TOP, Bands
from headstart.data.decode import EXTENSIONS, Pixels
from headstart.data.prints import SHOWN
from headstart.data.stream import Streamed
from headstart.types import Floats, Ints

_BLOCK = 64  # images read at a time


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, (C,) in shares of the value range; the standard
    deviation of a channel that never varies is given as 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def bands_of(data: Data) -> Bands | None:
    """What a study says of images whose channels are no colours; None for colour photographs."""
    return None if data.channels == "rgb" else Bands(data.channels, data.value_range)


def endings_of(bands: Bands | None) -> frozenset[str]:
    """Of the names of files that may be images of a study."""
    return ENDINGS if bands else EXTENSIONS


def normalisation(pixels: Pixels | Streamed, rows: Ints) -> Normalisation:
    """Over all pixels of some rows of a cache (N, C, S, S) of 16 bits."""
    channels = pixels.shape[1]
    total, squares, count = np.zeros(channels), np.zeros(channels), 0
    middle = float(TOP // 2)  # sums of squares about it lose fewer digits than about 0
    for start in range(0, len(rows), _BLOCK):
        part = pixels[rows[start : start + _BLOCK]].astype(np.float64) - middle
        total += part.sum(axis=(0, 2, 3))
        squares += np.einsum("nchw,nchw->c", part, part)
        count += part[:, 0].size
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0)) / TOP
    spread[spread < 0.5 / TOP] = 1.0  # nothing but rounding
    return Normalisation(tuple(((mean + middle) / TOP).tolist()), tuple(spread.tolist()))


def shown(photos: Floats) -> Floats:
    """Images (…, C, H, W) as grey pictures (…, 3, H, W) in [0, 1], for people to look at.

    The first channel of each, from its own 1st percentile (black) to its 99th (white).
    """
    first = photos[..., 0, :, :]
    low, high = np.percentile(first, SHOWN, axis=(-2, -1), keepdims=True)
    grey = np.clip((first - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.repeat(grey[..., None, :, :], 3, axis=-3).astype(np.float32)
