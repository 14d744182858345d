"""The trial tells a choice that helps from one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.stages.suggest.trial import (
    DRAWS,
    FEWEST_ADDED,
    METRIC,
    Budget,
    Known,
    Trial,
    best_strength,
    compete,
    judged,
    scaled_down,
    try_out,
)
from headstart.stages.suggest.typical import scaled


def silent(done: int, total: int) -> None:
    """Drop it."""


def classes(count: int, sizes: list[int], spread: float, seed: int = 0) -> Known:
    """``count`` classes around an axis each, with so many images."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(count), sizes)
    x = np.eye(count, 24, dtype=np.float32)[y]
    x += spread * rng.standard_normal(x.shape).astype(np.float32)
    order = rng.permutation(len(y))
    return Known(scaled(x[order]), y[order])


def test_coverage_beats_chance_where_rare_classes_are_groups_of_their_own() -> None:
    train = classes(8, [150, 150, 6, 6, 6, 6, 6, 6], 0.05)
    judge = classes(8, [10] * 8, 0.05, seed=1)
    budget = Budget(0, 10)
    answers = compete(train, judge, budget, list(range(6)), silent)
    best = best_strength(judge.y, answers[1])
    trial = judged(budget, judge.y, answers[:, best])
    assert trial.verdict == "better"
    assert trial.suggested > trial.random + 0.2
    assert "+" in trial.sentence
    assert "It beats random choice here." in trial.sentence


def test_noise_is_not_said_to_help() -> None:
    rng = np.random.default_rng(0)
    train, judge = (
        Known(scaled(rng.standard_normal((n, 8)).astype(np.float32)), rng.integers(4, size=n))
        for n in (120, 60)
    )
    trial = try_out(train, judge, 60, 0, silent)
    assert trial is not None
    assert trial.verdict == "not shown"
    assert trial.difference.low < 0 < trial.difference.high
    assert "does not beat random choice" in trial.sentence


@pytest.mark.slow
def test_a_gain_is_hardly_ever_claimed_of_noise() -> None:
    """Sixty sets whose features know nothing: a 95 % interval may lie above 0 for one or two."""
    said = []
    for k in range(60):
        rng = np.random.default_rng(1000 + k)
        train, judge = (
            Known(scaled(rng.standard_normal((n, 12)).astype(np.float32)), rng.integers(4, size=n))
            for n in (120, 80)
        )
        trial = try_out(train, judge, 40, 100 * k, silent)
        assert trial is not None
        said.append(trial.verdict)
    assert said.count("better") <= 4


def test_scores_are_balanced_accuracies_and_their_difference() -> None:
    y = np.array([0, 0, 0, 1])
    answers = np.array([[[0, 0, 0, 0], [0, 0, 1, 1]], [[1, 1, 1, 1], [1, 1, 1, 1]]])
    trial = judged(Budget(0, 5), y, answers)
    assert trial.suggested == pytest.approx((0.5 + (2 / 3 + 1) / 2) / 2)
    assert trial.random == pytest.approx(0.5)
    assert trial.difference.difference == pytest.approx(trial.suggested - trial.random)


def test_the_strength_is_the_one_that_suits_random_images() -> None:
    y = np.array([0, 0, 1, 1])
    answers = np.array([[[0, 0, 0, 0]], [[0, 0, 1, 1]], [[1, 1, 1, 1]]])
    assert best_strength(y, answers) == 1


@pytest.mark.parametrize(("labelled", "n"), [(50, 100), (270, 100), (270, 20), (3000, 100)])
def test_the_labelled_images_play_the_real_proportion(labelled: int, n: int) -> None:
    budget = scaled_down(labelled, n)
    assert budget is not None
    assert budget.start + 4 * budget.added == labelled
    assert budget.added / budget.start == pytest.approx(n / labelled, rel=0.25)


def test_at_least_five_are_added() -> None:
    assert scaled_down(270, 1) == Budget(250, FEWEST_ADDED)
    assert scaled_down(20, 1) == Budget(0, FEWEST_ADDED)
    assert scaled_down(19, 1) is None


def test_too_few_images_make_no_trial() -> None:
    judge = classes(3, [10] * 3, 0.1)
    assert try_out(classes(3, [5] * 3, 0.1), judge, 2, 0, silent) is None
    assert try_out(classes(3, [30] * 3, 0.1), classes(3, [5] * 3, 0.1), 60, 0, silent) is None
    assert try_out(classes(3, [30] * 3, 0.1), judge, 60, 0, silent) is not None


def test_both_learn_from_the_same_start_and_the_bar_moves() -> None:
    train, judge = classes(3, [30] * 3, 0.4), classes(3, [10] * 3, 0.4, seed=1)
    bar: list[tuple[int, int]] = []
    budget = Budget(40, 0)  # nothing is added: both are the start alone
    answers = compete(train, judge, budget, [3, 4], lambda done, total: bar.append((done, total)))
    assert answers.shape[0] == 2
    assert answers.shape[2:] == (2, 30)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert bar == [(0, 2), (1, 2), (2, 2)]


def test_a_trial_that_does_worse_says_so() -> None:
    y = np.repeat(np.arange(4), 20)
    good, bad = np.tile(y, (DRAWS, 1)), np.zeros((DRAWS, 80), np.int64)
    trial: Trial = judged(Budget(10, 5), y, np.stack([bad, good]))
    assert trial.verdict == "worse"
    assert "label random images instead" in trial.sentence
    assert METRIC.replace("_", " ") in trial.sentence
