"""Label curves: their area, and how many labels a method saves.

A label curve gives the score against the number of labels n. Two curves compare in one number by
the area between them in ln n, and in labels by asking how many the baseline needs to do as well
(the utility of Newell & Deng 2020, n̂/n).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from headstart.stats.bootstrap import Curves, Estimate, estimate
from headstart.types import Doubles

# A saving is quoted as a number only where supervised training had at least this many times the
# labels to show it with; nearer to the largest count the upper limit is nearly always out of sight.
HEADROOM = 4


def isotonic(scores: npt.ArrayLike) -> Doubles:
    """The non-decreasing sequence nearest to the last axis of ``scores`` (..., F) in squares.

    By the min-max formula max_{i≤j} min_{k≥j} mean(i..k), which is what pooling adjacent violators
    finds, written for all replicates at once.
    """
    scores = np.asarray(scores, float)
    F = scores.shape[-1]
    sums = np.concatenate([np.zeros((*scores.shape[:-1], 1)), scores.cumsum(axis=-1)], axis=-1)
    fit = np.full(scores.shape, -inf)
    for i in range(F):
        means = (sums[..., i + 1 :] - sums[..., i : i + 1]) / np.arange(1, F - i + 1)
        best = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]  # min over k ≥ j
        fit[..., i:] = np.maximum(fit[..., i:], best)
    return fit


def area_under_label_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Doubles:
    """Mean height of curves (..., F) over ln n (trapezoid), in the score's own unit.

    ``labels`` (F,) must increase and have at least two entries, else ``ValueError``.
    """
    x = np.log(_increasing(labels))
    return np.asarray(np.trapezoid(np.asarray(scores, float), x, axis=-1) / (x[-1] - x[0]))


def area_difference(
    labels: npt.ArrayLike, curves: Curves, arm: int = 0, baseline: int = 1
) -> Estimate:
    """The difference in area between two arms' label curves, with its crossed-bootstrap interval.

    One number for all label fractions, so it needs no choice among them.
    """
    drawn = area_under_label_curve(labels, curves.replicates)
    per_seed = area_under_label_curve(labels, curves.per_seed.transpose(0, 2, 1))
    return estimate(drawn[arm] - drawn[baseline], per_seed[arm] - per_seed[baseline])


def labels_for(labels: npt.ArrayLike, curve: Doubles, target: Doubles) -> Doubles:
    """Fewest labels at which a non-decreasing curve (..., F) reaches ``target`` (...).

    Linear in ln n between the measured counts. ∞ where the curve never reaches the target, 0 where
    it starts above it: both are censored, all that is known is that the answer lies outside.
    """
    x = np.log(_increasing(labels))
    target = np.asarray(target, float)
    for end in (curve[..., 0], curve[..., -1]):
        # A tie with an end must not turn into "out of sight" by the rounding of a mean.
        target = np.where(np.abs(target - end) < 1e-12, end, target)
    found = np.where(target < curve[..., 0], -inf, inf)
    found = np.where(target == curve[..., 0], x[0], found)
    for j in range(x.size - 1):
        low, high = curve[..., j], curve[..., j + 1]
        inside = (low < target) & (target <= high)
        rise = np.where(inside, high - low, 1.0)
        found = np.where(inside, x[j] + (target - low) / rise * (x[j + 1] - x[j]), found)
    return np.asarray(np.exp(found))


@dataclass(frozen=True)
class LabelSaving:
    """Labels the baseline needs to do as well as an arm does with ``labels``, with 95 % limits.

    ``needed``, ``low`` and ``high`` are counts of labels; ∞ means more than ``largest``, the most
    the study had, and 0 fewer than ``smallest``, the least: these are censored.
    """

    labels: int
    needed: float
    low: float
    high: float
    smallest: int
    largest: int

    @property
    def factor(self) -> float:
        """How many times the labels: needed/labels, 0 and ∞ when censored."""
        return self.needed / self.labels

    @property
    def censored(self) -> bool:
        """Whether the number of labels lies outside what was measured."""
        return self.needed in (0.0, inf)

    @property
    def quotable(self) -> bool:
        """Whether there were enough larger counts for the factor to be said as a number."""
        return not self.censored and HEADROOM * self.labels <= self.largest


def label_saving(
    labels: npt.ArrayLike, curves: Curves, fraction: int, arm: int = 0, baseline: int = 1
) -> LabelSaving:
    """How many labels the baseline needs to reach an arm's score at label count ``fraction``.

    ``labels`` (F,) are increasing counts, ``fraction`` an index into them. In every replicate the
    baseline's curve is made non-decreasing and read backwards, so the limits (2.5 and 97.5 %,
    ``method="nearest"``, which may fall on a censored value) carry seeds and images. Unlike those
    of a difference they are not widened for few seeds, since a count has no even scale to do it on.
    """
    counts = _increasing(labels)
    observed = isotonic(curves.observed[baseline])
    needed = labels_for(counts, observed, curves.observed[arm, fraction])
    drawn = isotonic(curves.replicates[baseline])
    replicates = labels_for(counts, drawn, curves.replicates[arm, :, fraction])
    low, high = np.quantile(replicates, [0.025, 0.975], method="nearest")
    return LabelSaving(
        labels=int(counts[fraction]),
        needed=float(needed),
        low=float(low),
        high=float(high),
        smallest=int(counts[0]),
        largest=int(counts[-1]),
    )


def _increasing(labels: npt.ArrayLike) -> Doubles:
    counts = np.asarray(labels, float)
    if counts.ndim != 1 or counts.size < 2 or counts[0] <= 0 or (np.diff(counts) <= 0).any():
        raise ValueError(f"label counts must be two or more and increasing, not {counts.tolist()}")
    return counts
