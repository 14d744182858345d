"""Nearly identical images: recompressed, resized or mirrored copies, among millions.

A 64-bit perceptual hash proposes pairs, the cached pixels decide. The hash alone would take
different photos with one layout (a shirt on the same table) for copies of each other.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from headstart.config import StudyError
from headstart.data.cache import PixelCache, Progress
from headstart.data.hamming import near_hashes
from headstart.data.prints import THUMB, thumbnails
from headstart.types import Doubles, Floats, Ints

Bools = npt.NDArray[np.bool_]
Thumbs = npt.NDArray[np.uint8]

REVIEW_DISTANCE = 10  # bits; pairs up to here are listed for review, and nothing is removed
# Measured on 5,756 clothing photos (16.6 million pairs): different photos with hashes at most 6
# apart correlate up to 0.953, copies (JPEG quality 20, a third of the size, mirrored) from 0.970.
SAME_CORRELATION = 0.97
FINE_SIDE = 32  # cached images below it show less, and look-alikes correlate up to 0.975 there
SAME_CORRELATION_COARSE = 0.985
REVIEW_CORRELATION = 0.9
SAME_COLOUR = 32.0  # mean colours of copies differ by less; brightness + 10 % moves them by 19
SAME_FLAT = 1.0  # mean absolute difference of two flat thumbnails that count as the same
MOST = 100  # candidates of one image that are compared, nearest first

_BLOCK = 256  # images read at a time
_PAIRS = 256  # pairs of thumbnails compared at a time: as many as a processor's cache holds


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


class _Thumbnails:
    """Thumbnails of the rows that are asked for, each made once, in an unnamed file in ``folder``.

    Only candidates are ever asked for, so of a million images few are read again, and few lie in
    the file: the rest of it are holes.
    """

    def __init__(self, cache: PixelCache, folder: Path | None) -> None:
        self._cache, self._folder = cache, folder
        self._made = np.zeros(len(cache.aspect), np.bool_)

    def __getitem__(self, rows: Ints) -> Thumbs:
        """(P, 3, 32, 32).

        Raises:
            StudyError: the disk has no room for them.
        """
        self.make(rows)
        return np.asarray(self._stored[1][rows])

    def make(self, rows: Ints) -> None:
        """Have them all, read together."""
        missing = np.unique(rows[~self._made[rows]])
        for start in range(0, len(missing), _BLOCK):
            part = missing[start : start + _BLOCK]
            try:
                self._write(part, thumbnails(self._cache.take(part)))
            except OSError as error:
                raise StudyError(f"{self._folder}: {error.strerror or error}") from None

    def _write(self, rows: Ints, thumbs: Thumbs) -> None:
        """By the file and not by its mapping, where a full disk would end the process."""
        file = self._stored[0]
        for row, thumb in zip(rows.tolist(), thumbs, strict=True):
            file.seek(row * thumb.nbytes)
            file.write(thumb.tobytes())
        self._made[rows] = True

    @cached_property
    def _stored(self) -> tuple[IO[bytes], Thumbs]:
        """The file, and its content (N, 3, 32, 32)."""
        shape = (len(self._made), 3, THUMB, THUMB)
        file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed with us
        weakref.finalize(self, file.close)
        file.truncate(int(np.prod(shape, dtype=np.int64)))
        return file, np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


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
        self.distance, self.progress = distance, progress
        fine = cache.pixels.shape[-1] >= FINE_SIDE
        self.correlation = SAME_CORRELATION if fine else SAME_CORRELATION_COARSE
        self.prints, self.thumbs = cache.prints, _Thumbnails(cache, folder)

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
                if self.progress and len(i):
                    self.progress("looking for copies", int(i[-1]) + 1, len(rows))
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
        thumbs = self.thumbs[rows]
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
        self.thumbs.make(np.concatenate([rows[flat[rows]], others[flat[others]]]))
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
        return tuple(np.rint(self._thumb(row).mean((1, 2))).astype(int).tolist())

    def _flat_difference(self, a: int, b: int) -> float:
        return float(np.abs(self._thumb(a) - self._thumb(b)).mean())

    def _thumb(self, row: int) -> Floats:
        thumb: Floats = self.thumbs[np.array([row])][0].astype(np.float32)
        return thumb


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
