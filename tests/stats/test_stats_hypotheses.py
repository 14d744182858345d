from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference_study import ANALYSIS, CONSTANT, MATRICES
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from headstart.stats import hypotheses
from headstart.stats.hypotheses import (
    against_majority,
    chance_test,
    chi2_independence,
    holm,
    mcnemar_exact,
    mcnemar_midp,
)
from headstart.stats.metrics import METRICS

counts = st.integers(0, 60)


@settings(deadline=None)
@given(counts, counts)
def test_exact_mcnemar_is_statsmodels(b, c):
    expected = mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected)


@settings(deadline=None)
@given(counts, counts)
def test_midp_counts_the_observed_table_by_half(b, c):
    # Straight from the definition: half of every outcome as likely as the observed, all of those
    # less likely.
    n = b + c
    chance = stats.binom.pmf(np.arange(n + 1), n, 0.5)
    distance = np.abs(np.arange(n + 1) - n / 2)
    as_far, farther = distance == abs(b - n / 2), distance > abs(b - n / 2)
    expected = chance[farther].sum() + 0.5 * chance[as_far].sum()
    if b == c:
        expected = 1 - 0.5 * chance[b] if n else 1.0
    assert mcnemar_midp(b, c) == pytest.approx(expected)
    assert mcnemar_midp(b, c) == mcnemar_midp(c, b)
    assert 0 < mcnemar_midp(b, c) <= mcnemar_exact(b, c) <= 1


def test_fewest_discordant_pairs_that_can_reach_five_percent():
    assert min(n for n in range(1, 20) if mcnemar_midp(n, 0) < 0.05) == 5
    assert min(n for n in range(1, 20) if mcnemar_exact(n, 0) < 0.05) == 6


def test_holm_is_statsmodels():
    # Few cases: statsmodels collects garbage on every call.
    for seed, m in ((0, 1), (1, 4), (2, 12)):
        p = np.random.default_rng(seed).beta(0.3, 3, size=m)
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


@settings(deadline=None)
@given(st.lists(st.floats(1e-8, 1), min_size=1, max_size=12))
def test_holm_rejects_step_by_step(p):
    corrected = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (len(p) - step) > level:
                break
            rejected.add(int(i))
        assert rejected == set(np.flatnonzero(corrected <= level).tolist())
    assert (corrected >= p).all()
    assert (corrected <= 1).all()


def test_chance_test_against_every_permutation():
    y, predicted = np.array([0, 0, 0, 1, 1, 2, 2]), [0, 0, 1, 1, 1, 2, 0]
    M = np.zeros((3, 3), int)
    np.add.at(M, (y, predicted), 1)
    score = METRICS["balanced_accuracy"]

    def scored(answers):
        table = np.zeros((3, 3), int)
        np.add.at(table, (y, answers), 1)
        return float(score(table))

    null = np.array([scored(list(order)) for order in permutations(predicted)])
    expected = (null >= score(M) - 1e-12).mean()
    got = chance_test(M, replicates=20_000)
    assert got.p == pytest.approx(expected, rel=0.1)
    assert got.observed == pytest.approx(float(score(M)))
    assert got.low == pytest.approx(np.quantile(null, 0.025), abs=1e-9)


def test_chance_test_holds_its_level():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(400):
        y, predicted = rng.integers(4, size=(2, 200))
        M = np.zeros((4, 4), int)
        np.add.at(M, (y, predicted), 1)
        p.append(chance_test(M, replicates=199, seed=seed).p)
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_chance_test_does_not_depend_on_the_size_of_its_blocks(monkeypatch):
    M = MATRICES["SimSiam 180"]
    whole = chance_test(M, replicates=500)
    monkeypatch.setattr(hypotheses, "CELLS", 81 * 37)
    parts = chance_test(M, replicates=500)
    assert parts.low == pytest.approx(whole.low, abs=5e-3)
    assert 0 < parts.p < 0.05


@pytest.mark.parametrize("name", ANALYSIS)
def test_reference_study_tests(name):
    M, analysis = MATRICES[name], ANALYSIS[name]
    got = chi2_independence(M)
    assert (round(got.chi2, 1), got.df) == (analysis.chi2, analysis.df)
    assert round(got.cramers_v, 3) == analysis.v
    figures = 0 if analysis.p < 0.01 else 1
    assert f"{got.p:.{figures}e}" == f"{analysis.p:.{figures}e}"
    majority = against_majority(M)
    assert majority.gain == analysis.gain
    figures = 0 if analysis.majority_p < 0.01 else 1
    assert f"{majority.p:.{figures}e}" == f"{analysis.majority_p:.{figures}e}"
    null = chance_test(M, "accuracy", replicates=2000)
    assert (null.low, null.high) == pytest.approx(
        (analysis.null_low, analysis.null_high), abs=1.2e-3
    )


def test_reference_study_who_beats_chance():
    p = {name: chance_test(MATRICES[name], replicates=2000).p for name in ANALYSIS}
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    assert {name for name, q in corrected.items() if q > 0.05} == {"SimCLR 2", "SimSiam 2"}
    assert corrected["SimSiam 180"] == pytest.approx(0.006, abs=0.006)


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_answer_passes_no_test(name):
    M = MATRICES[name]
    assert chance_test(M, replicates=100).p == 1
    assert (against_majority(M).gain, against_majority(M).p) == (0, 1)
    got = chi2_independence(M)
    assert (got.chi2, got.df, got.p, got.cramers_v) == (0, 0, 1, 0)


@settings(deadline=None)
@given(hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 20)))
def test_majority_from_the_images_themselves(M):
    if M.sum() == 0:
        return
    rows, columns = np.indices(M.shape)
    y, predicted = np.repeat(rows.ravel(), M.ravel()), np.repeat(columns.ravel(), M.ravel())
    majority = np.bincount(y).argmax()
    won = int(((predicted == y) & (y != majority)).sum())
    lost = int(((predicted != y) & (y == majority)).sum())
    got = against_majority(M)
    assert (got.won, got.lost, got.p) == (won, lost, mcnemar_exact(won, lost))
