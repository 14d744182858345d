"""Pairs of 64-bit hashes that differ in few bits: all of them, without comparing every pair.

Multi-index hashing (Norouzi, Punjani and Fleet 2012): the bits are cut into bands. Two hashes
within d bits of each other agree in some band up to that band's radius, where the radii of m bands
sum to d − m + 1 (the pigeonholes). Hashes that share the word of a band are compared with all
hashes whose word lies within the radius, block by block, so that a pair costs about a nanosecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb
from typing import Self

import numpy as np
import numpy.typing as npt

from headstart.types import Ints

Hashes = npt.NDArray[np.uint64]
Pairs = tuple[Ints, Ints, Ints]
"""(i, j, distance): places in two arrays of hashes, and how many bits they differ in."""

_WORD = 64  # bits of a hash
_WIDEST = 22  # bits of a band at most: its table has a place for each of 4 million words
_BLOCK = 1 << 16  # pairs compared at a time: as many as a processor's cache holds
_ROWS = 16  # of a block: few long rows are faster than many short ones
_QUERIES = 1 << 20  # hashes that are looked for at a time
_ROOM = 4_000_000  # pairs held at a time; where more are found, fewer are looked for at a time
# Nanoseconds of one core, roughly; they decide how to cut the bits, and change no result.
_PAIR, _LOOKUP, _VISIT, _BUILD = 0.8, 30.0, 40_000.0, 200.0


@dataclass(frozen=True)
class Bands:
    """``count`` bands of ``bits`` bits each. One band of no bits compares every pair."""

    count: int
    bits: int

    def radii(self, distance: int) -> list[int]:
        """In how many bits each band may differ; −1 for one that need not be searched."""
        rest = distance - self.count + 1
        return [rest // self.count + (k < rest % self.count) for k in range(self.count)]

    def lookups(self, distance: int) -> list[int]:
        """Words that are looked up for one hash, for each band."""
        radii = self.radii(distance)
        return [sum(comb(self.bits, ones) for ones in range(radius + 1)) for radius in radii]

    def compared(self, queries: int, base: int, distance: int) -> float:
        """Pairs that are compared where the hashes are random."""
        return queries * base * sum(self.lookups(distance)) / (1 << self.bits)

    def seconds(self, queries: int, base: int, distance: int) -> float:
        """About how long one core takes, where the hashes are random."""
        rounds, rest = divmod(queries, _QUERIES)
        visits = rounds * min(1 << self.bits, _QUERIES) + min(1 << self.bits, rest)
        searching = sum(_VISIT + _LOOKUP * n for n in self.lookups(distance) if n)
        building = _BUILD * base * self.count
        pairs = _PAIR * self.compared(queries, base, distance)
        return (visits * searching + building + pairs) / 1e9

    @classmethod
    def cheapest(cls, queries: int, base: int, distance: int) -> Self:
        """The cut that takes least time for so many random hashes."""
        cuts = [
            cls(count, bits)
            for count in range(1, 9)
            for bits in range(min(_WORD // count, _WIDEST) + 1)
        ]
        return min(cuts, key=lambda cut: cut.seconds(queries, base, distance))


def near_hashes(
    query: Hashes,
    base: Hashes,
    distance: int,
    most: int | None = None,
    bands: Bands | None = None,
) -> Iterator[Pairs]:
    """All pairs of hashes at most ``distance`` (0 … 16) bits apart, and no other.

    Args:
        query: hashes (Q,) uint64.
        base: hashes (B,) uint64.
        distance: bits.
        most: pairs of one query at most, the nearest, of equally near ones the first in ``base``.
        bands: how to cut the bits; the cheapest way by default. It changes no pair.

    Yields:
        Pairs with i a place in ``query`` and j in ``base``, by i, then j. All pairs of one i come
        together, and i never falls.
    """
    if not (len(query) and len(base)):
        return
    equal = _Equal.of(base, most)
    bands = bands or Bands.cheapest(len(query), len(equal.hashes), distance)
    index = _Index.of(_shuffled(equal.hashes), equal.sizes, bands, distance)
    mixed = _shuffled(query)
    ahead = [(s, min(s + _QUERIES, len(query))) for s in range(0, len(query), _QUERIES)][::-1]
    while ahead:
        start, stop = ahead.pop()
        found = index.near(mixed[start:stop], _ROOM if stop - start > 1 else None)
        if found is None:
            middle = (start + stop) // 2
            ahead += [(middle, stop), (start, middle)]
        else:
            i, j, bits = _nearest(equal.each(found), most)
            yield i + start, j, bits


@dataclass(frozen=True)
class _Equal:
    """Different hashes of the base (U,), and which of its positions have them.

    Searching for each hash once keeps a set of equal ones from costing its square; ``sizes`` (U,)
    count the positions of each, ``most`` at most.
    """

    hashes: Hashes
    sizes: Ints
    starts: Ints
    order: Ints

    @classmethod
    def of(cls, base: Hashes, most: int | None) -> Self:
        order = np.argsort(base, kind="stable")
        hashes = base[order]
        new = np.ones(len(base), np.bool_)
        np.not_equal(hashes[1:], hashes[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=len(base))
        return cls(hashes[starts], sizes if most is None else sizes.clip(max=most), starts, order)

    def each(self, pairs: Pairs) -> Pairs:
        """Pairs with different hashes as pairs with all their positions, by i, then j."""
        i, j, bits = pairs
        counts = self.sizes[j]
        offset = self.starts[j] - (np.cumsum(counts) - counts)
        i, bits = np.repeat(i, counts), np.repeat(bits, counts)
        j = self.order[np.repeat(offset, counts) + np.arange(len(i))]
        order = np.lexsort((j, i))
        return i[order], j[order], bits[order]


def _nearest(pairs: Pairs, most: int | None) -> Pairs:
    """At most ``most`` pairs of each i, the nearest."""
    i, j, bits = pairs
    if most is None or not len(i) or np.bincount(i).max() <= most:
        return pairs
    order = np.lexsort((j, bits, i))
    rank = np.arange(len(i)) - np.searchsorted(i, i)  # i is sorted, and stays so in this order
    kept = np.sort(order[rank < most])
    return i[kept], j[kept], bits[kept]


def _shuffled(hashes: Hashes) -> Hashes:
    """The same bits in another order, as neighbouring ones are alike: no distance changes."""
    order = np.random.default_rng(0).permutation(_WORD)
    mixed = np.empty_like(hashes)
    for start in range(0, len(hashes), _QUERIES):
        part = np.ascontiguousarray(hashes[start : start + _QUERIES])
        bits = np.unpackbits(part.view(np.uint8).reshape(-1, 8), axis=1)
        packed = np.ascontiguousarray(np.packbits(bits[:, order], axis=1))
        mixed[start : start + _QUERIES] = packed.view(np.uint64)[:, 0]
    return mixed


@dataclass(frozen=True)
class _Band:
    """One band of the hashes: which bits it has, and in how many of them a pair may differ."""

    shift: int
    bits: int
    radius: int

    def words(self, hashes: Hashes) -> Ints:
        """The band of each hash (N,), 0 … 2^bits − 1."""
        return ((hashes >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1)).astype(
            np.int64
        )

    def agree(self, differences: Hashes) -> npt.NDArray[np.bool_]:
        """Whether hashes that differ in these bits (N,) differ little enough in the band."""
        near: npt.NDArray[np.bool_] = np.bitwise_count(self.words(differences)) <= self.radius
        return near

    @cached_property
    def masks(self) -> Ints:
        """All words with at most ``radius`` ones."""
        ones = [c for n in range(self.radius + 1) for c in combinations(range(self.bits), n)]
        return np.array([sum(1 << bit for bit in bits) for bits in ones], np.int64)


@dataclass(frozen=True)
class _Table:
    """The base sorted by the words of one band.

    ``hashes`` (U,) and their ``places`` (U,) in the base; those with word w stand at
    ``starts[w]`` up to ``starts[w + 1]``.
    """

    band: _Band
    hashes: Hashes
    places: npt.NDArray[np.uint32]
    starts: Ints

    @classmethod
    def of(cls, base: Hashes, band: _Band) -> Self:
        words = band.words(base)
        places = np.argsort(words, kind="stable").astype(np.uint32)
        counts = np.bincount(words, minlength=1 << band.bits)
        return cls(band, base[places], places, np.concatenate([[0], np.cumsum(counts)]))

    def beside(self, word: int) -> Ints:
        """Positions in this table of all hashes whose word is within the radius of this one."""
        words = self.band.masks ^ word
        starts = self.starts[words]
        counts = self.starts[words + 1] - starts
        ends = np.cumsum(counts)
        return np.repeat(starts - ends + counts, counts) + np.arange(ends[-1])

    def pairs(self, query: Hashes, distance: int) -> Iterator[tuple[Ints, Ints]]:
        """(i, j) of the hashes within the distance that agree in the band, block by block."""
        words = self.band.words(query)
        order = np.argsort(words, kind="stable")
        groups, starts = np.unique(words[order], return_index=True)
        for word, some in zip(groups.tolist(), np.split(order, starts[1:]), strict=True):
            beside = self.beside(word)
            if len(beside):
                for i, j in _within(query[some], self.hashes[beside], distance):
                    yield some[i], self.places[beside[j]].astype(np.int64)


def _within(a: Hashes, b: Hashes, distance: int) -> Iterator[tuple[Ints, Ints]]:
    """(i, j) of all pairs at most so many bits apart, from blocks of pairs."""
    rows = min(len(a), _ROWS)
    columns = _BLOCK // rows
    for top in range(0, len(a), rows):
        for left in range(0, len(b), columns):
            block = a[top : top + rows, None] ^ b[left : left + columns]
            near = np.flatnonzero(np.bitwise_count(block) <= distance)
            if len(near):
                i, j = np.divmod(near, block.shape[1])
                yield i + top, j + left


@dataclass(frozen=True)
class _Index:
    """The tables of all bands that must be searched; ``sizes`` (U,) say what a hash counts for."""

    base: Hashes
    sizes: Ints
    tables: tuple[_Table, ...]
    distance: int

    @classmethod
    def of(cls, base: Hashes, sizes: Ints, bands: Bands, distance: int) -> Self:
        tables = [
            _Table.of(base, _Band(k * bands.bits, bands.bits, radius))
            for k, radius in enumerate(bands.radii(distance))
            if radius >= 0
        ]
        return cls(base, sizes, tuple(tables), distance)

    def near(self, query: Hashes, room: int | None) -> Pairs | None:
        """All pairs within the distance, each once; None where there is not room for so many."""
        empty = np.empty(0, np.int64)
        firsts, seconds, held = [empty], [empty], 0
        for number, table in enumerate(self.tables):
            for i, j in table.pairs(query, self.distance):
                new = self._not_before(number, query[i] ^ self.base[j])
                firsts.append(i[new])
                seconds.append(j[new])
                held += int(self.sizes[j[new]].sum())
                if room is not None and held > room:
                    return None
        i, j = np.concatenate(firsts), np.concatenate(seconds)
        return i, j, np.bitwise_count(query[i] ^ self.base[j]).astype(np.int64)

    def _not_before(self, number: int, differences: Hashes) -> npt.NDArray[np.bool_]:
        """Pairs that no earlier band has proposed."""
        new = np.ones(len(differences), np.bool_)
        for table in self.tables[:number]:
            new &= ~table.band.agree(differences)
        return new
