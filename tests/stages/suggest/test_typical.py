"""Typicality and coverage, against the slow version and against what they promise."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.config import StudyError
from headstart.stages.suggest import typical
from headstart.stages.suggest.typical import (
    NEIGHBOURS,
    Grouped,
    clusters,
    nearest,
    pick,
    require_sklearn,
    scaled,
    suggested,
    typicality,
)


def blobs(sizes: list[int], seed: int = 0, spread: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Features of length 1 around one axis each, and which axis."""
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(len(sizes), 16, dtype=np.float32)
    x = centres[which] + spread * rng.standard_normal((len(which), 16)).astype(np.float32)
    return scaled(x), which


def test_typicality_is_one_over_the_mean_distance_to_the_nearest_of_the_cluster() -> None:
    x, which = blobs([60, 9, 2, 1])
    expected = np.zeros(len(x))
    for i in range(len(x)):
        apart = sorted(
            float(np.linalg.norm(x[i].astype(float) - x[j].astype(float)))
            for j in range(len(x))
            if j != i and which[j] == which[i]
        )
        if apart:
            expected[i] = 1 / np.mean(apart[:NEIGHBOURS])
    np.testing.assert_allclose(typicality(x, which), expected, rtol=1e-6)
    assert expected[-1] == 0  # alone in its cluster


def test_a_large_cluster_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, which = blobs([90, 31])
    whole = typicality(x, which)
    monkeypatch.setattr(typical, "BATCH", 13)
    np.testing.assert_allclose(typicality(x, which), whole, rtol=1e-9)


def test_copies_have_a_finite_typicality() -> None:
    x = scaled(np.ones((30, 4), np.float32))
    found = typicality(x, np.zeros(30, np.int64))
    assert np.isfinite(found).all()


def test_the_middle_of_a_blob_is_typical_and_an_outlier_is_not() -> None:
    x, which = blobs([50])
    x[7] = scaled(np.full((1, 16), 1, np.float32))[0]
    order = np.argsort(-typicality(x, which))
    assert order[-1] == 7
    centre = x.mean(axis=0)
    apart = np.linalg.norm(x - centre, axis=1)
    assert apart[order[0]] < np.median(apart)


def test_kmeans_finds_groups_that_are_apart() -> None:
    x, which = blobs([30, 20, 12])
    found = clusters(x, 3, seed=0)
    assert len({(int(a), int(b)) for a, b in zip(found, which, strict=True)}) == 3


def test_few_different_images_and_many_clusters_are_no_error() -> None:
    x = scaled(np.repeat(np.eye(3, dtype=np.float32), 5, axis=0))
    found = clusters(x, 9, seed=0)
    assert len({tuple(found[i : i + 5]) for i in (0, 5, 10)}) == 3
    assert len(clusters(x[:2], 9, seed=0)) == 2


def test_a_large_pool_is_grouped_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typical, "EXACT", 50)
    x, which = blobs([40, 30, 20])
    found = clusters(x, 3, seed=0)
    assert len({(int(a), int(b)) for a, b in zip(found, which, strict=True)}) == 3


def test_the_nearest_of_the_others() -> None:
    x, _ = blobs([30, 30])
    a, b = x[:25], x[25:]
    expected = [min(float(np.linalg.norm(one - other)) for other in b) for one in a]
    np.testing.assert_allclose(nearest(a, b), expected, atol=1e-5)


@st.composite
def grouped(draw: st.DrawFn) -> Grouped:
    size = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return Grouped(
        cluster=rng.integers(draw(st.integers(1, 12)), size=size),
        typicality=rng.random(size),
        covered=rng.random(size) < draw(st.floats(0, 1)),
        picture=rng.integers(size, size=size) if draw(st.booleans()) else np.arange(size),
    )


@given(grouped(), st.integers(1, 60))
def test_what_is_chosen_is_unlabelled_and_no_copy(images: Grouped, n: int) -> None:
    chosen = pick(images, n)
    assert not images.covered[chosen].any()
    pictures = images.picture[chosen].tolist()
    assert len(set(pictures)) == len(pictures)
    assert not set(pictures) & set(images.picture[images.covered].tolist())
    free = set(images.picture.tolist()) - set(images.picture[images.covered].tolist())
    assert len(chosen) == min(n, len(free))


@given(grouped(), st.integers(1, 60))
def test_every_cluster_comes_once_before_one_comes_twice(images: Grouped, n: int) -> None:
    images = Grouped(
        images.cluster, images.typicality, images.covered, np.arange(len(images.cluster))
    )
    labels = np.bincount(images.cluster[images.covered], minlength=13)
    size = np.bincount(images.cluster, minlength=13)
    free = np.bincount(images.cluster[~images.covered], minlength=13)
    for i in pick(images, n):
        mine = int(images.cluster[i])
        open_ = [c for c in range(13) if free[c]]
        fewest = min(labels[c] for c in open_)
        assert labels[mine] == fewest
        assert size[mine] == max(size[c] for c in open_ if labels[c] == fewest)
        labels[mine] += 1
        free[mine] -= 1


def test_of_a_cluster_the_most_typical_comes_first() -> None:
    images = Grouped(
        cluster=np.array([0, 0, 0, 1, 1]),
        typicality=np.array([1.0, 3.0, 2.0, 9.0, 8.0]),
        covered=np.array([False] * 5),
        picture=np.arange(5),
    )
    assert pick(images, 5).tolist() == [1, 3, 2, 4, 0]


def test_groups_without_a_label_come_before_those_with_one() -> None:
    x, which = blobs([40, 30, 20, 10])
    covered = np.zeros(len(x), bool)
    covered[[0, 1, 2, 40]] = True  # of the first two groups
    chosen, images = suggested(x, covered, 2, seed=0)
    assert len(np.unique(images.cluster)) == 6
    assert set(which[chosen].tolist()) <= {2, 3}


def test_the_seed_decides() -> None:
    x, _ = blobs([30, 30, 30], spread=0.5)
    covered = np.arange(len(x)) < 5
    first, again, other = (suggested(x, covered, 12, seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_without_scikit_learn_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typical, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"pip install 'headstart\[sklearn\]'"):
        require_sklearn()
    monkeypatch.undo()
    assert importlib.util.find_spec("sklearn")
    require_sklearn()
