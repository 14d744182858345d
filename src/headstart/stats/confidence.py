"""How far a classifier's probabilities can be trusted, and what it gets right when it may abstain.

An image's *confidence* is the largest of its class probabilities. Two questions are asked of it:
does it agree with how often the answer is right (calibration), and do the answers get better when
the least confident ones are left out (selective use)? Images of equal confidence are always
treated alike, so that no number depends on the order of the images: a constant answer gives every
image the same confidence, and k-NN gives few different ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import softmax

from headstart.stats.bootstrap import DEFAULT, Resampling
from headstart.stats.intervals import Interval, percentile_interval
from headstart.types import Doubles, Ints

BINS = 15
COVERAGES = (1.0, 0.9, 0.8, 0.5)
COLDEST, HOTTEST = 0.05, 20.0  # a temperature beyond them is not asked for
BLOCK = 250  # replicates at a time, which bounds the memory


@dataclass(frozen=True)
class CalibrationError:
    """An expected calibration error with its 95 % interval, in [0, 1].

    The interval is for the error on ever more images; few show too large an error. ``by_chance``
    is the mean error that perfectly calibrated probabilities with these confidences
    would show on as many images: few images in a bin differ from their confidence by chance alone.
    """

    value: float
    low: float
    high: float
    by_chance: float


@dataclass(frozen=True)
class Trust:
    """Calibration before and after a temperature, and accuracy by the share of images answered."""

    temperature: float
    before: CalibrationError
    after: CalibrationError
    accuracy: Mapping[float, Interval]
    """By coverage, each of ``COVERAGES``; with the probabilities before the temperature."""


def fit_temperature(logits: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The T in [0.05, 20] for which softmax(logits / T) has the least cross-entropy with ``y``.

    Guo et al., 2017, "On calibration of modern neural networks". Cross-entropy is convex in 1/T,
    so the root of its derivative is the minimum. Where T changes nothing it is 1; where every
    answer is right it is 0.05.

    Args:
        logits: (N, C), of images that neither trained the classifier nor test it.
        y: (N,) true classes.

    Raises:
        ValueError: no image, or shapes that do not fit.
    """
    z, truth = _checked(logits, y)
    z = z - z.max(axis=1, keepdims=True)
    own = z[np.arange(len(z)), truth]

    def slope(log_inverse: float) -> float:
        """The derivative of the mean cross-entropy by 1/T: what is expected less what is true."""
        expected = (softmax(np.exp(log_inverse) * z, axis=1) * z).sum(axis=1)
        return float((expected - own).mean())

    low, high = -np.log(HOTTEST), -np.log(COLDEST)
    if not np.ptp(z, axis=1).any():
        return 1.0
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return float(np.exp(-brentq(slope, low, high)))


def trust(
    logits: npt.ArrayLike, y: npt.ArrayLike, temperature: float, plan: Resampling = DEFAULT
) -> Trust:
    """Calibration and accuracy by coverage on test images, with 95 % intervals over images.

    Images are drawn with replacement within their true classes; the temperature stays as it was
    fitted. All numbers of a replicate are of the same images.

    Args:
        logits: (N, C) of the test images.
        y: (N,) true classes.
        temperature: from ``fit_temperature``, on other images.
        plan: replicates and seed; ``groups`` are not looked at.

    Raises:
        ValueError: no image, or shapes that do not fit.
    """
    z, truth = _checked(logits, y)
    right = z.argmax(axis=1) == truth
    plain, scaled = (softmax(z / t, axis=1).max(axis=1) for t in (1.0, temperature))
    ranked = _Ranked.of(plain, right), _Ranked.of(scaled, right)
    blocks = [_replicates(ranked, times) for times in _times_drawn(truth, plan)]
    draws = np.concatenate(blocks, axis=1)
    return Trust(
        temperature,
        _error(calibration_error(plain, right), draws[0], ranked[0], plan),
        _error(calibration_error(scaled, right), draws[1], ranked[1], plan),
        {
            share: percentile_interval(accuracy_at(plain, right, share), drawn)
            for share, drawn in zip(COVERAGES, draws[2:], strict=True)
        },
    )


def _replicates(ranked: tuple[_Ranked, _Ranked], times: Ints) -> list[Doubles]:
    """Both errors and the accuracies in resamples ``times`` (B, N), (B,) each."""
    plain, scaled = (order.counts(times) for order in ranked)
    errors = [order.error(*of) for order, of in zip(ranked, (plain, scaled), strict=True)]
    return errors + [_accuracy(*plain, share) for share in COVERAGES]


def calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Expected calibration error in [0, 1]: how far confidence and share of right answers differ.

    Images are ordered by confidence (N,) and cut into 15 bins of equal mass: an image with r
    images of lower confidence is in bin ⌊15 r / N⌋. The error is the mean over images of
    |share right − mean confidence| of their bin (Nguyen & O'Connor, 2015, for such bins).
    """
    ranked = _Ranked.of(np.asarray(confidence, float), np.asarray(right, bool))
    return float(ranked.error(*ranked.counts())[0])


def accuracy_at(confidence: npt.ArrayLike, right: npt.ArrayLike, coverage: float) -> float:
    """Share of right answers among the most confident share ``coverage`` of the images.

    Of the images with the confidence at the cut, the mean answer fills the room that is left.
    """
    ranked = _Ranked.of(np.asarray(confidence, float), np.asarray(right, bool))
    return float(_accuracy(*ranked.counts(), coverage)[0])


def _checked(logits: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Doubles, Ints]:
    z, truth = np.asarray(logits, float), np.asarray(y, np.int64)
    if z.ndim != 2 or truth.size == 0 or truth.shape != z.shape[:1]:
        raise ValueError(f"logits {z.shape} and y {truth.shape} do not fit together")
    return z, truth


def _error(value: float, draws: Doubles, ranked: _Ranked, plan: Resampling) -> CalibrationError:
    """An interval that allows for all of the noise below the value, and for none of it above.

    Noise only raises this error: replicates lie above the value, and the value above the truth,
    by amounts that are alike where the truth is near 0 and unlike elsewhere. So the lower end is
    that of the basic bootstrap, 2·value − q(.975), or 0 where perfect calibration fits the value;
    the upper end is q(.975) with the mean of the replicates moved to the value.
    """
    high = float(np.quantile(draws, 0.975))
    chance = ranked.errors_by_chance(plan)
    calibrated = value <= np.quantile(chance, 0.975)
    return CalibrationError(
        value,
        low=0.0 if calibrated else max(0.0, 2 * value - high),
        high=min(1.0, high - float(draws.mean()) + value),
        by_chance=float(chance.mean()),
    )


def _times_drawn(y: Ints, plan: Resampling) -> Iterator[Ints]:
    """How often each image is drawn, (b, N) a block: with replacement within its class."""
    rng = np.random.default_rng(plan.seed)
    members = [np.flatnonzero(y == c) for c in np.unique(y)]
    for start in range(0, plan.replicates, BLOCK):
        times = np.zeros((min(BLOCK, plan.replicates - start), y.size), np.int64)
        for mine in members:
            shares = np.full(len(mine), 1 / len(mine))
            times[:, mine] = rng.multinomial(len(mine), shares, size=len(times))
        yield times


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Answers in order of confidence: U different values, ascending, and where each begins."""

    order: Ints
    starts: Ints
    values: Doubles
    right: Ints

    @classmethod
    def of(cls, confidence: Doubles, right: npt.NDArray[np.bool_]) -> _Ranked:
        order = np.argsort(confidence, kind="stable")
        values, starts = np.unique(confidence[order], return_index=True)
        return cls(order, starts, values, right[order].astype(np.int64))

    def counts(self, times: Ints | None = None) -> tuple[Ints, Ints]:
        """Images and right answers at each value, (B, U) both, of resamples ``times`` (B, N).

        ``times`` says how often each image was drawn; without it each is there once.
        """
        if times is None:
            times = np.ones((1, len(self.order)), np.int64)
        ordered = times[:, self.order]
        images = np.add.reduceat(ordered, self.starts, axis=1)
        return images, np.add.reduceat(ordered * self.right, self.starts, axis=1)

    def error(self, images: Ints, hits: Ints) -> Doubles:
        """The calibration error for each row of counts (B, U): (B,)."""
        total = images.sum(axis=1, keepdims=True)
        lower = np.minimum(images.cumsum(axis=1) - images, total - 1)
        cells = BINS * lower // total + BINS * np.arange(len(images))[:, None]
        gaps = hits - images * self.values
        sums = np.bincount(cells.ravel(), gaps.ravel(), minlength=BINS * len(images))
        return np.asarray(np.abs(sums).reshape(-1, BINS).sum(axis=1) / total[:, 0])

    def errors_by_chance(self, plan: Resampling) -> Doubles:
        """Errors drawn where each answer is right with the probability that is claimed."""
        images, _ = self.counts()
        rng = np.random.default_rng([plan.seed, 1])
        hits = rng.binomial(images, np.minimum(self.values, 1), (BLOCK, images.shape[1]))
        return self.error(np.broadcast_to(images, hits.shape), hits)


def _accuracy(images: Ints, hits: Ints, coverage: float) -> Doubles:
    """The accuracy at one coverage for each row of counts (B, U), confidence ascending: (B,)."""
    room = coverage * images.sum(axis=1, keepdims=True)
    surer = images[:, ::-1].cumsum(axis=1)[:, ::-1] - images
    taken = np.clip(room - surer, 0, images)
    return np.asarray((taken * hits / np.maximum(images, 1)).sum(axis=1) / room[:, 0])
