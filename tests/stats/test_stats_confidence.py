"""Calibration and selective accuracy against plain loops, a fine grid, and what must come out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from headstart.stats.bootstrap import Resampling
from headstart.stats.confidence import (
    BINS,
    COLDEST,
    COVERAGES,
    HOTTEST,
    accuracy_at,
    calibration_error,
    fit_temperature,
    trust,
)

answers = st.lists(
    st.tuples(st.sampled_from([0.2, 0.3, 0.35, 0.5, 0.71, 0.9, 0.99, 1.0]), st.booleans()),
    min_size=1,
    max_size=80,
)


def slow_error(confidence, right):
    n = len(confidence)
    bins = {}
    for c, hit in zip(confidence, right, strict=True):
        lower = sum(1 for other in confidence if other < c)
        bins.setdefault(BINS * lower // n, []).append((c, hit))
    error = 0.0
    for members in bins.values():
        share = sum(hit for _, hit in members) / len(members)
        mean = sum(c for c, _ in members) / len(members)
        error += len(members) / n * abs(share - mean)
    return error


def slow_accuracy(confidence, right, coverage):
    """The answers one by one, the surest first; equals of the last one share what is left."""
    room = whole = coverage * len(confidence)
    got = 0.0
    for level in sorted(set(confidence), reverse=True):
        hits = [hit for c, hit in zip(confidence, right, strict=True) if c == level]
        taken = min(room, len(hits))
        got += taken * sum(hits) / len(hits)
        room -= taken
        if room <= 0:
            break
    return got / whole


def cross_entropy(logits, y, temperature):
    total = 0.0
    for row, truth in zip(np.asarray(logits) / temperature, y, strict=True):
        total -= row[truth] - max(row) - math.log(sum(math.exp(v - max(row)) for v in row))
    return total / len(y)


def made(n, classes=4, sharpness=1.0, seed=0):
    """Logits whose softmax, at temperature ``sharpness``, is the true distribution of ``y``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, classes))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    y = (rng.random((n, 1)) > cumulated).sum(axis=1).clip(max=classes - 1)
    return logits * sharpness, y


# --- against slow references ---------------------------------------------------------------------


@settings(deadline=None)
@given(answers)
def test_the_error_is_that_of_a_plain_loop(given_answers):
    confidence, right = zip(*given_answers, strict=True)
    got = calibration_error(confidence, right)
    assert got == pytest.approx(slow_error(confidence, right), abs=1e-12)
    assert 0 <= got <= 1


@settings(deadline=None)
@given(answers, st.sampled_from([*COVERAGES, 0.37]))
def test_accuracy_by_coverage_is_that_of_a_plain_loop(given_answers, coverage):
    confidence, right = zip(*given_answers, strict=True)
    got = accuracy_at(confidence, right, coverage)
    assert got == pytest.approx(slow_accuracy(confidence, right, coverage), abs=1e-12)


@settings(deadline=None)
@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_nothing(given_answers, random):
    mixed = list(given_answers)
    random.shuffle(mixed)
    for measure in (calibration_error, lambda c, r: accuracy_at(c, r, 0.5)):
        one, other = (measure(*zip(*rows, strict=True)) for rows in (given_answers, mixed))
        assert one == pytest.approx(other, abs=1e-12)


def test_confidences_without_equals_are_cut_into_bins_of_equal_size():
    rng = np.random.default_rng(3)
    confidence, right = rng.random(10 * BINS), rng.random(10 * BINS) < 0.5
    order = np.argsort(confidence)
    gaps = [right[part].mean() - confidence[part].mean() for part in np.split(order, BINS)]
    assert calibration_error(confidence, right) == pytest.approx(np.abs(gaps).mean())


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_best_of_a_fine_grid(sharpness):
    logits, y = made(300, sharpness=sharpness, seed=5)
    got = fit_temperature(logits, y)
    grid = np.exp(np.linspace(np.log(COLDEST), np.log(HOTTEST), 400))
    losses = [cross_entropy(logits, y, t) for t in grid]
    best = grid[int(np.argmin(losses))]
    assert got == pytest.approx(best, rel=0.01)
    assert cross_entropy(logits, y, got) <= min(losses) + 1e-12


# --- what must come out --------------------------------------------------------------------------


def test_a_temperature_undoes_what_was_multiplied():
    logits, y = made(20_000, seed=1)
    plain = fit_temperature(logits, y)
    assert plain == pytest.approx(1, abs=0.05)
    assert fit_temperature(logits * 3, y) == pytest.approx(3 * plain, rel=1e-6)
    assert fit_temperature(logits + 700, y) == pytest.approx(plain, rel=1e-6)


def test_temperatures_at_the_ends():
    y = np.array([0, 1, 2] * 4)
    assert fit_temperature(np.eye(3)[y], y) == COLDEST  # always right: never too sure
    assert fit_temperature(np.eye(3)[(y + 1) % 3], y) == HOTTEST  # always wrong
    assert fit_temperature(np.ones((12, 3)), y) == 1  # nothing to correct


def test_probabilities_that_are_exactly_right_have_no_error():
    confidence = np.repeat([0.25, 0.5, 0.75], 40)
    right = np.tile([True, False, False, False], 10).tolist()
    right += [True, False] * 20 + [True, True, True, False] * 10
    assert calibration_error(confidence, right) == pytest.approx(0, abs=1e-12)


def test_the_error_of_the_overconfident_is_what_they_claim_too_much():
    right = np.tile([True, True, False, False, False], 30)
    assert calibration_error(np.full(150, 0.95), right) == pytest.approx(0.55)
    assert calibration_error(np.ones(150), ~np.ones(150, bool)) == 1


def test_a_classifier_that_knows_when_it_is_wrong_gains_by_abstaining():
    confidence = np.linspace(0.3, 1, 10)
    right = np.arange(10) >= 2
    got = [accuracy_at(confidence, right, share) for share in COVERAGES]
    assert got == pytest.approx([0.8, 8 / 9, 1, 1])


def test_a_constant_answer_gains_nothing_by_abstaining():
    y = np.repeat([0, 1], [30, 70])
    found = trust(np.tile(np.log([0.3, 0.7]), (100, 1)), y, 1.0, Resampling(100))
    assert [i.value for i in found.accuracy.values()] == pytest.approx([0.7] * 4)
    assert found.before.value == pytest.approx(0, abs=1e-12)


# --- both together, with intervals ---------------------------------------------------------------


def test_trust_is_made_of_the_single_measures():
    logits, y = made(400, sharpness=3, seed=2)
    found = trust(logits, y, 3.0, Resampling(300))
    right = logits.argmax(1) == y
    for error, t in ((found.before, 1), (found.after, 3)):
        confidence = softmax(logits / t, axis=1).max(axis=1)
        assert error.value == pytest.approx(slow_error(confidence.tolist(), right.tolist()))
        assert 0 <= error.low <= error.value <= error.high <= 1
    confidence = softmax(logits, axis=1).max(axis=1).tolist()
    assert tuple(found.accuracy) == COVERAGES
    for share, (value, low, high) in found.accuracy.items():
        assert value == pytest.approx(slow_accuracy(confidence, right.tolist(), share))
        assert low <= value <= high
    assert found.before.low > found.before.by_chance  # clearly too confident
    assert found.after.low == 0  # and well calibrated with the temperature that was put in
    assert found == trust(logits, y, 3.0, Resampling(300))


def test_the_intervals_are_those_of_images_drawn_one_by_one():
    logits, y = made(120, sharpness=3, seed=4)
    found = trust(logits, y, 1.0, Resampling(2000))
    confidence, right = softmax(logits, axis=1).max(axis=1), logits.argmax(1) == y
    rng = np.random.default_rng(9)
    errors, kept = [], []
    for _ in range(600):
        drawn = np.concatenate([rng.choice(mine, len(mine)) for mine in members(y)])
        rows = confidence[drawn].tolist(), right[drawn].tolist()
        errors.append(slow_error(*rows))
        kept.append(slow_accuracy(*rows, 0.5))
    value, high = found.before.value, np.quantile(errors, 0.975)
    expected = [2 * value - high, high - np.mean(errors) + value]
    assert [found.before.low, found.before.high] == pytest.approx(expected, abs=0.015)
    assert found.accuracy[0.5][1:] == pytest.approx(np.quantile(kept, [0.025, 0.975]), abs=0.025)


def members(y):
    return [np.flatnonzero(y == c) for c in np.unique(y)]


def test_chance_alone_is_the_mean_error_of_calibrated_answers():
    logits, y = made(200, seed=6)
    found = trust(logits, y, 1.0, Resampling(50)).before
    confidence = softmax(logits, axis=1).max(axis=1)
    rng = np.random.default_rng(8)
    drawn = [slow_error(confidence.tolist(), rng.random(200) < confidence) for _ in range(200)]
    assert found.by_chance == pytest.approx(np.mean(drawn), abs=0.006)


def test_the_interval_of_the_error_covers_the_truth():
    """Calibrated answers, whose true error is 0: percentiles would never cover it."""
    covered = 0
    for seed in range(40):
        logits, y = made(200, seed=100 + seed)
        covered += trust(logits, y, 1.0, Resampling(60)).before.low == 0
    assert covered >= 35  # of 40 at 97.5 %, fewer with a chance of 1 in 1000


@pytest.mark.parametrize(
    ("logits", "y"), [(np.zeros((0, 3)), []), (np.zeros((2, 3)), [0]), (np.zeros(3), [0, 1, 2])]
)
def test_what_does_not_fit_is_refused(logits, y):
    with pytest.raises(ValueError, match="do not fit together"):
        fit_temperature(logits, y)
    with pytest.raises(ValueError, match="do not fit together"):
        trust(logits, y, 1.0)
