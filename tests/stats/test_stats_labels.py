from __future__ import annotations

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.integrate import quad
from simulated_studies import World, label_study
from sklearn.isotonic import isotonic_regression

from headstart.reporting.sentences.savings import saving_sentence
from headstart.stats.bootstrap import Curves, Resampling, curve_replicates
from headstart.stats.labels import (
    area_difference,
    area_under_label_curve,
    isotonic,
    label_saving,
    labels_for,
)

LABELS = np.array([50, 100, 200, 400, 800, 1600])


@settings(deadline=None)
@given(hnp.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=st.floats(0, 1)))
def test_isotonic_is_scikit_learns(curves):
    fits = isotonic(curves)
    for fit, curve in zip(fits, curves, strict=True):
        np.testing.assert_allclose(fit, isotonic_regression(curve), atol=1e-12)
    assert (np.diff(fits, axis=-1) >= 0).all()


def test_area_is_the_integral_over_the_logarithm():
    scores = np.array([0.3, 0.5, 0.45, 0.7, 0.8, 0.9])

    def height(x):
        return np.interp(x, np.log(LABELS), scores)

    total = sum(quad(height, np.log(a), np.log(b))[0] for a, b in pairwise(LABELS))
    expected = total / np.log(1600 / 50)
    assert area_under_label_curve(LABELS, scores) == pytest.approx(expected)
    assert area_under_label_curve(LABELS, np.full((2, 6), 0.4)) == pytest.approx([0.4, 0.4])


@pytest.mark.parametrize("labels", [[100], [100, 100], [200, 100], [0, 100], [[1, 2]]])
def test_label_counts_must_increase(labels):
    with pytest.raises(ValueError, match="increasing"):
        area_under_label_curve(labels, np.zeros(np.shape(labels)))


def test_labels_for_reads_the_curve_backwards():
    curve = np.array([0.2, 0.4, 0.4, 0.8, 0.8, 0.9])
    targets = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.85, 0.9, 0.91])
    got = labels_for(LABELS, np.tile(curve, (9, 1)), targets)
    expected = [0, 50, np.sqrt(50 * 100), 100, np.sqrt(200 * 400), 400, np.sqrt(800 * 1600), 1600]
    np.testing.assert_allclose(got[:8], expected)
    assert got[8] == inf


@settings(deadline=None)
@given(st.sets(st.integers(0, 500), min_size=6, max_size=6), st.floats(0, 1))
def test_labels_for_against_numpy_interpolation(hits, share):
    curve = np.sort(np.array(list(hits)) / 500)
    target = curve[0] + share * (curve[-1] - curve[0])
    expected = np.exp(np.interp(target, curve, np.log(LABELS)))
    assert labels_for(LABELS, curve, target) == pytest.approx(expected, rel=1e-6)


def curves_of(a, b, noise=0.0, B=400):
    observed = np.array([a, b], float)
    rng = np.random.default_rng(0)
    replicates = observed[:, None] + noise * rng.standard_normal((2, B, len(a)))
    return Curves(observed, replicates, np.repeat(observed[..., None], 2, axis=-1))


def test_area_difference_takes_the_replicates_together():
    base = np.linspace(0.3, 0.8, 6)
    got = area_difference(LABELS, curves_of(base + 0.05, base, noise=0.02))
    assert got.difference == pytest.approx(0.05)
    assert got.low < 0.05 < got.high
    assert got.p == pytest.approx(2 / 401)
    back = area_difference(LABELS, curves_of(base + 0.05, base, noise=0.02), arm=1, baseline=0)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-got.difference, -got.high, -got.low)
    )


def test_a_curve_shifted_by_four_saves_exactly_four_times():
    curve = 0.1 * np.log(LABELS)  # straight in ln n, so that interpolation is exact
    curves = curves_of(curve + 0.1 * np.log(4), curve)
    for fraction in range(4):
        saving = label_saving(LABELS, curves, fraction)
        assert saving.factor == pytest.approx(4)
        assert saving.quotable == (fraction <= 3)
        assert (saving.low, saving.high) == pytest.approx((saving.needed, saving.needed))
    assert label_saving(LABELS, curves, 5).needed == inf
    loser = label_saving(LABELS, curves, 2, arm=1, baseline=0)
    assert loser.factor == pytest.approx(1 / 4)
    assert label_saving(LABELS, curves, 1, arm=1, baseline=0).needed == 0


def simulate_savings(runs, replicates, seeds=5):
    """Factors, lower and upper limits (runs, 6, 3) in worlds where the arm saves four times."""
    out = np.empty((runs, len(LABELS), 3))
    sentences = []
    for run in range(runs):
        world = World(n=500, seeds=seeds)
        y, predicted = label_study(world, LABELS, 4.0, np.random.default_rng(run))
        curves = curve_replicates(y, predicted, plan=Resampling(replicates, seed=run))
        for i in range(len(LABELS)):
            s = label_saving(LABELS, curves, i)
            out[run, i] = s.factor, s.low / s.labels, s.high / s.labels
            sentences.append((s, saving_sentence(s, "SimCLR")))
    return out, sentences


def test_a_fourfold_saving_is_found():
    savings, sentences = simulate_savings(60, 400)
    for i in (0, 1, 2):  # where four times the labels were measured, with room above
        assert 3.5 <= np.median(savings[:, i, 0]) <= 4.5
        inside = (savings[:, i, 1] <= 4) & (savings[:, i, 2] >= 4)
        assert inside.mean() >= 0.88
    out_of_sight = savings[:, -1, 0] == inf
    assert out_of_sight.mean() > 0.9
    for saving, text in sentences:
        if saving.needed == inf or not saving.quotable:
            assert "roughly" not in text
            assert "at least" in text or "cannot be told" in text


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_fourfold_saving_is_found_in_many_runs(seeds):
    savings, _ = simulate_savings(200, 1000, seeds)
    for i in (0, 1, 2):
        factor, low, high = savings[:, i].T
        assert 3.6 <= np.median(factor) <= 4.4
        assert ((low <= 4) & (high >= 4)).mean() >= 0.92
