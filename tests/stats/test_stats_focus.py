"""Means of localisation and the verdict against an untrained network."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from headstart.stats.bootstrap import Resampling, mean_replicates
from headstart.stats.focus import Verdict, compare_focus, means
from headstart.stats.intervals import percentile_interval

PLAN = Resampling(replicates=1000)


def lifts(mean, n=50, spread=0.3, seed=0):
    return mean + spread * np.random.default_rng(seed).normal(size=n)


def test_means_leave_out_what_was_not_measured():
    values = {"a": lifts(1.0), "b": lifts(2.0, seed=1)}
    values["b"][3] = np.nan
    use = np.arange(50) >= 10
    found = means(values, use, PLAN)
    picked = use & (np.arange(50) != 3)
    for name, row in values.items():
        assert found[name].value == pytest.approx(row[picked].mean())
        half = (found[name].high - found[name].low) / 2
        assert half == pytest.approx(1.96 * row[picked].std() / np.sqrt(picked.sum()), rel=0.15)


def test_means_of_nothing():
    found = means({"a": np.full(5, np.nan)}, plan=PLAN)
    assert np.isnan(found["a"]).all()


@pytest.mark.parametrize(("lift", "verdict"), [(1.8, "more"), (0.4, "less"), (1.0, "no more")])
def test_verdicts(lift, verdict):
    found = compare_focus(lifts(lift), lifts(1.0, seed=1), plan=PLAN)
    assert found.verdict == verdict
    assert found.verdict in get_args(Verdict)
    assert found.low < found.difference < found.high
    assert found.n == 50


def test_it_is_paired():
    """Images differ by far more than the two networks do, and it is still seen."""
    hard = lifts(1.0, spread=5)
    assert compare_focus(hard + 0.1, hard, plan=PLAN).verdict == "more"


def test_only_the_images_asked_for():
    one, other = lifts(1.0), lifts(1.0, seed=1)
    one[:25] += 5
    assert compare_focus(one, other, np.arange(50) < 25, PLAN).verdict == "more"
    assert compare_focus(one, other, np.arange(50) >= 25, PLAN).verdict == "no more"


def test_not_measured():
    """Five images at least, and of five groups."""
    lift = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 5.0])
    found = compare_focus(lift[:5], np.zeros(5))
    assert found.verdict == "not measured"
    assert found.n == 4
    assert np.isnan(found.difference)
    assert compare_focus(lift, np.zeros(6), plan=PLAN).verdict == "more"
    together = Resampling(replicates=1000, groups=np.array([0, 1, 2, 3, 4, 3]))
    found = compare_focus(lift, np.zeros(6), plan=together)
    assert found.verdict == "not measured"
    assert (found.n, found.units) == (5, 4)


def test_few_images_have_a_mean_without_an_interval():
    found = means({"a": np.array([1.0, 2.0, np.nan])}, plan=PLAN)["a"]
    assert found.value == 1.5
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("n", [6, 9])
def test_few_images_keep_the_level(n):
    """No effect, 400 studies: 5 % may find one; unwidened percentiles do in 10 to 14 %."""
    rng = np.random.default_rng(n)
    found = plain = 0
    for study in range(400):
        plan = Resampling(replicates=1000, seed=study)
        gaps = rng.normal(size=n)
        found += compare_focus(gaps, np.zeros(n), plan=plan).verdict != "no more"
        ends = percentile_interval(0, mean_replicates(gaps, plan)[0])
        plain += not ends.low <= 0 <= ends.high
    assert found <= 0.07 * 400 < plain
