"""Does a classifier rely on the background? Its answers on pictures with the parts exchanged.

After Xiao et al. (2021, "Noise or signal"): the foreground on the background of another image of
the same class (Mixed-Same) or of a random class (Mixed-Rand), the background alone (Only-BG-T)
and the foreground alone (Only-FG). Both mixed sets are cut and pasted, so their difference is not
the scissors'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.stats.bootstrap import (
    DEFAULT,
    Resampling,
    mean_interval,
    mean_replicates,
    units,
)
from headstart.stats.hypotheses import chance_test
from headstart.stats.intervals import Interval
from headstart.stats.metrics import balanced_accuracy, confusion_matrix
from headstart.types import Doubles, Ints

FEWEST = 50  # images with a mask: the 95 % interval of a share of so many is up to ±14 points
FEWEST_PER_CLASS = 5
SHUFFLES = 2000  # deals of images to groups


@dataclass(frozen=True, eq=False)
class Answers:
    """Predicted classes (M,) of one classifier for the same M foregrounds in every set.

    ``y`` (M,) are the true classes, ``background`` (M,) the class of the background that
    ``mixed_rand`` was pasted on; ``classes`` is their number K.
    Raises ``ValueError`` for arrays of different lengths, none at all, or a class out of range.
    """

    y: Ints
    original: Ints
    only_fg: Ints
    only_bg: Ints
    mixed_same: Ints
    mixed_rand: Ints
    background: Ints
    classes: int

    def __post_init__(self) -> None:
        rows = np.stack([self.original, self.only_fg, self.only_bg])
        pasted = np.stack([self.mixed_same, self.mixed_rand, self.background])
        confusion_matrix(self.y, np.concatenate([rows, pasted]), self.classes)


@dataclass(frozen=True)
class Reliance:
    """Shares in [0, 1] with 95 % intervals over ``n`` foregrounds.

    ``accuracy`` by set; ``gap`` = Mixed-Same − Mixed-Rand (the BG-gap); ``paste_cost`` = original −
    Mixed-Same; ``skill`` = balanced accuracy of the background alone − guessing (1 over the classes
    present), with the one-sided ``skill_p`` of shuffled answers; ``follows`` = how often a picture
    of Mixed-Rand on another class's background is called that class, ``expected`` how often it
    would be if the background made no difference, and ``follows_more`` their difference, NaN
    without such pictures. ``warnings`` say in one line each why the numbers are weak.
    """

    accuracy: dict[str, Interval]
    gap: Interval
    paste_cost: Interval
    skill: Interval
    skill_p: float
    follows: float
    expected: float
    follows_more: Interval
    n: int
    warnings: tuple[str, ...]


def reliance(answers: Answers, plan: Resampling = DEFAULT) -> Reliance:
    """All measures of one classifier, from one paired bootstrap over foregrounds."""
    a = answers
    sets = {
        "original": a.original,
        "only_fg": a.only_fg,
        "only_bg": a.only_bg,
        "mixed_same": a.mixed_same,
        "mixed_rand": a.mixed_rand,
    }
    right = {name: (predicted == a.y).astype(float) for name, predicted in sets.items()}
    rows = [*right.values(), right["mixed_same"] - right["mixed_rand"]]
    rows.append(right["original"] - right["mixed_same"])
    replicates = mean_replicates(np.stack(rows), plan)
    count = units(np.ones(len(a.y)), plan)
    bounds = [(0.0, 1.0)] * len(sets) + [(-1.0, 1.0)] * 2
    means = [
        mean_interval(row.mean(), draws, count, ends)
        for row, draws, ends in zip(rows, replicates, bounds, strict=True)
    ]
    skill, p = _skill(a, plan)
    follows, expected, more = _follows(a, plan)
    return Reliance(
        accuracy=dict(zip(sets, means[:5], strict=True)),
        gap=means[5],
        paste_cost=means[6],
        skill=skill,
        skill_p=p,
        follows=follows,
        expected=expected,
        follows_more=more,
        n=len(a.y),
        warnings=too_few(a.y, a.classes),
    )


def gap_difference(a: Answers, b: Answers, plan: Resampling = DEFAULT) -> Interval:
    """BG-gap of ``a`` minus that of ``b`` on the same pictures: > 0, a leans on backgrounds more.

    Raises ``ValueError`` if the two were not asked about the same pictures.
    """
    if not (np.array_equal(a.y, b.y) and np.array_equal(a.background, b.background)):
        raise ValueError("the two classifiers were asked about different pictures")
    gaps = _gaps(a) - _gaps(b)
    count = units(np.ones(len(gaps)), plan)
    return mean_interval(float(gaps.mean()), mean_replicates(gaps, plan)[0], count)


@dataclass(frozen=True)
class WorstGroup:
    """The group of images with the lowest accuracy (Sagawa et al., 2020), beside its null.

    The least of many shares is low by chance alone. ``expected`` is what it is on average when the
    same images are dealt to groups of the same sizes at random, and ``p`` in (0, 1] how often it is
    then as low as here. ``gap`` is the accuracy over all images minus the group's; ``n`` its
    images.
    """

    group: int
    accuracy: float
    expected: float
    p: float
    gap: float
    n: int


def worst_group(
    y: npt.ArrayLike,
    predicted: npt.ArrayLike,
    groups: npt.ArrayLike,
    plan: Resampling = DEFAULT,
) -> WorstGroup:
    """Where a classifier does worst; y, predicted and groups (M,), groups any whole numbers.

    Groups of fewer than five images are passed over, unless all are. Of ``plan`` the number of
    replicates and the seed are used.
    """
    right = (np.asarray(y) == np.asarray(predicted)).astype(float)
    names, place, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    large = np.flatnonzero(sizes >= FEWEST_PER_CLASS)
    kept = large if len(large) else np.arange(len(sizes))

    def shares(dealt: Doubles) -> Doubles:
        return np.asarray(np.bincount(place, weights=dealt)[kept] / sizes[kept])

    found = shares(right)
    lowest = float(found.min())
    rng = np.random.default_rng(plan.seed)
    times = min(plan.replicates, SHUFFLES)
    null = np.array([shares(rng.permutation(right)).min() for _ in range(times)])
    worst = int(kept[found.argmin()])
    return WorstGroup(
        group=int(names[worst]),
        accuracy=lowest,
        expected=float(null.mean()),
        p=float((np.sum(null <= lowest + 1e-12) + 1) / (times + 1)),
        gap=float(right.mean()) - lowest,
        n=int(sizes[worst]),
    )


def too_few(y: npt.ArrayLike, classes: int) -> tuple[str, ...]:
    """One line for each way in which the images with a mask, of classes ``y`` (M,), are too few."""
    counts = np.bincount(np.asarray(y, np.int64), minlength=classes)
    lines = []
    if counts.sum() < FEWEST:
        lines.append(f"{counts.sum()} images have a mask; fewer than {FEWEST} say little")
    thin = int((counts < FEWEST_PER_CLASS).sum())
    if thin:
        lines.append(
            f"{thin} of {classes} classes have fewer than {FEWEST_PER_CLASS} images with a mask"
        )
    return tuple(lines)


def _gaps(a: Answers) -> Doubles:
    right = [np.asarray(answers == a.y, float) for answers in (a.mixed_same, a.mixed_rand)]
    return np.asarray(right[0] - right[1])


def _skill(a: Answers, plan: Resampling) -> tuple[Interval, float]:
    """Balanced accuracy of the background alone − guessing, and its p against shuffled answers.

    A balanced accuracy is a mean of ratios of means, so it is resampled as such: hits and images
    of each class, over the same draws. It is a mean over the classes that are there, and so is
    guessing: 1 over their number, in every replicate its own.
    """
    M = confusion_matrix(a.y, a.only_bg, a.classes)
    member = (a.y == np.arange(a.classes)[:, None]).astype(float)  # (K, M)
    sums = mean_replicates(np.concatenate([member * (a.only_bg == a.y), member]), plan)
    hits, support = np.split(sums, 2)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    drawn = (support > 0).sum(axis=0)
    present = len(np.unique(a.y))
    value = float(balanced_accuracy(M)) - 1 / present
    bounds = (-1 / present, 1 - 1 / present)
    draws = (recall.sum(axis=0) - 1) / drawn
    interval = mean_interval(value, draws, units(np.ones(len(a.y)), plan), bounds)
    return interval, chance_test(M, replicates=min(plan.replicates, 10_000), seed=plan.seed).p


def _follows(a: Answers, plan: Resampling) -> tuple[float, float, Interval]:
    """Called the background's class, against the confusion matrix of the same pictures.

    If the background made no difference, a picture of class y would be called b as often as
    pictures of class y are on the backgrounds of other classes than b.
    """
    other = a.background != a.y
    if not other.any():
        return np.nan, np.nan, Interval(np.nan, np.nan, np.nan)
    follows = (a.mixed_rand == a.background).astype(float)
    asked = np.zeros((a.classes,) * 3)  # true class × background × answer
    np.add.at(asked, (a.y, a.background, a.mixed_rand), 1)
    # All pictures of the class but those on this very background.
    rest = asked.sum(axis=1, keepdims=True) - asked  # (K, K, K)
    b = np.arange(a.classes)
    called, pictures = rest[:, b, b], rest.sum(axis=2)  # (K, K): y × background
    share = np.divide(called, pictures, out=np.full(called.shape, np.nan), where=pictures > 0)
    expected = share[a.y, a.background]
    usable = other & np.isfinite(expected)
    if not usable.any():
        return np.nan, np.nan, Interval(np.nan, np.nan, np.nan)
    gaps = np.where(usable, follows - expected, np.nan)
    draws, count = mean_replicates(gaps, plan)[0], units(usable, plan)
    more = mean_interval(float(np.nanmean(gaps)), draws, count)
    return float(follows[usable].mean()), float(expected[usable].mean()), more
