"""Many images whose channels are no colours: their statistics, and grey pictures of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.config import Data
from headstart.data.bands import ENDINGS, TOP, Bands
from headstart.data.decode import EXTENSIONS, Pixels
from headstart.types import Floats, Ints

SHOWN = (1, 99)  # percentiles that are drawn black and white
SAMPLE = 256  # images that the range of each channel is looked for in, for near-copies
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


def normalisation(pixels: Pixels, rows: Ints) -> Normalisation:
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


class Grey:
    """Images of a cache as 8-bit grey pictures (N, 3, S, S), to find near-copies by.

    Each channel is scaled by its 1st and 99th percentile over a sample of the images, and the mean
    is taken over channels.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.shape = (len(pixels), 3, *pixels.shape[2:])
        chosen = np.unique(np.linspace(0, len(pixels) - 1, SAMPLE).astype(np.int64))
        values = np.asarray(pixels[chosen[chosen >= 0], :, ::2, ::2])
        self._low, self._scale = np.zeros(pixels.shape[1]), np.ones(pixels.shape[1])
        readable = values[values.any(axis=(1, 2, 3))]  # what could not be read is zeros
        if len(readable):
            low, high = np.percentile(readable, SHOWN, axis=(0, 2, 3))
            self._low, self._scale = low, np.maximum(high - low, 1.0)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> npt.NDArray[np.uint8]:
        values = self.pixels[part].astype(np.float32)
        low, scale = (x[:, None, None].astype(np.float32) for x in (self._low, self._scale))
        grey = np.clip((values - low) / scale, 0, 1).mean(axis=1) * 255
        return np.repeat(np.rint(grey).astype(np.uint8)[:, None], 3, axis=1)
