"""Two arms compared by the crossed bootstrap alone, as a study compares its many at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headstart.stats.bootstrap import DEFAULT, Estimate, Resampling, curve_replicates, estimate


def crossed_bootstrap(
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    metric: str = "balanced_accuracy",
    plan: Resampling = DEFAULT,
) -> Estimate:
    """How much better arm ``a`` is than arm ``b``; predicted classes (S, n) or (n,), ``y`` (n,)."""
    both = np.stack([np.atleast_2d(a), np.atleast_2d(b)])
    curves = curve_replicates(y, both[:, None], metric, plan)
    gaps = curves.replicates[0, :, 0] - curves.replicates[1, :, 0]
    return estimate(gaps, curves.per_seed[0, 0] - curves.per_seed[1, 0])
