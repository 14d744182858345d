"""Pairs of hashes: those of every pair compared, however the bits are cut."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import hamming
from headstart.data.hamming import Bands, Hashes, near_hashes

CUTS = st.sampled_from([Bands(c, b) for c in range(1, 9) for b in (0, 1, 3, 8) if c * b <= 64])
# Hashes a few bits from one of two centres: near and far pairs, and equal ones.
HASHES = st.lists(
    st.tuples(st.sampled_from([0, 0xDEADBEEF12345678]), st.sets(st.integers(0, 63), max_size=8)),
    max_size=25,
).map(
    lambda made: np.array([c ^ sum(1 << bit for bit in bits) for c, bits in made], dtype=np.uint64)
)
Triples = list[tuple[int, int, int]]


def brute(a: Hashes, b: Hashes, distance: int, most: int | None = None) -> Triples:
    """Every pair compared; of one i the nearest ``most``, the first j of equally near ones."""
    bits = np.bitwise_count(a[:, None] ^ b).astype(int)
    found = []
    for i, row in enumerate(bits):
        near = np.flatnonzero(row <= distance)
        near = near[np.argsort(row[near], kind="stable")][:most]
        found += [(i, j, int(row[j])) for j in sorted(near.tolist())]
    return found


def all_pairs(*asked: object, **more: object) -> Triples:
    """The triples of all chunks in one list, in the order in which they come."""
    chunks = near_hashes(*asked, **more)  # type: ignore[arg-type]
    return [t for chunk in chunks for t in zip(*(c.tolist() for c in chunk), strict=True)]


@given(HASHES, HASHES, st.integers(0, 16), st.sampled_from([None, 1, 3]), CUTS)
@settings(max_examples=150, deadline=None)
def test_no_pair_is_missed_and_none_is_made_up(
    a: Hashes, b: Hashes, distance: int, most: int | None, cut: Bands
) -> None:
    expected = brute(a, b, distance, most)
    assert all_pairs(a, b, distance, most) == expected
    assert all_pairs(a, b, distance, most, cut) == expected


@pytest.mark.parametrize(("count", "bits"), [(3, 21), (4, 16), (6, 10), (8, 8), (1, 22)])
def test_every_cut_finds_the_pairs_of_all_pairs_compared(count: int, bits: int) -> None:
    """2,000 random hashes, half of them some bits from another one."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 2000, dtype=np.uint64)
    for i in range(1000):
        flips = rng.choice(64, rng.integers(0, 13), replace=False).astype(np.uint64)
        hashes[i] = hashes[i + 1000] ^ np.bitwise_or.reduce(np.uint64(1) << flips)
    if (count, bits) == (1, 22):
        hashes = hashes[::20]  # 1.2 million words are looked up for each
    expected = brute(hashes, hashes, 10)
    assert len(expected) > len(hashes)
    assert all_pairs(hashes, hashes, 10, None, Bands(count, bits)) == expected


@pytest.mark.parametrize("room", [1, 30, 1000])
def test_less_room_changes_no_pair(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 3, dtype=np.uint64)[rng.integers(0, 3, 60)]
    hashes ^= np.uint64(1) << rng.integers(0, 64, 60).astype(np.uint64)
    expected = all_pairs(hashes, hashes, 4, 10)
    monkeypatch.setattr(hamming, "_ROOM", room)
    monkeypatch.setattr(hamming, "_QUERIES", 17)
    monkeypatch.setattr(hamming, "_BLOCK", 64)
    chunks = list(near_hashes(hashes, hashes, 4, 10))
    assert len(chunks) >= 60 / 17
    assert [t for c in chunks for t in zip(*(x.tolist() for x in c), strict=True)] == expected
    assert all(a[0][-1] < b[0][0] for a, b in pairwise(c for c in chunks if len(c[0])))


def test_nothing_is_near_nothing() -> None:
    none = np.zeros(0, np.uint64)
    assert all_pairs(none, none, 6) == []
    assert all_pairs(np.zeros(3, np.uint64), none, 6) == []


# --- how much is done --------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [6, 10])
def test_the_radii_leave_no_pair_a_hole(distance: int) -> None:
    """d differing bits cannot exceed every radius: that would take the sum of radii + 1 bits."""
    for count in range(1, 9):
        radii = Bands(count, 8).radii(distance)
        assert sum(radius + 1 for radius in radii) > distance
        assert min(radii) >= -1


def compared(hashes: Hashes, cut: Bands | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pairs of hashes that a search compares."""
    counted = 0
    inner = hamming._within

    def within(a: Hashes, b: Hashes, distance: int) -> object:
        nonlocal counted
        counted += len(a) * len(b)
        return inner(a, b, distance)

    with monkeypatch.context() as patch:
        patch.setattr(hamming, "_within", within)
        all_pairs(hashes, hashes, 10, None, cut)
    return counted


def test_as_many_pairs_are_compared_as_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's extrapolation rests on it."""
    hashes = np.random.default_rng(2).integers(0, 2**64, 20_000, dtype=np.uint64)
    for cut in (Bands(1, 0), Bands(4, 8), Bands(6, 8)):
        expected = cut.compared(len(hashes), len(hashes), 10)
        assert compared(hashes, cut, monkeypatch) == pytest.approx(expected, rel=0.02)


def test_more_hashes_are_a_smaller_share_of_all_pairs() -> None:
    """Up to where the tables are as fine as they get."""
    shares = [
        Bands.cheapest(n, n, 10).compared(n, n, 10) / n**2 for n in (10**3, 10**4, 10**5, 10**6)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0  # comparing all pairs of few is cheapest
    assert shares[-1] < 0.02


def test_memory_does_not_grow_with_the_pairs_compared() -> None:
    """All 400 million pairs of 20,000 hashes compared: their distances would take 400 MB."""
    hashes = np.random.default_rng(3).integers(0, 2**64, 20_000, dtype=np.uint64)
    tracemalloc.start()
    try:
        all_pairs(hashes, hashes, 10, None, Bands(1, 0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
