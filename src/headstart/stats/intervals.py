"""Intervals for a share and from resamples."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.types import Doubles


class Interval(NamedTuple):
    """A value and the two ends of its interval, in the value's own unit."""

    value: float
    low: float
    high: float


def wilson(k: npt.ArrayLike, n: npt.ArrayLike, level: float = 0.95) -> tuple[Doubles, Doubles]:
    """Wilson's score interval for ``k`` of ``n`` (Wilson 1927), any shapes that broadcast.

    Returns the lower and upper end, in [0, 1]; with n = 0 nothing is known: 0 and 1.
    """
    k, n = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    trials = np.maximum(n, 1)
    share = k / trials
    centre = share + z**2 / (2 * trials)
    reach = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # Rounding may put the ends of 0 of n and n of n a hair outside [0, 1].
    low = np.where(k == 0, 0.0, (centre - reach) / scale)
    high = np.where(k == n, 1.0, (centre + reach) / scale)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def percentile_interval(value: float, replicates: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The middle ``level`` of the resampled values (B,), beside the observed value."""
    tail = (1 - level) / 2
    low, high = np.quantile(np.asarray(replicates, float), [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
