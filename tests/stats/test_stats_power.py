from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_studies import World, study
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from headstart.stats.metrics import balanced_accuracy, confusion_matrix
from headstart.stats.mrmc import Mrmc, mrmc, paired_scores
from headstart.stats.power import (
    detectable_difference,
    effective_images,
    images_needed,
    needs,
    planned_statement,
    seeds_needed,
)


@pytest.mark.parametrize(
    ("n", "points"), [(100, 12.5), (200, 8.9), (500, 5.6), (1000, 4.0), (2000, 2.8)]
)
def test_detectable_difference(n, points):
    assert round(100 * detectable_difference(n, 0.2), 1) == points


@settings(deadline=None)
@given(st.floats(0.005, 0.5), st.floats(0.01, 1))
def test_images_needed_undoes_detectable_difference(delta, disagreement):
    n = images_needed(delta, disagreement)
    assert detectable_difference(n, disagreement) <= delta * (1 + 1e-9)
    assert n == 1 or detectable_difference(n - 1, disagreement) > delta


def test_images_needed_in_round_numbers():
    assert images_needed(0.02, 0.2) == 3920
    assert images_needed(0.02, 0.2, floor=(0.02 / 2.8) ** 2) is None
    assert seeds_needed(0.02, seed_variance=0.018**2) == 7
    assert seeds_needed(0.02, seed_variance=1e-9) == 2
    assert seeds_needed(0.02, 0.018**2, floor=1e-3) is None
    for refused in (images_needed, lambda d: seeds_needed(d, 1.0)):
        with pytest.raises(ValueError, match="positive"):
            refused(0.0)
    with pytest.raises(ValueError, match="positive"):
        detectable_difference(0)


def test_the_multiple_gives_eighty_percent_power_with_two_sets_of_weights():
    # Two models that disagree on 20 % of 1,000 images and differ by just the detectable amount.
    gap = detectable_difference(1000, 0.2)
    rng = np.random.default_rng(0)
    shares = [0.1 + gap / 2, 0.1 - gap / 2, 0.8]
    b, c, _ = rng.multinomial(1000, shares, size=20_000).T
    power = (np.abs(b - c) / np.sqrt(b + c) > stats.norm.ppf(0.975)).mean()
    assert power == pytest.approx(0.80, abs=0.02)


def test_effective_images_is_the_variance_of_balanced_accuracy():
    support = np.array([400, 50, 30])
    variance = sum(0.2 / n for n in support) / len(support) ** 2
    assert 0.2 / effective_images(support) == pytest.approx(variance)
    assert effective_images([70, 70, 0, 70]) == pytest.approx(210)
    with pytest.raises(ValueError, match="no class"):
        effective_images([0, 0])


def test_planned_statement():
    even = planned_statement([107, 107])
    assert "With 214 test images this run can only see differences above about 8.6 points" in even
    assert "20 % of the images, which is assumed" in even
    uneven = planned_statement([200, 14])
    assert "they count as 52 because classes are uneven" in uneven
    assert "17 points" in uneven


def table(seed=0, seeds=4, n=30):
    y, a, b = study(World(n=n, seeds=seeds, seed_spread=0.3), 0.1, np.random.default_rng(seed))
    return y, a, b


def test_mean_squares_are_statsmodels_analysis_of_variance():
    y, a, b = table()
    D = paired_scores(y, a, b, balanced=False)
    S, n = D.shape
    long = pd.DataFrame(
        {"d": D.ravel(), "seed": np.repeat(np.arange(S), n), "image": np.tile(np.arange(n), S)}
    )
    rows = anova_lm(ols("d ~ C(seed) + C(image)", data=long).fit())
    squares = (rows["sum_sq"] / rows["df"]).to_numpy()
    got = mrmc(D)
    np.testing.assert_allclose([got.ms_seed, got.ms_image, got.ms_error], squares)
    spread = squares[0] + max(squares[1] - squares[2], 0)
    assert got.t == pytest.approx(D.mean() / np.sqrt(spread / (S * n)))
    assert got.df == pytest.approx(spread**2 / (squares[0] ** 2 / (S - 1)))
    assert got.p == pytest.approx(2 * stats.t.sf(abs(got.t), got.df))


def test_without_image_variance_it_is_the_paired_t_test():
    by_seed = np.array([0.05, 0.01, 0.03, -0.01])
    D = np.repeat(by_seed[:, None], 20, axis=1)
    got, expected = mrmc(D), stats.ttest_1samp(by_seed, 0)
    assert (got.t, got.df, got.p) == pytest.approx((expected.statistic, 3, expected.pvalue))


def test_balanced_scores_average_to_the_difference_in_balanced_accuracy():
    rng = np.random.default_rng(0)
    y = rng.choice(4, p=[0.6, 0.2, 0.15, 0.05], size=200)
    a, b = rng.integers(4, size=(2, 3, 200))
    D = paired_scores(y, a, b)
    expected = balanced_accuracy(confusion_matrix(y, a, 4)) - balanced_accuracy(
        confusion_matrix(y, b, 4)
    )
    np.testing.assert_allclose(D.mean(axis=1), expected)
    np.testing.assert_allclose(paired_scores(y, b, a), -D)


def test_a_table_without_variation():
    assert mrmc(np.zeros((3, 5))).p == 1
    sure = mrmc(np.ones((3, 5)))
    assert (sure.t, sure.p) == (np.inf, 0)
    for too_small in (np.zeros((1, 5)), np.zeros((5, 1)), np.zeros(5)):
        with pytest.raises(ValueError, match="two or more"):
            mrmc(too_small)


def test_needs_from_made_up_variance_components():
    # Var of one seed's mean 4e-4 (of which the images' residual is 1e-4), of one image 0.1.
    S, n, seed, image, error = 5, 400, 3e-4, 0.1, 0.04
    parts = Mrmc(0, 0, 0, 1, n * seed + error, S * image + error, error, S, n)
    got = needs(parts, 0.05)
    allowed = (0.05 / 2.8) ** 2
    assert got.images == int(np.ceil((image + error / S) / (allowed - seed / S)))
    assert got.seeds == int(np.ceil((seed + error / n) / (allowed - image / n)))
    # A difference far below what either alone could show.
    assert needs(parts, 0.02) == needs(parts, 0.01)
    assert (needs(parts, 0.01).images, needs(parts, 0.01).seeds) == (None, None)


def test_needs_recovers_what_the_simulated_world_was_made_of():
    # Twice the images the estimate asks for is tight, half is not: within a factor of two.
    world = World(n=400, seeds=10)
    guesses = []
    for seed in range(60):
        y, a, b = study(world, 0.0, np.random.default_rng(seed))
        guesses.append(needs(mrmc(paired_scores(y, a, b)), 0.06).images)
    typical = np.median([np.inf if g is None else g for g in guesses])

    def error(n):
        rng = np.random.default_rng(1)
        gaps = []
        for _ in range(200):
            y, a, b = study(world.at(n=n), 0.0, rng)
            gaps.append(paired_scores(y, a, b).mean())
        return 2.8 * np.std(gaps)

    assert error(int(typical / 2)) > 0.06 > error(int(typical * 2))
