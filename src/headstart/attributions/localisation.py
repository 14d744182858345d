"""Does attribution fall on the object? Maps against foreground masks, image by image.

Shares are of A = |map| / Σ|map|. A share means nothing without the area the object covers: a
uniform map puts exactly that much on it. ``lift`` is the share over the area, 1 for a uniform map;
but a blob in the middle of the picture reaches 2 on centred objects without any model
(``centred``), so a network is compared with itself untrained (``stats.focus.compare_focus``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from headstart.types import Doubles

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

MEASURES = ("rma", "rra", "pointing", "auc", "lift", "background", "area")
TOLERANCE = 0.07  # of the height: 15 pixels at 224, as the pointing game has it


@dataclass(frozen=True, eq=False)
class Localisation:
    """One value an image, (M,) each; NaN where the image was left out.

    ``rma`` share of the attribution on the object (Arras et al., 2022), ``rra`` share of the
    |mask| strongest pixels that lie on it, ``pointing`` 1 if the strongest lies within 7 % of the
    height of it (Zhang et al., 2018), ``auc`` of |map| against the mask, ``area`` share of the
    pixels the object covers, ``lift`` rma/area and ``background`` 1 − rma. Left out
    are images whose map is missing (zero, not finite, not used) or whose mask is empty or full.
    """

    rma: Doubles
    rra: Doubles
    pointing: Doubles
    auc: Doubles
    area: Doubles
    lift: Doubles
    background: Doubles


def localise(maps: Array, masks: Mask, use: Mask | None = None) -> Localisation:
    """Every measure of maps (M, H, W), signed or not, against masks (M, H, W), True on the object.

    ``use`` (M,) leaves out images whose maps did not converge.
    Raises ``ValueError`` for shapes that do not fit together.
    """
    maps, masks = np.asarray(maps), np.asarray(masks, bool)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} must both be (M, H, W)")
    wanted = np.ones(len(maps), bool) if use is None else np.asarray(use, bool)
    shown = wanted & np.isfinite(maps).all(axis=(1, 2)) & maps.any(axis=(1, 2))
    covered = masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2))
    table = np.full((len(MEASURES), len(maps)), np.nan)
    for i in np.flatnonzero(shown & covered):
        a, mask = np.abs(maps[i].astype(np.float64)), masks[i]
        rma, area = a[mask].sum() / a.sum(), mask.mean()
        found = (rma, _rra(a, mask), _pointing(a, mask), _auc(a, mask), rma / area, 1 - rma, area)
        table[:, i] = found
    return Localisation(**dict(zip(MEASURES, table, strict=True)))


def centred(height: int, width: int) -> Doubles:
    """The null without a model: a Gaussian (H, W) in the middle, σ = H/4."""
    sigma = height / 4
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    return np.asarray(np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2)))


def _rra(a: Doubles, mask: Mask) -> float:
    """Pixels that share the last place share its seats: a uniform map scores the area."""
    count = int(mask.sum())
    last = np.partition(a, -count, axis=None)[-count]
    above, tied = a > last, a == last
    seats = (count - above.sum()) / tied.sum()
    return float(((above & mask).sum() + seats * (tied & mask).sum()) / count)


def _pointing(a: Doubles, mask: Mask) -> float:
    near = distance_transform_edt(~mask) <= TOLERANCE * len(mask)
    return float(near[a == a.max()].mean())


def _auc(a: Doubles, mask: Mask) -> float:
    """Mann–Whitney's U over the number of pairs; ties count half."""
    ranks, inside = rankdata(a), int(mask.sum())
    wins = ranks[mask.ravel()].sum() - inside * (inside + 1) / 2
    return float(wins / (inside * (mask.size - inside)))
