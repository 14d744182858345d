"""How much of a result is luck: its spread over seeds, and over label draws within a seed.

A one-way analysis of variance with random effects (Searle, Casella & McCulloch 1992, ch. 3):
repeats that share a seed differ by their labels alone, means of seeds by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RepeatSpread:
    """Standard deviations in the unit of the values; NaN where there is nothing to tell it from.

    ``seeds``: of the start, the order and the augmentation, without what label draws add to it;
    with one draw a seed, of all that is random together. ``draws``: of the labels drawn.
    """

    seeds: float
    draws: float


def spread_of_repeats(values: npt.ArrayLike, seeds: npt.ArrayLike) -> RepeatSpread:
    """The spread of values (R,) whose repeats have the seeds (R,).

    Variance within seeds is that of the draws; variance of the seeds' means, less what the draws
    leave in a mean, that of the seeds (0 where that is negative).
    Raises ``ValueError`` for values and seeds of different lengths.
    """
    x, names = np.asarray(values, float), np.asarray(seeds)
    if x.shape != names.shape or x.ndim != 1:
        raise ValueError(f"values {x.shape} and seeds {names.shape} do not fit together")
    groups = [x[names == seed] for seed in np.unique(names)]
    within = len(x) - len(groups)
    draws = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / within if within else nan
    if len(groups) < 2:
        return RepeatSpread(nan, sqrt(draws) if within else nan)
    means = np.array([g.mean() for g in groups])
    left = draws * float(np.mean([1 / len(g) for g in groups])) if within else 0.0
    seeds_alone = max(0.0, float(means.var(ddof=1)) - left)
    return RepeatSpread(sqrt(seeds_alone), sqrt(draws) if within else nan)
