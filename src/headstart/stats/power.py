"""What a planned test set can show, and how many images or seeds a difference would need.

All rules of thumb for 80 % power at the two-sided 5 % level: a difference is seen when it is
2.8 = 1.96 + 0.84 standard errors wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, sqrt

import numpy as np
import numpy.typing as npt

from headstart.stats.mrmc import Mrmc

MULTIPLE = 2.8
ASSUMED_DISAGREEMENT = 0.2
"""Share of images on which two models disagree in correctness, before either is trained."""


def detectable_difference(n: float, disagreement: float = ASSUMED_DISAGREEMENT) -> float:
    """Smallest difference in accuracy (a share) that n test images show: 2.8·√(d/n).

    ``disagreement`` d in (0, 1] is the share of images where one model is right and the other
    wrong. Other training runs are not in it: it is about two sets of weights.
    """
    if n <= 0:
        raise ValueError(f"n must be positive, not {n}")
    return MULTIPLE * sqrt(disagreement / n)


def images_needed(
    delta: float, disagreement: float = ASSUMED_DISAGREEMENT, floor: float = 0.0
) -> int | None:
    """Test images that show a difference ``delta`` (a share): d/((δ/2.8)² − floor), rounded up.

    ``floor`` is the variance that images cannot lower, that of the seeds. ``None`` says that no
    number of images is enough. Raises ``ValueError`` for δ ≤ 0.
    """
    return _count(disagreement, _allowed(delta) - floor)


def seeds_needed(delta: float, seed_variance: float, floor: float = 0.0) -> int | None:
    """Seeds that show a difference ``delta``: variance of one seed/((δ/2.8)² − floor), rounded up.

    ``floor`` is the variance that seeds cannot lower, that of the images. ``None`` says that no
    number of seeds is enough; at least 2 otherwise. Raises ``ValueError`` for δ ≤ 0.
    """
    count = _count(seed_variance, _allowed(delta) - floor)
    return None if count is None else max(2, count)


@dataclass(frozen=True)
class Needs:
    """Test images, or seeds, that would show a difference if only they grew; None: never."""

    images: int | None
    seeds: int | None


def needs(parts: Mrmc, delta: float) -> Needs:
    """What would have shown ``delta``, from the variance components of the study at hand.

    The seeds' own variance is (MS_s − MS_e)/(S·n), left as it is while images grow; the images'
    is max(MS_i − MS_e, 0)/(S·n), left as it is while seeds grow. Few seeds estimate this roughly.
    """
    S, n = parts.seeds, parts.n
    from_seeds = max(parts.ms_seed - parts.ms_error, 0.0) / (S * n)
    from_images = max(parts.ms_image - parts.ms_error, 0.0) / (S * n)
    # One image's variance after averaging over the seeds at hand, and one seed's over the images.
    per_image = max(parts.ms_image, parts.ms_error) / S
    per_seed = parts.ms_seed / n
    return Needs(
        images_needed(delta, per_image, from_seeds), seeds_needed(delta, per_seed, from_images)
    )


def effective_images(support: npt.ArrayLike) -> float:
    """Images that a balanced test set would need for the same precision: K²/Σ(1/n_k).

    ``support`` (K,) counts the test images of each class; classes with none are left out. Balanced
    accuracy weighs classes equally, so a rare class makes the whole test set count for less.
    Raises ``ValueError`` when every class is empty.
    """
    counts = np.asarray(support, float)
    counts = counts[counts > 0]
    if counts.size == 0:
        raise ValueError("no class has any test image")
    return float(counts.size**2 / (1 / counts).sum())


def planned_statement(support: npt.ArrayLike, disagreement: float = ASSUMED_DISAGREEMENT) -> str:
    """What a test set with these class sizes (K,) can show, in points, said before training."""
    n = int(np.sum(support))
    counts = effective_images(support)
    points = 100 * detectable_difference(counts, disagreement)
    uneven = (
        f" (they count as {counts:,.0f} because classes are uneven)" if counts < 0.95 * n else ""
    )
    return (
        f"With {n:,} test images{uneven} this run can only see differences above about "
        f"{points:.2g} points in balanced accuracy, if the two models disagree on "
        f"{100 * disagreement:.0f} % of the images, which is assumed here and measured later."
    )


def _allowed(delta: float) -> float:
    if delta <= 0:
        raise ValueError(f"the difference must be positive, not {delta}")
    return (delta / MULTIPLE) ** 2


def _count(variance: float, allowed: float) -> int | None:
    # A hair off the quotient, so that rounding does not turn exactly 800 images into 801.
    count = variance / allowed * (1 - 1e-12) if allowed > 0 else inf
    return None if count == inf else max(1, ceil(count))
