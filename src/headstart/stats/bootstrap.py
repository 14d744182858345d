"""Resampling: of the images of one confusion matrix, and of seeds and images together.

A difference between two methods varies for two reasons: other test images, and other training
runs. Resampling the images alone calls two equal methods different in 13 to 28 % of studies with
five seeds; seeds and images must be drawn together (Owen 2007; Owen & Eckles 2012, for crossed
random effects). Five draws of five seeds still show too little of their variance, so where seeds
decide the intervals are widened as a t-interval is: see ``few_seeds``. Means over few images are
widened in the same way: see ``mean_interval``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from headstart.stats.intervals import Interval, percentile_interval
from headstart.stats.metrics import METRICS, SCORES, Score, Totals
from headstart.types import Doubles, Ints

# The size of a block of replicates, which bounds the memory. It is a constant because the random
# draws are made block by block: were it to follow the data, so would the draws.
BLOCK = 250

FEWEST = 5  # images, or groups of them, below which a mean over images gets no interval


@dataclass(frozen=True, eq=False)
class Resampling:
    """How to resample: the number of replicates, the random seed, and what stays together.

    ``groups`` (n,) numbers the images that are drawn as one (photographs of one object); without
    it every image stands for itself. ``runs`` (R,) gives the number of the seed, 0 to S − 1, of
    each training run: the runs of one seed (its label draws) are averaged before seeds are drawn;
    without it every run is a seed of its own.
    """

    replicates: int = 10_000
    seed: int = 0
    groups: Ints | None = None
    runs: Ints | None = None


DEFAULT = Resampling()


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores of A arms at F label fractions with S seeds: observed, and in B replicates.

    ``observed`` (A, F), ``replicates`` (A, B, F) and ``per_seed`` (A, F, S) are in the metric's own
    unit. Replicate b used the same seeds and the same images for every arm and fraction, so any
    function of several curves may be taken replicate by replicate.
    """

    observed: Doubles
    replicates: Doubles
    per_seed: Doubles


@dataclass(frozen=True, eq=False)
class Estimate:
    """A difference, its 95 % and 90 % intervals, a two-sided p in (0, 1], and its replicates (B,).

    Differences are in the metric's own unit: 0.01 is one point.
    """

    difference: float
    low: float
    high: float
    low90: float
    high90: float
    p: float
    replicates: Doubles


def bootstrap_metrics(
    M: npt.ArrayLike, replicates: int = 10_000, seed: int = 0
) -> dict[str, Interval]:
    """95 % intervals of every score of one (K, K) matrix of counts, resampling within true class.

    Drawing n_k images of class k with replacement is drawing row k from a multinomial with its own
    shares, so no image is ever touched.
    """
    M = np.asarray(M, np.int64)
    rng = np.random.default_rng(seed)
    support = M.sum(axis=1)
    shares = M / np.maximum(support, 1)[:, None]
    shares[support == 0, 0] = 1.0  # a multinomial of no images still wants shares that sum to 1
    scores: dict[str, list[Doubles]] = {name: [] for name in METRICS}
    for size in _blocks(replicates):
        drawn = rng.multinomial(support, shares, size=(size, len(M)))
        for name, metric in METRICS.items():
            scores[name].append(metric(drawn))
    return {
        name: percentile_interval(float(METRICS[name](M)), np.concatenate(values))
        for name, values in scores.items()
    }


def curve_replicates(
    y: npt.ArrayLike,
    predicted: npt.ArrayLike,
    metric: str = "balanced_accuracy",
    plan: Resampling = DEFAULT,
) -> Curves:
    """Score arms × label fractions in resamples of seeds and images.

    ``y`` (n,) holds the true classes, ``predicted`` (A, F, R, n) the answers: run r of every arm
    shares its label subset, image i is the same everywhere. Each replicate draws S seeds with
    replacement, then images with replacement within class; with groups, whole groups within the
    class most of their images have. It scores every run, averages the runs of a seed, and averages
    over the drawn seeds. So the luck of the seeds and the luck of the label draws are both in it:
    the means of the seeds vary by both.
    Raises ``KeyError`` for an unknown metric and ``ValueError`` for shapes that do not fit.
    """
    truth, answers = np.asarray(y, np.int64), np.asarray(predicted, np.int64)
    if answers.ndim != 4 or answers.shape[-1:] != truth.shape or answers.size == 0:
        raise ValueError(f"predicted {answers.shape} is not (arms, fractions, runs, {truth.size})")
    score = SCORES[metric]
    arms, fractions, runs, _ = answers.shape
    means = means_of_seeds(plan.runs, runs)
    seeds = len(means)
    classes = int(max(truth.max(), answers.max())) + 1
    units, strata = _units(truth, plan.groups)
    cells = [_Cell.of(truth, one, units, classes) for one in answers.reshape(-1, runs, truth.size)]
    support = _indicator(truth, units, classes)
    everything = np.ones((len(strata), 1))
    per_seed = np.stack([means @ cell.scores(score, everything, support)[:, 0] for cell in cells])
    rng = np.random.default_rng(plan.seed)
    blocks = []
    for size in _blocks(plan.replicates):
        drawn = _draw(rng, np.zeros(seeds, np.int64), size) / seeds  # (S, B)
        weights = _draw(rng, strata, size)  # (U, B)
        values = [
            (means @ cell.scores(score, weights, support) * drawn).sum(axis=0) for cell in cells
        ]
        blocks.append(np.stack(values))
    replicates = np.concatenate(blocks, axis=1).reshape(arms, fractions, -1)
    per_seed = per_seed.reshape(arms, fractions, seeds)
    return Curves(per_seed.mean(axis=-1), replicates.transpose(0, 2, 1), per_seed)


def means_of_seeds(runs: Ints | None, count: int) -> Doubles:
    """What turns a value a run (R,) into the mean of each seed's runs: (S, R).

    Raises ``ValueError`` where ``runs`` does not number ``count`` runs with 0 to S − 1.
    """
    numbers = np.arange(count) if runs is None else np.asarray(runs, np.int64)
    sizes = np.bincount(numbers) if numbers.size and numbers.min() >= 0 else np.zeros(1)
    if numbers.shape != (count,) or not sizes.all():
        raise ValueError(f"runs {numbers.tolist()} do not number the seeds of {count} runs")
    member = numbers == np.arange(len(sizes))[:, None]
    shares: Doubles = member / sizes[:, None]
    return shares


def mean_replicates(values: npt.ArrayLike, plan: Resampling = DEFAULT) -> Doubles:
    """Means of K values an image in resamples of the images: values (K, M) to (K, B).

    Replicate b draws the same images for all K, so any function of the means may be taken
    replicate by replicate. Images with a value that is not finite are left out of all K. Images
    are drawn as one stratum, groups as wholes; a resample of groups is averaged over its images.
    Raises ``ValueError`` if no image is left or ``plan.groups`` does not fit.
    """
    table = np.atleast_2d(np.asarray(values, float))
    known = np.isfinite(table).all(axis=0)
    groups = None if plan.groups is None else np.asarray(plan.groups)
    if groups is not None and groups.shape != known.shape:
        raise ValueError(f"groups {groups.shape} and values {known.shape} do not fit together")
    if not known.any():
        raise ValueError("no image has a value")
    one = np.zeros(int(known.sum()), np.int64)
    units, strata = _units(one, None if groups is None else groups[known])
    sums = np.stack([np.bincount(units, weights=row) for row in table[:, known]])  # (K, U)
    sizes = np.bincount(units).astype(float)
    rng = np.random.default_rng(plan.seed)
    draws = (_draw(rng, strata, size) for size in _blocks(plan.replicates))  # (U, b) each
    return np.concatenate([sums @ weights / (sizes @ weights) for weights in draws], axis=1)


def units(known: npt.ArrayLike, plan: Resampling = DEFAULT) -> int:
    """How many units (images, or groups of the plan) the images of (M,) ``known`` make."""
    used = np.flatnonzero(np.asarray(known, bool))
    return len(used) if plan.groups is None else len(np.unique(np.asarray(plan.groups)[used]))


def mean_interval(
    value: float,
    replicates: npt.ArrayLike,
    count: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """The 95 % interval of a mean over ``count`` units, or of a function of such means.

    Percentiles of the replicates (B,), stretched around the value by ``few_units`` and cut at
    ``bounds``. With fewer than ``FEWEST`` units the limits are NaN: nothing may be concluded.
    """
    if count < FEWEST:
        return Interval(float(value), np.nan, np.nan)
    wider = few_units(count)
    found = percentile_interval(value, replicates)
    low, high = (float(np.clip(value + wider * (end - value), *bounds)) for end in found[1:])
    return Interval(float(value), low, high)


def few_units(count: int) -> float:
    """How much wider than the percentile interval a fair one is, because units are few; > 1.

    n units drawn from n show (n − 1)/n of their variance, and a variance known from n values asks
    for t with n − 1 degrees of freedom, not z: t(.975, n − 1)/1.96 · √(n/(n − 1)).
    """
    quantile = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975)
    return float(quantile * np.sqrt(count / (count - 1)))


def estimate(replicates: Doubles, per_seed: Doubles) -> Estimate:
    """The mean of the seeds' differences (S,), with intervals and p from its replicates (B,).

    Replicates are stretched around the mean by ``few_seeds`` first, then read as percentiles.
    p = 2·min(#{Δ* ≤ 0} + 1, #{Δ* ≥ 0} + 1)/(B + 1), at most 1: never 0, however clear the case.
    """
    difference = float(per_seed.mean())
    replicates = difference + few_seeds(replicates, per_seed) * (replicates - difference)
    _, low, high = percentile_interval(difference, replicates, 0.95)
    _, low90, high90 = percentile_interval(difference, replicates, 0.90)
    tail = min(int((replicates <= 0).sum()), int((replicates >= 0).sum())) + 1
    p = min(1.0, 2 * tail / (len(replicates) + 1))
    return Estimate(difference, low, high, low90, high90, p, replicates)


def few_seeds(replicates: Doubles, per_seed: Doubles) -> float:
    """How much wider than the percentile interval a fair one is, because seeds are few; ≥ 1.

    S seeds drawn from S show (S − 1)/S of their variance s²/S, so V = Var(replicates) + s²/S²; and
    a variance known from S values asks for t, not z, with df = (S − 1)·(V/(s²/S))² (Satterthwaite,
    as Hillis 2007 has it): S − 1 where seeds decide, many where images do. 1 for one seed, where
    images alone are resampled.
    """
    S = len(per_seed)
    s2 = float(per_seed.var(ddof=1)) if S > 1 else 0.0
    shown = float(replicates.var())
    if s2 == 0 or shown == 0:
        return 1.0
    variance = shown + s2 / S**2
    df = (S - 1) * max(1.0, variance / (s2 / S)) ** 2
    return float(stats.t.ppf(0.975, df) / stats.norm.ppf(0.975) * np.sqrt(variance / shown))


def _blocks(replicates: int) -> Iterator[int]:
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, not {replicates}")
    for start in range(0, replicates, BLOCK):
        yield min(BLOCK, replicates - start)


def _units(y: Ints, groups: Ints | None) -> tuple[Ints, Ints]:
    """The unit of each image (n,), and the stratum of each unit (U,), sorted by stratum."""
    if groups is None:
        ids = np.arange(y.size)
    else:
        ids = np.unique(np.asarray(groups), return_inverse=True)[1]
    if ids.shape != y.shape:
        raise ValueError(f"groups {ids.shape} and y {y.shape} do not fit together")
    votes = np.zeros((ids.max() + 1, y.max() + 1), np.int64)
    np.add.at(votes, (ids, y), 1)
    strata = votes.argmax(axis=1)
    order = np.argsort(strata, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return place[ids].astype(np.int64), strata[order].astype(np.int64)


def _draw(rng: np.random.Generator, strata: Ints, size: int) -> Doubles:
    """How often each unit is drawn, (U, size): with replacement, as many as there are, by stratum.

    ``strata`` (U,) must be sorted.
    """
    parts = []
    columns = np.arange(size)
    for m in np.unique(strata, return_counts=True)[1]:
        cells = rng.integers(m, size=(m, size)) * size + columns
        parts.append(np.bincount(cells.ravel(), minlength=m * size).reshape(m, size))
    return np.concatenate(parts).astype(np.float64)


def _indicator(rows: Ints, units: Ints, height: int) -> sparse.csr_array:
    """(height, U): how many images of each unit fall in each row; rows below 0 fall in none."""
    kept = rows >= 0
    ones = np.ones(int(kept.sum()))
    shape = (height, int(units.max()) + 1)
    return sparse.csr_array(sparse.coo_array((ones, (rows[kept], units[kept])), shape=shape))


@dataclass(frozen=True, eq=False)
class _Cell:
    """One arm at one label fraction: sparse sums over units of hits and answers, (S·K, U) each."""

    hits: sparse.csr_array
    answered: sparse.csr_array
    seeds: int

    @classmethod
    def of(cls, y: Ints, predicted: Ints, units: Ints, classes: int) -> _Cell:
        seeds = len(predicted)
        row = (np.arange(seeds)[:, None] * classes + predicted).ravel()
        right = np.where((predicted == y).ravel(), row, -1)
        units = np.tile(units, seeds)
        height = seeds * classes
        return cls(_indicator(right, units, height), _indicator(row, units, height), seeds)

    def scores(self, score: Score, weights: Doubles, support: sparse.csr_array) -> Doubles:
        """The score of every seed under every column of unit weights (U, B): (S, B)."""
        shape = (self.seeds, -1, weights.shape[1])
        hits = (self.hits @ weights).reshape(shape).transpose(0, 2, 1)
        answered = (self.answered @ weights).reshape(shape).transpose(0, 2, 1)
        truth = np.broadcast_to((support @ weights).T, hits.shape)
        return score(Totals(hits, truth, answered))


def grouped(names: Sequence[Hashable]) -> Ints | None:
    """Group numbers (n,) by first appearance; None where every image is a group of its own."""
    number: dict[Hashable, int] = {}
    groups = np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)
    return groups if len(number) < len(names) else None
