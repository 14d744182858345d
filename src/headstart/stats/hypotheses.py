"""The tests of a study: against chance, against the majority, one model against another.

A p-value here never reaches a headline; it decides which verdict is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from headstart.stats.intervals import percentile_interval
from headstart.stats.metrics import METRICS, cramers_v
from headstart.types import Doubles

# A block of random tables holds about this many cells, which bounds the memory.
CELLS = 2_000_000


def mcnemar_midp(b: int, c: int) -> float:
    """Two-sided mid-p of McNemar's test from the discordant counts b and c (Fagerland 2013).

    Needs five discordant pairs for p < 0.05 to be possible. No pairs at all give 1.
    """
    n, k = b + c, min(b, c)
    if n == 0:
        return 1.0
    point = float(stats.binom.pmf(k, n, 0.5))
    if b == c:
        return 1 - 0.5 * point
    return float(2 * stats.binom.cdf(k, n, 0.5) - point)


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p of McNemar's test: b of b + c under a fair coin. No pairs give 1."""
    return float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0


def holm(p: npt.ArrayLike) -> Doubles:
    """Holm's (1979) correction of the p-values (m,) of one family, in their own order."""
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


@dataclass(frozen=True)
class ChanceTest:
    """An observed score, the middle 95 % of what chance gives it, and a one-sided p in (0, 1]."""

    observed: float
    low: float
    high: float
    p: float


def chance_test(
    M: npt.ArrayLike, metric: str = "balanced_accuracy", replicates: int = 10_000, seed: int = 0
) -> ChanceTest:
    """Does a (K, K) confusion matrix score above chance?

    The null keeps both margins, the true class sizes and how often each class was answered, and
    shuffles which image got which answer. p = (1 + #{null ≥ observed})/(B + 1).
    """
    M = np.asarray(M, np.int64)
    rng = np.random.default_rng(seed)
    table = stats.random_table(M.sum(axis=1), M.sum(axis=0))
    block = max(1, min(replicates, CELLS // M.size))
    sizes = [min(block, replicates - start) for start in range(0, replicates, block)]
    score = METRICS[metric]
    null = np.concatenate([score(table.rvs(size, random_state=rng)) for size in sizes])
    # The same score may differ in its last bit when its terms are summed from another table.
    reached = int((null >= float(score(M)) - 1e-12).sum())
    observed, low, high = percentile_interval(float(score(M)), null)
    return ChanceTest(observed, low, high, (1 + reached) / (replicates + 1))


@dataclass(frozen=True)
class Independence:
    """χ² of independence with its degrees of freedom and p, and Cramér's V as the effect size."""

    chi2: float
    df: int
    p: float
    cramers_v: float


def chi2_independence(M: npt.ArrayLike) -> Independence:
    """Pearson's χ² between truth and answer of a (K, K) matrix, empty rows and columns left out.

    A constant prediction leaves one column: χ² is not defined, and 0 with df 0 and p 1 comes back.
    With thousands of images p is tiny for any real dependence, so V always stands beside it.
    """
    M = np.asarray(M, np.int64)
    kept = M[M.sum(axis=1) > 0][:, M.sum(axis=0) > 0]
    if min(kept.shape) < 2:
        return Independence(0.0, 0, 1.0, 0.0)
    result = stats.chi2_contingency(kept, correction=False)
    return Independence(
        float(result.statistic), int(result.dof), float(result.pvalue), float(cramers_v(M))
    )


@dataclass(frozen=True)
class MajorityTest:
    """Against always answering the largest class: images won and lost, and the exact two-sided p.

    ``won`` images outside the majority class are answered correctly, ``lost`` images inside it
    wrongly.
    """

    won: int
    lost: int
    p: float

    @property
    def gain(self) -> int:
        """Images answered correctly beyond what the constant answer gets."""
        return self.won - self.lost


def against_majority(M: npt.ArrayLike) -> MajorityTest:
    """Paired exact test of a (K, K) confusion matrix against the constant majority answer.

    The constant answer is right exactly on its class, so the matrix alone gives the pairing.
    """
    M = np.asarray(M, np.int64)
    m = int(M.sum(axis=1).argmax())
    won = int(np.trace(M) - M[m, m])
    lost = int(M[m].sum() - M[m, m])
    return MajorityTest(won, lost, mcnemar_exact(won, lost))
