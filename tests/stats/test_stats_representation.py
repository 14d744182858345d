from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.utils.debug import std_of_l2_normalized

from headstart.stats import representation
from headstart.stats.representation import (
    effective_rank,
    mean_cosine,
    rankme,
    spread,
    std_ratio,
)

N, D = 512, 128


def isotropic(seed=0, shape=(N, D)):
    return np.random.default_rng(seed).standard_normal(shape)


def one_dimensional():
    rng = np.random.default_rng(1)
    return rng.standard_normal((N, 1)) * rng.standard_normal(D)


def antipodal():
    return np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] * np.ones(D)


CONSTANT = np.tile(isotropic(2, (1, D)), (N, 1))


def test_isotropic():
    got = spread(isotropic())
    assert got.std_ratio == pytest.approx(1, abs=0.01)
    assert got.mean_cosine == pytest.approx(0, abs=0.005)
    assert 110 < got.effective_rank < 128
    assert rankme(isotropic(shape=(512, 512))) == pytest.approx(412, abs=3)


def test_constant():
    got = spread(CONSTANT)
    assert got.std_ratio == pytest.approx(0, abs=1e-9)
    assert got.mean_cosine == pytest.approx(1)
    assert got.rankme == pytest.approx(1, abs=0.01)
    assert got.effective_rank == pytest.approx(1, abs=1e-6)


def test_one_dimension_fools_the_std_ratio_but_not_the_rank():
    got = spread(one_dimensional())
    assert got.std_ratio == pytest.approx(0.81, abs=0.05)
    assert got.mean_cosine == pytest.approx(0, abs=0.05)
    assert got.effective_rank == pytest.approx(1, abs=1e-6)


def test_two_opposite_points_fool_the_std_ratio_but_not_the_rank():
    got = spread(antipodal())
    assert got.std_ratio == pytest.approx(1)
    assert got.mean_cosine == pytest.approx(-1 / (N - 1))
    assert got.effective_rank == pytest.approx(1)


def test_constant_plus_noise_fools_the_rank_but_not_the_std_ratio():
    got = spread(CONSTANT + 1e-3 * isotropic(3))
    assert got.effective_rank == pytest.approx(113, abs=3)
    assert got.std_ratio < 0.01
    assert got.mean_cosine > 0.999
    assert got.rankme < 1.5


def test_a_dead_network_answers_zeros():
    got = spread(np.zeros((N, D)))
    assert (got.std_ratio, got.mean_cosine, got.effective_rank, got.rankme) == (0, 0, 1, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_network_gives_nan(value):
    Z = isotropic()
    Z[3, 4] = value
    assert all(np.isnan(v) for v in vars(spread(Z)).values())


@settings(deadline=None)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 10**6))
def test_against_slow_references(n, d, seed):
    Z = isotropic(seed, (n, d)) * np.exp(isotropic(seed + 1, (1, d))) + isotropic(seed + 2, (1, d))
    U = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    assert mean_cosine(Z) == pytest.approx(np.mean([U[i] @ U[j] for i, j in pairs]))
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(Z, rowvar=False)))
    p = np.clip(eigenvalues, 1e-300, None) / eigenvalues.sum()
    assert effective_rank(Z) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)
    assert 1 - 1e-9 <= effective_rank(Z) <= min(n - 1, d) + 1e-9
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(Z.T @ Z), 0, None))[::-1][: min(n, d)]
    p = sigma / sigma.sum() + 1e-7
    assert rankme(Z) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_std_ratio_is_lightlys():
    Z = isotropic() + 0.3
    # lightly divides by N − 1 and leaves out the √d.
    theirs = float(std_of_l2_normalized(torch.from_numpy(Z))) * np.sqrt(D)
    assert std_ratio(Z) == pytest.approx(theirs * np.sqrt((N - 1) / N))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_neither_scale_nor_rotation_nor_row_order_matter(seed, scale):
    Z = isotropic(seed, (40, 6)) + 0.5
    rotation = np.linalg.qr(isotropic(seed + 1, (6, 6)))[0]
    moved = scale * np.random.default_rng(seed).permutation(Z) @ rotation
    for measure in (mean_cosine, effective_rank, rankme):
        assert measure(moved) == pytest.approx(measure(Z), rel=1e-6, abs=1e-9)
    assert std_ratio(scale * Z) == pytest.approx(std_ratio(Z))


@pytest.mark.parametrize("shape", [(1, 4), (4, 0), (4,), (2, 2, 2)])
def test_shapes_that_are_no_outputs(shape):
    with pytest.raises(ValueError, match="N ≥ 2"):
        representation.spread(np.zeros(shape))
