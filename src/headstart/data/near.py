"""Nearly identical images: recompressed, resized or mirrored copies, among millions.

A 64-bit perceptual hash proposes pairs, the cached pixels decide. The hash alone would take
different photos with one layout (a shirt on the same table) for copies of each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from headstart.data.cache import PixelCache, Progress, allocate
from headstart.data.channels import Grey
from headstart.data.hamming import Hashes, near_hashes
from headstart.types import Doubles, Floats, Ints

Bools = npt.NDArray[np.bool_]
Thumbs = npt.NDArray[np.uint8]

THUMB = 32  # side of the thumbnails that are hashed and compared
REVIEW_DISTANCE = 10  # bits; pairs up to here are listed for review, and nothing is removed
# Measured on 5,756 clothing photos (16.6 million pairs): different photos with hashes at most 6
# apart correlate up to 0.953, copies (JPEG quality 20, a third of the size, mirrored) from 0.970.
SAME_CORRELATION = 0.97
FINE_SIDE = 32  # cached images below it show less, and look-alikes correlate up to 0.975 there
SAME_CORRELATION_COARSE = 0.985
REVIEW_CORRELATION = 0.9
SAME_COLOUR = 32.0  # mean colours of copies differ by less; brightness + 10 % moves them by 19
FLAT = 1.0  # grey levels; a thumbnail with less deviation has no structure to compare
SAME_FLAT = 1.0  # mean absolute difference of two flat thumbnails that count as the same
MOST = 100  # candidates of one image that are compared, nearest first

_BLOCK = 256  # images read at a time
_PAIRS = 256  # pairs of thumbnails compared at a time: as many as a processor's cache holds
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, one a position: ``a`` and ``b`` (P,) are rows of the pixel cache.

    ``distance`` (P,) of the hashes in bits; ``correlation`` (P,) of the thumbnails, 1 for two flat
    ones; ``mirrored`` (P,) where one is the other's mirror image; ``near`` (P,) where the two count
    as copies, the others are for people to look at.
    """

    a: Ints
    b: Ints
    distance: Ints
    correlation: Doubles
    mirrored: Bools
    near: Bools

    def __len__(self) -> int:
        return len(self.a)

    def take(self, which: Bools | Ints) -> Self:
        """Some of the pairs."""
        return type(self)(*(getattr(self, f.name)[which] for f in fields(self)))


_NONE = np.empty(0, np.int64)
NO_PAIRS = Pairs(_NONE, _NONE, _NONE, np.empty(0), np.empty(0, np.bool_), np.empty(0, np.bool_))


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of N images: enough to find copies without their pixels.

    ``hashes`` and ``mirrored`` (N,) of the image and of its mirror image; ``flat`` (N,) where there
    is nothing to hash; ``thumbs`` (N, 3, 32, 32) uint8, memory-mapped.
    """

    hashes: Hashes
    mirrored: Hashes
    flat: Bools
    thumbs: Thumbs


class Squares(Protocol):
    """Images (N, 3, S, S) uint8 that are read some at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> npt.NDArray[np.uint8]: ...


def fingerprints(
    pixels: Squares, folder: Path | None = None, progress: Progress | None = None
) -> Fingerprints:
    """Hash images (N, 3, S, S) uint8, and keep thumbnails in an unnamed file in ``folder``.

    The hash is the DCT hash of Zauner (2010) on the 32×32 grey image: which of the 8×8 lowest
    coefficients lie above their median. The images are squares already, so the picture's aspect
    ratio plays no part: a copy squashed to a square is still a copy.
    """
    count = len(pixels)
    hashes, mirrored = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    flat = np.zeros(count, np.bool_)
    thumbs = _thumbs_on_disk(count, folder)
    for start in range(0, count, _BLOCK):
        part = slice(start, min(start + _BLOCK, count))
        small = _shrunk(np.asarray(pixels[part]))
        thumbs[part] = np.clip(small + 0.5, 0, 255).astype(np.uint8)
        flat[part] = small.std(axis=(2, 3)).max(axis=1) < FLAT
        hashes[part], mirrored[part] = _hashed(np.einsum("c,bcij->bij", _GREY, small))
        if progress:
            progress("looking for copies", part.stop, count)
    return Fingerprints(hashes, mirrored, flat, thumbs)


def _thumbs_on_disk(count: int, folder: Path | None) -> Thumbs:
    shape = (count, 3, THUMB, THUMB)
    if not count:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:  # the mapping outlives the open file
        allocate(file.fileno(), int(np.prod(shape)))
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def _shrunk(pixels: npt.NDArray[np.uint8]) -> Floats:
    """(B, 3, S, S) to (B, 3, 32, 32) by the mean over each cell's area."""
    area = _area(pixels.shape[-1])
    small: Floats = area @ pixels.astype(np.float32) @ area.T
    return small


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


# --- pairs of images ---------------------------------------------------------------------------


class NearCopies:
    """Finds copies among the rows of a pixel cache.

    Copies that were cropped by 2 % are mostly found, by 5 % seldom; turned by 90° they are not
    looked for. An image with more than ``MOST`` candidates is compared with the nearest only.
    """

    def __init__(
        self,
        cache: PixelCache,
        distance: int = 6,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.distance = distance
        fine = cache.pixels.shape[-1] >= FINE_SIDE
        self.correlation = SAME_CORRELATION if fine else SAME_CORRELATION_COARSE
        bands = cache.pixels.dtype != np.uint8
        squares: Any = Grey(cache.pixels) if bands else cache.pixels
        self.prints = fingerprints(squares, folder, progress)

    def pairs(self, a: Sequence[int], b: Sequence[int] | None = None) -> Pairs:
        """Copies, and pairs to look at, between two sets of rows, or within one.

        Within one set each pair comes once, with its first row in front. Flat images are only
        paired with the first one of their colour, so a thousand white ones make a thousand pairs.
        """
        rows, others = np.asarray(a, np.int64), np.asarray(a if b is None else b, np.int64)
        within = b is None
        parts = [self._flat_pairs(rows, others, within=within)]
        flat = self.prints.flat
        rows, others = rows[~flat[rows]], others[~flat[others]]
        for mirrored in (False, True):
            hashes = (self.prints.mirrored if mirrored else self.prints.hashes)[rows]
            reach = max(self.distance, REVIEW_DISTANCE)
            for i, j, bits in near_hashes(hashes, self.prints.hashes[others], reach, MOST):
                kept = rows[i] != others[j]  # within one set every image meets itself
                pairs = (rows[i][kept], others[j][kept], bits[kept])
                parts.append(self._confirmed(pairs, mirrored=mirrored))
        return _best(parts, within=within)

    def _confirmed(self, pairs: tuple[Ints, Ints, Ints], *, mirrored: bool) -> Pairs:
        """The candidates of the hashes whose thumbnails are alike too."""
        a, b, bits = pairs
        starts = range(0, len(a), _PAIRS)
        likeness = [
            self._likeness(a[s : s + _PAIRS], b[s : s + _PAIRS], mirrored=mirrored) for s in starts
        ]
        r = np.concatenate([np.empty(0), *(r for r, _ in likeness)])
        colour = np.concatenate([np.empty(0), *(colour for _, colour in likeness)])
        near = (bits <= self.distance) & (r >= self.correlation) & (colour <= SAME_COLOUR)
        all_pairs = Pairs(a, b, bits, r, np.full(len(a), mirrored), near)
        return all_pairs.take(near | (r >= REVIEW_CORRELATION))

    def _likeness(self, a: Ints, b: Ints, *, mirrored: bool) -> tuple[Doubles, Doubles]:
        """Correlation around each channel's mean (P,), and the largest distance of two means."""
        x, mean_x = self._centred(a)
        y, mean_y = self._centred(b, mirrored=mirrored)
        power = np.einsum("pk,pk->p", x, x) * np.einsum("pk,pk->p", y, y)
        r = np.einsum("pk,pk->p", x, y) / np.sqrt(np.maximum(power, 1e-9))
        return r.astype(np.float64), np.abs(mean_x - mean_y).max(axis=1).astype(np.float64)

    def _centred(self, rows: Ints, *, mirrored: bool = False) -> tuple[Floats, Floats]:
        """Thumbnails around each channel's mean (P, 3072), and the means (P, 3)."""
        thumbs = self.prints.thumbs[rows]
        values = (thumbs[..., ::-1] if mirrored else thumbs).astype(np.float32)
        values = values.reshape(len(rows), 3, -1)
        means = values.mean(axis=2)
        values -= means[..., None]
        return values.reshape(len(rows), -1), means

    def _flat_pairs(self, rows: Ints, others: Ints, *, within: bool) -> Pairs:
        """Each flat row with the first other one of its colour, if their thumbnails are alike."""
        flat = self.prints.flat
        first: dict[tuple[int, ...], int] = {}
        pairs: list[tuple[int, int]] = []
        base = others[flat[others]].tolist()
        if not within:
            for row in reversed(base):
                first[self._colour(row)] = row
        for row in base if within else rows[flat[rows]].tolist():
            colour = self._colour(row)
            match = next((first[c] for c in _around(colour) if c in first), None)
            if match is not None:
                pairs.append((match, row) if within else (row, match))
            elif within:
                first[colour] = row
        a, b = np.array(pairs, np.int64).reshape(-1, 2).T
        alike = np.array([self._flat_difference(*pair) <= SAME_FLAT for pair in pairs], np.bool_)
        ones = np.ones(len(a))
        made = Pairs(a, b, 0 * a, ones, np.zeros(len(a), np.bool_), ones > 0)
        return made.take(alike)

    def _colour(self, row: int) -> tuple[int, ...]:
        return tuple(np.rint(self.prints.thumbs[row].mean((1, 2))).astype(int).tolist())

    def _flat_difference(self, a: int, b: int) -> float:
        x, y = self.prints.thumbs[a].astype(np.float32), self.prints.thumbs[b].astype(np.float32)
        return float(np.abs(x - y).mean())


def _around(colour: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The colour itself, then those one level away, as rounding may separate equal ones."""
    steps = np.stack(np.meshgrid(*[(0, -1, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for step in steps.tolist():
        yield tuple(c + s for c, s in zip(colour, step, strict=True))


def _best(candidates: Sequence[Pairs], *, within: bool) -> Pairs:
    """All pairs, each once: as a copy rather than not, then with the highest correlation."""
    columns: list[Any] = [
        np.concatenate([getattr(p, f.name) for p in candidates]) for f in fields(Pairs)
    ]
    if within:
        columns[0], columns[1] = np.minimum(*columns[:2]), np.maximum(*columns[:2])
    pairs = Pairs(*columns)
    pairs = pairs.take(np.lexsort((-pairs.correlation, ~pairs.near, pairs.b, pairs.a)))
    new = np.ones(len(pairs), np.bool_)
    new[1:] = (np.diff(pairs.a) != 0) | (np.diff(pairs.b) != 0)
    return pairs.take(new)


# --- pairs of features -------------------------------------------------------------------------


@dataclass(frozen=True)
class LookAlikes:
    """Pairs of features that point the same way, the most alike first.

    ``i`` (P,) and ``j`` (P,) are rows, ``cosine`` (P,) falls; ``count`` are all that were found, of
    which these are the first.
    """

    i: Ints
    j: Ints
    cosine: Doubles
    count: int


def look_alikes(a: Floats, b: Floats, cosine: float, most: int, chunk: int = 1024) -> LookAlikes:
    """The ``most`` pairs of a row of ``a`` and one of ``b`` that are most alike.

    Args:
        a: features (A, D).
        b: features (B, D); a row of zeros is in no pair.
        cosine: the smallest that counts.
        most: pairs that are kept: a collapsed encoder finds every pair alike, and they would not
            fit into memory.
        chunk: rows of ``a`` and ``b`` compared at a time.
    """
    a, b = _unit(a), _unit(b)
    kept = LookAlikes(_NONE, _NONE, np.empty(0), 0)
    for left in range(0, len(a), chunk):
        for right in range(0, len(b), chunk):
            cosines = a[left : left + chunk] @ b[right : right + chunk].T
            rows, columns = np.nonzero(cosines >= cosine)
            found = rows + left, columns + right, cosines[rows, columns].astype(np.float64)
            kept = _most_alike(kept, found, most)
    return kept


def _most_alike(kept: LookAlikes, found: tuple[Ints, Ints, Doubles], most: int) -> LookAlikes:
    """The first of what was kept and what was found; of equally alike ones those of first rows."""
    i, j = np.concatenate([kept.i, found[0]]), np.concatenate([kept.j, found[1]])
    r = np.concatenate([kept.cosine, found[2]])
    first = np.lexsort((j, i, -r))[:most]
    return LookAlikes(i[first], j[first], r[first], kept.count + len(found[0]))


def _unit(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit: Floats = (x / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
