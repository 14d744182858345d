from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference_study import ANALYSIS, CONSTANT, MATRICES
from scipy.stats import contingency
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from headstart.stats import metrics
from headstart.stats.intervals import percentile_interval, wilson

matrices = (
    st.integers(2, 6)
    .flatmap(lambda k: hnp.arrays(np.int64, (k, k), elements=st.integers(0, 30)))
    .filter(lambda M: M.sum() > 0)
)


def spelled_out(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true and the predicted class of every image."""
    rows, columns = np.indices(M.shape)
    return np.repeat(rows.ravel(), M.ravel()), np.repeat(columns.ravel(), M.ravel())


def test_confusion_matrix_is_scikit_learns():
    rng = np.random.default_rng(1)
    y, predicted = rng.integers(7, size=400), rng.integers(7, size=(3, 2, 400))
    M = metrics.confusion_matrix(y, predicted, 7)
    assert M.shape == (3, 2, 7, 7)
    for i, j in np.ndindex(3, 2):
        assert (M[i, j] == sk.confusion_matrix(y, predicted[i, j], labels=range(7))).all()


@pytest.mark.parametrize(
    ("y", "predicted"),
    [([], []), ([0, 3], [0, 1]), ([0, -1], [0, 1]), ([0, 1], [0, 3]), ([0, 1], [0, 1, 1])],
)
def test_confusion_matrix_refuses_what_does_not_fit(y, predicted):
    with pytest.raises(ValueError, match=r"class outside|do not fit"):
        metrics.confusion_matrix(y, predicted, 3)


@settings(deadline=None)
@given(matrices)
def test_scores_are_scikit_learns(M):
    y, predicted = spelled_out(M)
    present = np.flatnonzero(M.sum(axis=1))
    f1 = sk.f1_score(y, predicted, labels=present, average="macro", zero_division=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without images, and a single class
        balanced = sk.balanced_accuracy_score(y, predicted)
        kappa = sk.cohen_kappa_score(y, predicted)
    assert metrics.accuracy(M) == pytest.approx(sk.accuracy_score(y, predicted))
    assert metrics.balanced_accuracy(M) == pytest.approx(balanced)
    assert metrics.macro_f1(M) == pytest.approx(f1)
    assert metrics.kappa(M) == pytest.approx(np.nan_to_num(kappa), abs=1e-12)


@settings(deadline=None)
@given(matrices)
def test_cramers_v_is_scipys(M):
    kept = M[M.sum(axis=1) > 0][:, M.sum(axis=0) > 0]
    expected = contingency.association(kept, method="cramer") if min(kept.shape) > 1 else 0.0
    assert metrics.cramers_v(M) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(matrices, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_classes(M, random):
    order = random.sample(range(len(M)), len(M))
    for metric in (*metrics.METRICS.values(), metrics.cramers_v):
        assert metric(M[np.ix_(order, order)]) == pytest.approx(float(metric(M)), abs=1e-12)


def test_a_stack_is_scored_like_its_members():
    rng = np.random.default_rng(2)
    stack = rng.integers(20, size=(3, 4, 5, 5))
    stack[0, 0, 2] = 0  # a class without images
    for metric in (*metrics.METRICS.values(), metrics.cramers_v):
        scores = metric(stack)
        assert scores.shape == (3, 4)
        for at in np.ndindex(3, 4):
            assert scores[at] == float(metric(stack[at]))


def test_a_class_without_test_images_is_left_out():
    M = np.array([[8, 0, 2], [0, 0, 0], [1, 4, 5]])
    assert metrics.balanced_accuracy(M) == pytest.approx((0.8 + 0.5) / 2)
    assert metrics.macro_f1(M) == pytest.approx((16 / 19 + 10 / 17) / 2)


@pytest.mark.parametrize("name", ANALYSIS)
def test_reference_study_scores(name):
    M, published = MATRICES[name], ANALYSIS[name]
    low, high = wilson(np.trace(M), M.sum())
    got = [f(M) for f in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1)]
    got += [metrics.kappa(M), metrics.cramers_v(M), low, high]
    p = published
    printed = [p.accuracy, p.balanced_accuracy, p.macro_f1, p.kappa, p.v]
    printed += [p.accuracy_low, p.accuracy_high]
    assert [round(float(x), 3) for x in got] == printed


@pytest.mark.parametrize("name", CONSTANT)
def test_reference_study_constant_answers(name):
    M = MATRICES[name]
    assert metrics.balanced_accuracy(M) == 1 / 9
    assert round(float(metrics.accuracy(M)), 4) == 0.2802
    assert round(float(metrics.macro_f1(M)), 4) == 0.0486
    assert metrics.kappa(M) == 0
    assert metrics.cramers_v(M) == 0


def test_per_class_is_scikit_learns():
    M = MATRICES["SimCLR 1500"]
    precision, recall, f1, support = sk.precision_recall_fscore_support(*spelled_out(M))
    got = metrics.per_class(M)
    for ours, theirs in ((got.precision, precision), (got.recall, recall), (got.f1, f1)):
        np.testing.assert_allclose(ours, theirs)
    np.testing.assert_array_equal(got.support, support)
    low, high = proportion_confint(np.diag(M), support, method="wilson")
    np.testing.assert_allclose([got.recall_low, got.recall_high], [low, high])


def test_per_class_of_a_class_without_images():
    got = metrics.per_class([[3, 1], [0, 0]])
    assert (got.recall[1], got.recall_low[1], got.recall_high[1]) == (0, 0, 1)


@settings(deadline=None)
@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_statsmodels(n, data, level):
    k = data.draw(st.integers(0, n))
    expected = proportion_confint(k, n, alpha=1 - level, method="wilson")
    low, high = wilson(k, n, level)
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= k / n <= high <= 1


def test_wilson_without_trials_knows_nothing():
    assert [float(end) for end in wilson(0, 0)] == [0, 1]


def test_percentile_interval_is_the_middle():
    got = percentile_interval(0.3, np.arange(1001) / 1000)
    assert got == (0.3, pytest.approx(0.025), pytest.approx(0.975))
