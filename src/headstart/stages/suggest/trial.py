"""Does this choice beat a random one? Tried out on images whose labels are known.

Some labelled images play the labelled ones, the others play the pool. From the pool as many images
are chosen, and as many drawn at random; a linear head learns from either, and held-out images say
which has learned more. All of it is repeated with other images in the two parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from headstart.nn.linear import fit_heads
from headstart.reporting.words import percent, points, points_bracket
from headstart.stages.suggest.typical import suggested
from headstart.stats.bootstrap import Estimate, Resampling, curve_replicates, estimate
from headstart.stats.metrics import METRICS, confusion_matrix
from headstart.types import Floats, Ints

METRIC = "balanced_accuracy"
DRAWS = 10
POOL = 4  # images of the pool for each that is chosen, where labelled images have to play it
MOST = 2_000  # labelled images that take part, and held-out ones
FEWEST_ADDED = 5  # with fewer there is no difference to be seen
FEWEST_HELD_OUT = 20
STRENGTHS = tuple(np.logspace(-4, 2, 13).tolist())
"""Of the head's penalty, λ of ``nn.linear``."""


@dataclass(frozen=True)
class Known:
    """Images whose labels are known: features of length 1 ``x`` (N, D), classes ``y`` (N,)."""

    x: Floats
    y: Ints

    def some(self, most: int, seed: int) -> Known:
        """At most so many of them, drawn at random."""
        if len(self.y) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.y))[:most])
        return Known(self.x[kept], self.y[kept])


@dataclass(frozen=True)
class Budget:
    """How many labelled images there are at first, and how many are added."""

    start: int
    added: int


@dataclass(frozen=True)
class Trial:
    """What came of it: mean scores in [0, 1], and their difference with its 95 % interval."""

    budget: Budget
    draws: int
    held_out: int
    suggested: float
    random: float
    difference: Estimate

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` than random where the interval shows it, else ``not shown``."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not shown"

    @property
    def sentence(self) -> str:
        """The trial in words, with what to make of it."""
        limits = points_bracket(self.difference.low, self.difference.high)
        given = f"{self.budget.start} labelled images and " if self.budget.start else ""
        return (
            f"Tried out on your labelled images: with {given}{self.budget.added} chosen like this "
            f"a linear head had {percent(self.suggested)} balanced accuracy on {self.held_out} "
            f"validation images, with as many chosen at random {percent(self.random)}: "
            f"{points(self.difference.difference)} points {limits} over {self.draws} draws. "
            f"{_SAID[self.verdict]}"
        )


_SAID = {
    "better": "It beats random choice here.",
    "worse": "Random choice did better here: label random images instead.",
    "not shown": "It does not beat random choice here, as far as these images can tell.",
}
Progress = Callable[[int, int], None]


def scaled_down(labelled: int, n: int) -> Budget | None:
    """A budget that labelled images can play, in the proportion of ``n`` to ``labelled``.

    Of L labelled images a are the start and r·a are added, r = n / L, from a pool of ``POOL`` times
    as many: a · (1 + ``POOL`` · r) = L. At least ``FEWEST_ADDED`` are added; None where there are
    too few images for that.
    """
    added = max(FEWEST_ADDED, round(labelled / (1 + POOL * n / labelled) * n / labelled))
    start = labelled - POOL * added
    return Budget(start, added) if start >= 0 else None


def try_out(known: Known, held_out: Known, n: int, seed: int, progress: Progress) -> Trial | None:
    """Try the choice of ``n`` images out on the labelled ones; None where there are too few."""
    train, judge = known.some(MOST, seed), held_out.some(MOST, seed)
    labelled = len(train.y)
    budget = scaled_down(labelled, max(1, round(n * labelled / len(known.y))))
    if budget is None or len(judge.y) < FEWEST_HELD_OUT:
        return None
    seeds = [seed + draw for draw in range(DRAWS)]
    answers = compete(train, judge, budget, seeds, progress)
    return judged(budget, judge.y, answers[:, best_strength(judge.y, answers[1])])


def compete(
    train: Known, held_out: Known, budget: Budget, seeds: list[int], progress: Progress
) -> Ints:
    """Answers (2, K, S, n) of heads to n held-out images: of the choice, and of random ones.

    K strengths of the head, S draws: each seed gives the images at the start, k-means, and the
    random images. Both heads learn from the same start.
    """
    answers = []
    for done, seed in enumerate(seeds):
        progress(done, len(seeds))
        rng = np.random.default_rng([seed, 5])
        order = rng.permutation(len(train.y))
        start, free = order[: budget.start], order[budget.start :]
        covered = np.isin(np.arange(len(train.y)), start)
        chosen, _ = suggested(train.x, covered, budget.added, seed)
        subsets = [np.append(start, more) for more in (chosen, free[: budget.added])]
        answers.append(_answers(train, held_out, subsets))
    progress(len(seeds), len(seeds))
    return np.stack(answers, axis=2)


def best_strength(y: Ints, random: Ints) -> int:
    """The strength, of answers (K, S, n), at which random images do best on average.

    Taken for both, it can only favour the random ones.
    """
    classes = int(max(y.max(), random.max())) + 1
    scores = METRICS[METRIC](confusion_matrix(y, random, classes))  # (K, S)
    return int(scores.mean(axis=1).argmax())


def judged(budget: Budget, y: Ints, answers: Ints, runs: Ints | None = None) -> Trial:
    """Compare answers (2, S, n) to images of classes ``y`` (n,), draws and images resampled.

    ``runs`` (S,) numbers the encoder of each draw where there are several: see ``Resampling``.
    """
    curves = curve_replicates(y, answers[:, None], METRIC, Resampling(2_000, runs=runs))
    drawn, each = curves.replicates[..., 0], curves.per_seed[:, 0]
    found = estimate(drawn[0] - drawn[1], each[0] - each[1])
    ours, random = curves.observed[:, 0].tolist()
    return Trial(budget, answers.shape[1], len(y), ours, random, found)


def _answers(train: Known, held_out: Known, subsets: list[Ints]) -> Ints:
    """(subsets, K, n)."""
    classes = int(max(train.y.max(), held_out.y.max())) + 1
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    paths = fit_heads(x, y, subsets, classes, STRENGTHS)
    asked = torch.from_numpy(held_out.x)
    found: Ints = torch.stack([path.logits(asked).argmax(-1) for path in paths]).numpy()
    return found
