"""Where the uncertainty of a difference comes from: seeds or images.

Reader studies in radiology ask the same question with readers for seeds and cases for images
(multi-reader multi-case; Obuchowski & Rockette 1995, Hillis 2007). The analysis is a two-way
analysis of variance without replication. It checks the crossed bootstrap by another road, and
says whether more images or more seeds would narrow the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.types import Doubles


@dataclass(frozen=True)
class Mrmc:
    """A difference with its t, df and two-sided p, and the mean squares behind them.

    ``ms_seed``, ``ms_image`` and ``ms_error`` are the mean squares of the (S, n) table of paired
    differences; ``seeds`` and ``n`` its size.
    """

    difference: float
    t: float
    df: float
    p: float
    ms_seed: float
    ms_image: float
    ms_error: float
    seeds: int
    n: int


def paired_scores(
    y: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike, *, balanced: bool = True
) -> Doubles:
    """Per seed and image, how much arm ``a`` gains over arm ``b``: (S, n).

    ``y`` (n,), ``a`` and ``b`` (S, n) are classes. Each entry is correct(a) − correct(b), so the
    mean is the difference in accuracy; ``balanced`` weights image i by n/(K·n_k), so that the mean
    is the difference in balanced accuracy.
    """
    truth = np.asarray(y)
    gain = (np.asarray(a) == truth).astype(float) - (np.asarray(b) == truth)
    if balanced:
        _, place, count = np.unique(truth, return_inverse=True, return_counts=True)
        gain *= (truth.size / (len(count) * count))[place]
    return np.atleast_2d(gain)


def mrmc(D: npt.ArrayLike) -> Mrmc:
    """Test the mean of a table of paired differences D (S, n) against 0, S ≥ 2 and n ≥ 2.

    V = (MS_s + max(MS_i − MS_e, 0))/(S·n), t = mean/√V, and Hillis' df
    (MS_s + max(MS_i − MS_e, 0))²/(MS_s²/(S − 1)). A table without any variation has p = 1 if its
    mean is 0 and no finite t otherwise. Raises ``ValueError`` for fewer than two seeds or images.
    """
    D = np.asarray(D, float)
    if D.ndim != 2 or min(D.shape) < 2:
        raise ValueError(f"two or more seeds and images are needed, not a table of {D.shape}")
    S, n = D.shape
    mean, by_seed, by_image = D.mean(), D.mean(axis=1), D.mean(axis=0)
    residual = D - by_seed[:, None] - by_image + mean
    ms_seed = n * by_seed.var(ddof=1)
    ms_image = S * by_image.var(ddof=1)
    ms_error = (residual**2).sum() / ((S - 1) * (n - 1))
    spread = ms_seed + max(ms_image - ms_error, 0.0)
    t, df = _t_and_df(mean, spread, ms_seed, D.shape)
    p = 1.0 if mean == 0 else float(2 * stats.t.sf(abs(t), df))
    return Mrmc(float(mean), t, df, p, float(ms_seed), float(ms_image), float(ms_error), S, n)


def _t_and_df(
    mean: float, spread: float, ms_seed: float, shape: tuple[int, int]
) -> tuple[float, float]:
    S, n = shape
    # With no variance between seeds the images alone decide, and those are many: df is infinite.
    df = float(spread**2 / (ms_seed**2 / (S - 1))) if ms_seed > 0 else np.inf
    if spread > 0:
        return float(mean / np.sqrt(spread / (S * n))), df
    return float(np.copysign(np.inf, mean)) if mean else 0.0, df
