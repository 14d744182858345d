from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_study import MATRICES
from scipy import stats
from simulated_studies import World, study
from sklearn import metrics as sk

from headstart.stats import bootstrap
from headstart.stats.bootstrap import (
    Resampling,
    bootstrap_metrics,
    curve_replicates,
    estimate,
    few_seeds,
)
from headstart.stats.metrics import METRICS
from headstart.stats.mrmc import mrmc
from two_arms import crossed_bootstrap

SCIKIT = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda y, p, sample_weight=None: sk.f1_score(
        y, p, average="macro", zero_division=0, sample_weight=sample_weight
    ),
    "kappa": lambda y, p, sample_weight=None: sk.cohen_kappa_score(
        y, p, sample_weight=sample_weight
    ),
}


def small_study(seed=0, n=60, arms=2, fractions=2, seeds=3, classes=3):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    right = rng.random((arms, fractions, seeds, n)) < 0.6
    return y, np.where(right, y, rng.integers(classes, size=right.shape))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("grouped", [False, True])
def test_every_replicate_is_what_scikit_learn_says_of_the_drawn_images(metric, grouped):
    y, predicted = small_study()
    # Groups of two or three images, some of which hold several classes.
    groups = np.random.default_rng(7).permutation(len(y)) // 3 if grouped else None
    plan = Resampling(12, seed=5, groups=groups)
    curves = curve_replicates(y, predicted, metric, plan)
    # The same draws, made one image at a time.
    units, strata = bootstrap._units(y, groups)
    rng = np.random.default_rng(5)
    seed_times = bootstrap._draw(rng, np.zeros(3, np.int64), 12)
    image_times = bootstrap._draw(rng, strata, 12)[units]
    for b, arm, fraction in product(range(12), range(2), range(2)):
        scores = [
            SCIKIT[metric](y, predicted[arm, fraction, s], sample_weight=image_times[:, b])
            for s in range(3)
        ]
        expected = np.average(scores, weights=seed_times[:, b])
        assert curves.replicates[arm, b, fraction] == pytest.approx(expected)
        seeds = [SCIKIT[metric](y, predicted[arm, fraction, s]) for s in range(3)]
        assert curves.per_seed[arm, fraction] == pytest.approx(seeds)
        assert curves.observed[arm, fraction] == pytest.approx(np.mean(seeds))


def test_draws_are_with_replacement_within_stratum():
    strata = np.array([0] * 5 + [1] * 3 + [4])
    times = bootstrap._draw(np.random.default_rng(0), strata, 20_000)
    for stratum, size in ((0, 5), (1, 3), (4, 1)):
        inside = times[strata == stratum]
        assert (inside.sum(axis=0) == size).all()
        # Each unit's count is binomial(size, 1/size).
        expected = stats.binom.pmf(np.arange(size + 1), size, 1 / size)
        seen = np.bincount(inside[0].astype(int), minlength=size + 1) / 20_000
        np.testing.assert_allclose(seen, expected, atol=0.012)
        if size > 1:
            assert np.corrcoef(inside)[0, 1] == pytest.approx(-1 / (size - 1), abs=0.03)


def test_groups_are_drawn_whole_and_belong_to_the_class_they_mostly_hold():
    y = np.array([0, 0, 1, 1, 1, 2, 2])
    groups = np.array([9, 9, 9, 4, 4, 7, 8])
    units, strata = bootstrap._units(y, groups)
    assert (np.diff(strata) >= 0).all()
    assert [int(strata[u]) for u in units] == [0, 0, 0, 1, 1, 2, 2]
    assert units[0] == units[1] == units[2] != units[3] == units[4]
    assert units[5] != units[6]


def test_groups_widen_the_interval_when_images_are_copies():
    y, a, b = study(World(n=100, seeds=1), 0.0, np.random.default_rng(0))
    copies = np.tile(np.arange(100), 4)
    args = (y[copies], a[:, copies], b[:, copies])
    naive = crossed_bootstrap(*args, plan=Resampling(4000))
    grouped = crossed_bootstrap(*args, plan=Resampling(4000, groups=copies))
    once = crossed_bootstrap(y, a, b, plan=Resampling(4000))
    width = once.high - once.low
    assert naive.high - naive.low == pytest.approx(width / 2, rel=0.12)
    assert grouped.high - grouped.low == pytest.approx(width, rel=0.06)


def test_one_seed_resamples_images_only():
    # Classes alternate so that accuracy has the stratified binomial variance, in closed form.
    rng = np.random.default_rng(3)
    y = np.arange(400) % 2
    a = np.where(rng.random(400) < np.where(y == 0, 0.9, 0.6), y, 1 - y)
    curves = curve_replicates(y, a[None, None, None], "accuracy", Resampling(20_000))
    p = [(a == y)[y == k].mean() for k in (0, 1)]
    variance = sum(0.25 * q * (1 - q) / 200 for q in p)
    assert curves.replicates.std() == pytest.approx(np.sqrt(variance), rel=0.02)


def test_seeds_are_drawn_as_enumeration_says():
    # One image a class: resampling images within class changes nothing, only seeds are left.
    y = np.arange(10)
    wrong = (y + 1) % 10
    a = np.array([np.where(y < k, y, wrong) for k in (3, 5, 9)])
    b = np.array([np.where(y < k, y, wrong) for k in (2, 6, 5)])
    drawn = curve_replicates(y, np.stack([a, b])[:, None], "accuracy", Resampling(20_000))
    replicates = drawn.replicates[0, :, 0] - drawn.replicates[1, :, 0]
    gaps = np.array([0.1, -0.1, 0.4])
    every = np.array([gaps[list(draw)].mean() for draw in product(range(3), repeat=3)])
    values, times = np.unique(every.round(6), return_counts=True)
    seen = [(np.abs(replicates - v) < 1e-5).mean() for v in values]
    np.testing.assert_allclose(seen, times / 27, atol=0.012)


def test_label_draws_of_a_seed_are_averaged_before_seeds_are_drawn():
    y = np.arange(10)
    right = np.array([[3, 5], [6, 6], [9, 4]])  # seeds × draws
    a = np.array([np.where(y < k, y, (y + 1) % 10) for k in right.ravel()])
    plan = Resampling(20_000, runs=np.repeat(np.arange(3), 2))
    drawn = curve_replicates(y, a[None, None], "accuracy", plan)
    means = right.mean(axis=1) / 10
    assert drawn.per_seed[0, 0] == pytest.approx(means)
    every = np.array([means[list(draw)].mean() for draw in product(range(3), repeat=3)])
    values, times = np.unique(every.round(6), return_counts=True)
    seen = [(np.abs(drawn.replicates[0, :, 0] - v) < 1e-5).mean() for v in values]
    np.testing.assert_allclose(seen, times / 27, atol=0.012)


def test_runs_that_are_seeds_of_their_own_change_nothing():
    y, predicted = small_study()
    plain = curve_replicates(y, predicted, plan=Resampling(50))
    numbered = curve_replicates(y, predicted, plan=Resampling(50, runs=np.arange(3)))
    assert np.array_equal(plain.replicates, numbered.replicates)


@pytest.mark.parametrize("runs", [[0, 1], [0, 2, 2], [-1, 0, 1]])
def test_runs_that_number_no_seeds_are_refused(runs):
    y, predicted = small_study()
    with pytest.raises(ValueError, match="do not number"):
        curve_replicates(y, predicted, plan=Resampling(10, runs=np.array(runs)))


def test_few_seeds_are_given_the_t_interval_when_images_say_nothing():
    y = np.arange(10)
    right = np.array([4, 5, 9, 7])
    a = np.array([np.where(y < k, y, (y + 1) % 10) for k in right])
    b = np.broadcast_to((y + 1) % 10, (4, 10))
    got = crossed_bootstrap(y, a, b, "accuracy", Resampling(20_000))
    gaps = right / 10
    reach = stats.t.ppf(0.975, 3) / stats.norm.ppf(0.975) * gaps.std(ddof=1) / 2
    assert got.difference == pytest.approx(gaps.mean())
    assert got.replicates.std() == pytest.approx(reach, rel=0.02)


def test_few_seeds_change_nothing_when_images_decide():
    replicates = np.random.default_rng(0).standard_normal(1000)
    assert few_seeds(replicates, np.array([0.1, 0.1])) == 1
    assert few_seeds(replicates, np.array([0.3])) == 1
    assert few_seeds(replicates, np.array([0.001, -0.001, 0.0])) == pytest.approx(1, abs=1e-3)
    assert few_seeds(np.zeros(10), np.array([0.1, 0.2])) == 1
    assert few_seeds(replicates, np.array([1.0, -1.0])) > 2


def test_variance_is_that_of_the_two_way_table():
    # With one class, a replicate averages S drawn rows by n drawn columns of the table D. Its
    # variance follows from the table's mean squares: every effect at its own number of draws.
    y, a, b = study(World(n=80, seeds=4, seed_spread=0.3), 0.1, np.random.default_rng(2))
    right = np.array([a == y, b == y]).astype(int)
    D = right[0] - right[1]
    S, n = D.shape
    parts = mrmc(D)
    seed = parts.ms_seed * (S - 1) / (S * n)
    image = parts.ms_image * (n - 1) / (n * S)
    rest = parts.ms_error * (S - 1) * (n - 1) / (S * n)
    plan = Resampling(40_000)
    got = curve_replicates(np.ones(n, int), right[:, None], "accuracy", plan)
    gaps = got.replicates[0] - got.replicates[1]
    assert got.observed[0, 0] - got.observed[1, 0] == pytest.approx(parts.difference)
    assert gaps.var() == pytest.approx(seed / S + image / n + rest / (S * n), rel=0.03)


def test_paired_images_narrow_the_interval():
    y, a, _ = study(World(n=400, seeds=1), 0.0, np.random.default_rng(1))
    b = a.copy()
    b[:, :10] = (y[:10] + 1) % 5  # differs on few images
    paired = crossed_bootstrap(y, a, b, plan=Resampling(2000))
    c = curve_replicates(y, np.stack([a, b])[:, None], plan=Resampling(2000))
    unpaired = np.sqrt(c.replicates[0].var() + c.replicates[1].var())
    assert paired.replicates.std() < 0.5 * unpaired


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(METRICS)))
def test_swapping_the_arms_mirrors_everything(seed, metric):
    y, predicted = small_study(seed)
    a, b = predicted[:, 0]
    plan = Resampling(199, seed=seed)
    one, other = crossed_bootstrap(y, a, b, metric, plan), crossed_bootstrap(y, b, a, metric, plan)
    mirrored = (-other.difference, -other.high, -other.low, -other.high90, -other.low90, other.p)
    got = (one.difference, one.low, one.high, one.low90, one.high90, one.p)
    assert got == pytest.approx(mirrored, abs=1e-12)
    assert 0 < one.p <= 1
    assert one.low <= one.low90 <= one.high90 <= one.high


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(sorted(METRICS)))
def test_neither_the_order_of_images_nor_the_names_of_classes_matter(seed, metric):
    y, predicted = small_study(seed)
    rng = np.random.default_rng(seed)
    rows, names = rng.permutation(len(y)), rng.permutation(3)
    plan = Resampling(4000)
    straight = crossed_bootstrap(y, *predicted[:, 0], metric, plan)
    moved = predicted[:, 0][..., rows]
    shuffled = crossed_bootstrap(names[y[rows]], *names[moved], metric, plan)
    assert shuffled.difference == pytest.approx(straight.difference)
    # Other images fall to each draw, so the replicates agree in distribution only.
    spread = straight.replicates.std()
    assert shuffled.replicates.std() == pytest.approx(spread, rel=0.06)
    assert shuffled.replicates.mean() == pytest.approx(
        straight.replicates.mean(), abs=0.08 * spread
    )


def test_the_draws_do_not_depend_on_what_else_is_compared():
    y, predicted = small_study(arms=3, fractions=3)
    plan = Resampling(600, seed=2)  # more than one block
    everything = curve_replicates(y, predicted, plan=plan)
    pair = curve_replicates(y, predicted[[0, 2], 1:2], plan=plan)
    np.testing.assert_allclose(pair.replicates[..., 0], everything.replicates[[0, 2], :, 1])
    assert everything.replicates.shape == (3, 600, 3)


def test_equal_arms_have_no_difference_and_p_1():
    y, predicted = small_study()
    got = crossed_bootstrap(y, predicted[0, 0], predicted[0, 0], plan=Resampling(300))
    assert (got.difference, got.low, got.high, got.p) == (0, 0, 0, 1)


def test_p_follows_its_formula():
    replicates = np.array([-1.0] * 3 + [0.0] * 2 + [1.0] * 94)
    one = np.array([0.5])
    assert estimate(replicates, one).p == pytest.approx(2 * (5 + 1) / 100)
    assert estimate(np.ones(999), one).p == pytest.approx(2 / 1000)


@pytest.mark.parametrize("metric", METRICS)
def test_matrix_bootstrap_is_the_resampling_of_its_images(metric):
    M = MATRICES["SimSiam 1500"] // 20 + 1
    rows, columns = np.indices(M.shape)
    y, predicted = np.repeat(rows.ravel(), M.ravel()), np.repeat(columns.ravel(), M.ravel())
    images = curve_replicates(y, predicted[None, None, None], metric, Resampling(8000))
    got = bootstrap_metrics(M, 8000)[metric]
    # Accuracy moves in steps of one image, which a quantile may fall on either side of.
    step = 1.01 / M.sum() if metric == "accuracy" else 0.1 * images.replicates.std()
    assert got.value == pytest.approx(float(METRICS[metric](M)))
    assert got.low == pytest.approx(np.quantile(images.replicates, 0.025), abs=step)
    assert got.high == pytest.approx(np.quantile(images.replicates, 0.975), abs=step)


def test_reference_study_intervals():
    got = bootstrap_metrics(MATRICES["Supervised"], 4000)
    for name, low, high in (
        ("balanced_accuracy", 0.269, 0.293),
        ("macro_f1", 0.225, 0.246),
        ("kappa", 0.158, 0.184),
    ):
        assert (got[name].low, got[name].high) == pytest.approx((low, high), abs=1.6e-3)


def test_matrix_bootstrap_with_an_empty_class():
    got = bootstrap_metrics([[5, 5, 0], [0, 0, 0], [1, 0, 9]], 500)
    assert got["balanced_accuracy"].value == pytest.approx(0.7)
    assert got["balanced_accuracy"].low > 0.4


@pytest.mark.parametrize(
    ("shape", "plan"),
    [
        ((2, 1, 3, 9), Resampling(10)),
        ((2, 3, 10), Resampling(10)),
        ((2, 1, 0, 10), Resampling(10)),
        ((2, 1, 3, 10), Resampling(0)),
        ((2, 1, 3, 10), Resampling(10, groups=np.arange(4))),
    ],
)
def test_what_does_not_fit_is_refused(shape, plan):
    y = np.arange(10) % 2
    with pytest.raises(ValueError, match=r"do not fit|is not \(arms|at least 1"):
        curve_replicates(y, np.zeros(shape, int), plan=plan)


def test_unknown_metric_is_refused():
    with pytest.raises(KeyError, match="auc"):
        curve_replicates([0, 1], np.zeros((1, 1, 1, 2), int), "auc")
