"""How spread out an encoder's outputs are, read from a fixed set of probe images.

Z is (N, d), one row per image, taken in eval mode. No single number sees every way to fail: the
std ratio and the mean cosine see complete collapse but give a line or two opposite points full
marks; the effective rank sees those but takes a constant plus noise for a rich representation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.types import Doubles


@dataclass(frozen=True)
class Spread:
    """What ``spread`` measures of one Z (N, d); all NaN when Z holds a non-finite value.

    ``std_ratio`` 0 (constant) to about 1 (isotropic); ``mean_cosine`` −1 to 1, about 1 when
    collapsed; ``effective_rank`` 1 to min(N − 1, d), centred; ``rankme`` about 1 to min(N, d), not
    centred.
    """

    std_ratio: float
    mean_cosine: float
    effective_rank: float
    rankme: float


def spread(Z: npt.ArrayLike) -> Spread:
    """All measures of one matrix of outputs Z (N, d), N ≥ 2. A run that broke gives NaN."""
    Z = _matrix(Z)
    if not np.isfinite(Z).all():
        return Spread(*[float("nan")] * 4)
    return Spread(std_ratio(Z), mean_cosine(Z), effective_rank(Z), rankme(Z))


def std_ratio(Z: npt.ArrayLike) -> float:
    """√d · mean over channels of the standard deviation of z/‖z‖ (SimSiam, Chen & He 2021, §4.1).

    0 for a constant, about 1 for an isotropic Z. Blind to dimensional collapse.
    """
    U = _unit(_matrix(Z))
    return float(np.sqrt(U.shape[1]) * U.std(axis=0).mean())


def mean_cosine(Z: npt.ArrayLike) -> float:
    """Mean cosine over all pairs of different rows, in [−1, 1], from one sum: O(N·d)."""
    U = _unit(_matrix(Z))
    total = U.sum(axis=0)
    return float((total @ total - (U * U).sum()) / (len(U) * (len(U) - 1)))


def effective_rank(Z: npt.ArrayLike) -> float:
    """exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007), ≥ 1.

    1 for a constant and for one-dimensional data; at most min(N − 1, d). Centred, and so blind to
    a constant with a little noise on it.
    """
    Z = _matrix(Z)
    variance = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False) ** 2
    if variance.sum() == 0:
        return 1.0
    p = variance / variance.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def rankme(Z: npt.ArrayLike) -> float:
    """RankMe: exp of the entropy of the normalised singular values, not centred (Garrido 2023).

    p_k = σ_k/‖σ‖₁ + 1e-7. About 1 for a constant. Compares runs of one method only, and reads low
    unless N is much larger than d. Z of zeros gives 1.
    """
    sigma = np.linalg.svd(_matrix(Z), compute_uv=False)
    if sigma.sum() == 0:
        return 1.0
    p = sigma / sigma.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


def _matrix(Z: npt.ArrayLike) -> Doubles:
    Z = np.asarray(Z, float)
    if Z.ndim != 2 or Z.shape[0] < 2 or Z.shape[1] < 1:
        raise ValueError(f"outputs must be (N, d) with N ≥ 2, not {Z.shape}")
    return Z


def _unit(Z: Doubles) -> Doubles:
    """Rows at length 1; a row of zeros stays zero."""
    norm = np.linalg.norm(Z, axis=1, keepdims=True)
    return Z / np.where(norm > 0, norm, 1.0)
