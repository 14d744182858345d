"""Confusion matrices and the scores read off them.

Every score takes a confusion matrix, or a stack of them, and is a function of three totals only:
the diagonal, the row sums and the column sums. The bootstrap uses that to score ten thousand
resamples without building their matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.stats.intervals import wilson
from headstart.types import Doubles, Ints

Counts = npt.NDArray[Any]  # whole numbers, or the weighted counts of a resample


@dataclass(frozen=True, eq=False)
class Totals:
    """What a score needs from a confusion matrix, each of shape (..., K).

    ``hits`` is the diagonal, ``support`` the images of each true class, ``answered`` how often
    each class was predicted.
    """

    hits: Counts
    support: Counts
    answered: Counts


def confusion_matrix(y: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Ints:
    """Count true class (row) by predicted class (column).

    ``y`` is (n,), ``predicted`` (..., n), both in [0, classes); the result is (..., K, K), int64.
    Raises ``ValueError`` for empty input, for a class out of range and for unequal lengths.
    """
    truth, answers = np.asarray(y, np.int64), np.asarray(predicted, np.int64)
    if truth.ndim != 1 or truth.size == 0 or answers.shape[-1:] != truth.shape:
        raise ValueError(f"y {truth.shape} and predicted {answers.shape} do not fit together")
    for name, values in (("y", truth), ("predicted", answers)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name} holds a class outside 0..{classes - 1}")
    rows = answers.reshape(-1, truth.size)
    cells = np.arange(len(rows))[:, None] * classes**2 + truth * classes + rows
    counts = np.bincount(cells.ravel(), minlength=len(rows) * classes**2)
    return counts.reshape(*answers.shape[:-1], classes, classes).astype(np.int64)


def totals(M: npt.ArrayLike) -> Totals:
    """Diagonal, row sums and column sums of (..., K, K), each (..., K)."""
    M = np.asarray(M)
    return Totals(np.diagonal(M, axis1=-2, axis2=-1), M.sum(axis=-1), M.sum(axis=-2))


def _ratio(top: Counts, bottom: Counts) -> Doubles:
    """``top / bottom``, and 0 where ``bottom`` is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)


def _mean_over_present(values: Doubles, support: Counts) -> Doubles:
    present = support > 0
    return _ratio((values * present).sum(axis=-1), present.sum(axis=-1))


def _accuracy(t: Totals) -> Doubles:
    return _ratio(t.hits.sum(axis=-1), t.support.sum(axis=-1))


def _balanced_accuracy(t: Totals) -> Doubles:
    return _mean_over_present(_ratio(t.hits, t.support), t.support)


def _macro_f1(t: Totals) -> Doubles:
    return _mean_over_present(_ratio(2 * t.hits, t.support + t.answered), t.support)


def _kappa(t: Totals) -> Doubles:
    n = t.support.sum(axis=-1)
    observed = _ratio(t.hits.sum(axis=-1), n)
    expected = _ratio(_ratio((t.support * t.answered).sum(axis=-1), n), n)
    return _ratio(observed - expected, 1 - expected)


Score = Callable[[Totals], Doubles]
SCORES: dict[str, Score] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "accuracy": _accuracy,
    "kappa": _kappa,
}


def accuracy(M: npt.ArrayLike) -> Doubles:
    """Share of images answered correctly, in [0, 1]; (..., K, K) → (...)."""
    return _accuracy(totals(M))


def balanced_accuracy(M: npt.ArrayLike) -> Doubles:
    """Mean recall of the classes that have test images, in [0, 1]; chance is 1/K."""
    return _balanced_accuracy(totals(M))


def macro_f1(M: npt.ArrayLike) -> Doubles:
    """Mean of the per-class F1 = 2·hits/(true + predicted), in [0, 1].

    This is the mean of the F1 values, not the F1 of mean precision and mean recall (Opitz & Burst
    2019). A class never answered counts 0; a class without test images is left out, so that two
    arms are always averaged over the same classes.
    """
    return _macro_f1(totals(M))


def kappa(M: npt.ArrayLike) -> Doubles:
    """Cohen's κ = (observed − expected)/(1 − expected) agreement, in [−1, 1].

    0 for a constant prediction, and 0 where it is undefined (one class only).
    """
    return _kappa(totals(M))


METRICS: dict[str, Callable[[npt.ArrayLike], Doubles]] = {
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "kappa": kappa,
}


def cramers_v(M: npt.ArrayLike) -> Doubles:
    """Cramér's V = √(χ²/(n·min(rows−1, columns−1))), in [0, 1], over non-empty rows and columns.

    0 where it is undefined, as for a constant prediction. It measures dependence of any kind: a
    classifier that is always wrong in the same way has V = 1.
    """
    M = np.asarray(M, float)
    rows, columns = M.sum(axis=-1), M.sum(axis=-2)
    n = rows.sum(axis=-1)
    expected = _ratio(rows[..., :, None] * columns[..., None, :], n[..., None, None])
    chi2 = _ratio((M - expected) ** 2, expected).sum(axis=(-2, -1))
    freedom = np.minimum((rows > 0).sum(axis=-1), (columns > 0).sum(axis=-1)) - 1
    return np.sqrt(_ratio(chi2, n * freedom))


@dataclass(frozen=True, eq=False)
class PerClass:
    """One value per class, each (K,): precision, recall, F1, test images, 95 % Wilson of recall."""

    precision: Doubles
    recall: Doubles
    f1: Doubles
    support: Ints
    recall_low: Doubles
    recall_high: Doubles


def per_class(M: npt.ArrayLike) -> PerClass:
    """Precision, recall, F1 and support of every class of one (K, K) matrix of counts.

    A class without test images has recall 0 and the interval 0 to 1.
    """
    t = totals(M)
    low, high = wilson(t.hits, t.support)
    return PerClass(
        precision=_ratio(t.hits, t.answered),
        recall=_ratio(t.hits, t.support),
        f1=_ratio(2 * t.hits, t.support + t.answered),
        support=t.support.astype(np.int64),
        recall_low=low,
        recall_high=high,
    )
