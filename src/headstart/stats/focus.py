"""How well attribution falls on objects, over images: means with intervals, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from headstart.stats.bootstrap import (
    DEFAULT,
    FEWEST,
    Resampling,
    mean_interval,
    mean_replicates,
    units,
)
from headstart.stats.intervals import Interval
from headstart.types import Doubles

Verdict = Literal["more", "less", "no more", "not measured"]
Mask = npt.NDArray[np.bool_]


def means(
    values: Mapping[str, Doubles], use: Mask | None = None, plan: Resampling = DEFAULT
) -> dict[str, Interval]:
    """The mean of each (M,) row with its 95 % bootstrap interval over images.

    ``use`` (M,) picks images, those answered correctly for instance; ``plan.groups`` is (M,).
    Images with a NaN in any row are left out of all. Without an image all is NaN; with fewer than
    five units (images, or groups) the limits are.
    """
    table = _picked(np.stack(list(values.values())), use)
    known = np.isfinite(table).all(axis=0)
    if not known.any():
        return dict.fromkeys(values, Interval(np.nan, np.nan, np.nan))
    replicates = mean_replicates(table, plan)
    observed = table[:, known].mean(axis=1)
    rows = zip(values, observed, replicates, strict=True)
    count = units(known, plan)
    return {name: mean_interval(value, draws, count) for name, value, draws in rows}


@dataclass(frozen=True)
class FocusComparison:
    """Focus lift of a network minus that of the same network untrained, mean over ``n`` images.

    ``low`` and ``high`` are the 95 % limits of the paired bootstrap. ``units`` counts the groups
    of these images, or the images where each stands alone.
    """

    difference: float
    low: float
    high: float
    n: int
    units: int
    verdict: Verdict


def compare_focus(
    lift: npt.ArrayLike,
    untrained: npt.ArrayLike,
    use: Mask | None = None,
    plan: Resampling = DEFAULT,
) -> FocusComparison:
    """Does a network look at the object more than an untrained one does? Lifts (M,), same images.

    ``use`` (M,) picks images. Images left out of either are left out of both.
    """
    gaps = _picked(np.asarray(lift, float) - np.asarray(untrained, float), use)
    known = np.isfinite(gaps)
    n, count = int(known.sum()), units(known, plan)
    if count < FEWEST:
        return FocusComparison(np.nan, np.nan, np.nan, n, count, "not measured")
    draws = mean_replicates(gaps, plan)[0]
    value, low, high = mean_interval(float(np.nanmean(gaps)), draws, count)
    verdict: Verdict = "more" if low > 0 else "less" if high < 0 else "no more"
    return FocusComparison(value, low, high, n, count, verdict)


def _picked(values: Doubles, use: Mask | None) -> Doubles:
    return values if use is None else np.where(np.asarray(use, bool), values, np.nan)
