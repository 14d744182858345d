"""Perceptual hashes of images, made where they are decoded: NumPy alone.

The hash is the DCT hash of Zauner (2010) on the 32×32 grey image: which of the 8×8 lowest
coefficients lie above their median. Cached images are squares already, so the picture's aspect
ratio plays no part: a copy squashed to a square is still a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from headstart.data.bands import TOP

Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

THUMB = 32  # side of the thumbnails that are hashed and compared
FLAT = 1.0  # grey levels; a thumbnail with less deviation has no structure to compare
SHOWN = (1, 99)  # percentiles of channels that are no colours, drawn black and white
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Prints:
    """What is kept of N images to find copies by, without their pixels.

    ``hashes`` and ``mirrored`` (N,) of the image and of its mirror image; ``flat`` (N,) where there
    is nothing to hash.
    """

    hashes: Hashes
    mirrored: Hashes
    flat: Bools


NO_PRINTS = Prints(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.bool_))


def prints(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Prints:
    """Of images as a cache holds them: (N, 3, S, S) uint8, or (N, C, S, S) uint16."""
    small = shrunk(pixels)
    flat = small.std(axis=(2, 3)).max(axis=1) < FLAT
    return Prints(*_hashed(np.einsum("c,bcij->bij", _GREY, small)), flat)


def thumbnails(
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
) -> npt.NDArray[np.uint8]:
    """(N, 3, 32, 32) uint8 of the same images."""
    small: npt.NDArray[np.uint8] = np.clip(shrunk(pixels) + 0.5, 0, 255).astype(np.uint8)
    return small


def shrunk(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Floats:
    """The mean over each cell's area: (N, 3, 32, 32), in 0 … 255."""
    area = _area(pixels.shape[-1])
    squares = as_grey(pixels) if pixels.dtype == np.uint16 else pixels
    small: Floats = area @ squares.astype(np.float32) @ area.T
    return small


def as_grey(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Images whose channels are no colours (N, C, S, S) as 8-bit grey pictures (N, 3, S, S).

    The mean over an image's channels, from its own 1st percentile to its 99th: one scale for all
    images would leave dim ones flat, and flat ones are alike. An image of one value keeps it.
    """
    mean = pixels.mean(axis=1, dtype=np.float32)
    low, high = np.percentile(mean, SHOWN, axis=(1, 2), keepdims=True)
    constant = high - low < 1
    low, high = np.where(constant, 0, low), np.where(constant, TOP, high)
    grey = np.rint(np.clip((mean - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)


@lru_cache(4)
def _area(side: int) -> Floats:
    """(32, S): how much of each pixel lies in each cell, rows summing to 1."""
    cells, edges = np.arange(THUMB + 1) / THUMB, np.arange(side + 1) / side
    low = np.maximum(cells[:-1, None], edges[None, :-1])
    high = np.minimum(cells[1:, None], edges[None, 1:])
    shares: Floats = (np.clip(high - low, 0, None) * THUMB).astype(np.float32)
    return shares


def _hashed(grey: Floats) -> tuple[Hashes, Hashes]:
    """Hashes of (B, 32, 32) and of its mirror image, whose odd coefficients change their sign."""
    place = np.arange(THUMB)
    angle = np.pi * (2 * place + 1) * np.arange(8)[:, None] / (2 * THUMB)
    basis = np.asarray(np.cos(angle), dtype=np.float32)
    coefficients = np.asarray(basis @ grey @ basis.T, dtype=np.float32)
    sign = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
    return _bits(coefficients), _bits(coefficients * sign)


def _bits(coefficients: Floats) -> Hashes:
    flat = coefficients.reshape(len(coefficients), 64)
    above = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(np.uint64)[:, 0]
