"""What a similarity of attribution maps means: between its floor and its ceiling.

Two networks that learned nothing can be alike too (both know padding, edges and the middle of
the picture), and two seeds of one method are not identical. So a similarity s is read on the scale
CS = (s − floor)/(ceiling − floor): 0 is as alike as untrained networks, 1 as two seeds of one
method. All arrays are values of the same M images, for instance ``compare_images(…)["spearman"]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.stats.bootstrap import DEFAULT, Resampling, mean_replicates
from headstart.stats.intervals import Interval, percentile_interval
from headstart.types import Doubles

SENTENCES = {
    "same": "look at the same things",
    "different": "look at different things",
    "unclear": "can't tell",
    "not_reproducible": (
        "maps from this method are not reproducible across seeds; no comparison is possible"
    ),
    "no_ceiling": "can't tell: a second seed of a method is needed to know how alike maps can be",
    "no_maps": "can't tell: too few images have a map from every network",
}
"""What each verdict says, about two methods."""

ALIKE = 0.5  # a calibrated similarity that is surely above it is "the same things"
FEWEST = 5  # images without which no interval is worth showing


@dataclass(frozen=True)
class Calibrated:
    """A calibrated similarity with its 95 % interval over images, and what it rests on.

    ``between``, ``floor``, ``ceiling`` and ``within`` are means of the raw similarity over the
    same ``n`` images; ``value``, ``low`` and ``high`` are on the calibrated scale. NaN where not
    known: the calibrated values need a ceiling that is surely above the floor. ``verdict`` is a
    key of ``SENTENCES``, ``sentence`` its text.
    """

    value: float
    low: float
    high: float
    between: float
    floor: float
    ceiling: float
    within: float
    n: int
    verdict: str
    sentence: str


def strongest_null(nulls: Mapping[str, npt.ArrayLike]) -> tuple[str, Doubles]:
    """The null with the highest mean, by name, and its values (M,): the floor to calibrate with.

    Similarities of a trained and an untrained network may be too low a floor: an untrained
    ResNet whose residual branches start at zero sees a coarse grid of pixels that no trained one
    shows. Pairing two images of a class (``shuffled_pairing``) keeps what trained networks share
    without seeing the same picture. Means are over the images that all nulls have. Raises
    ``ValueError`` without any null.
    """
    if not nulls:
        raise ValueError("no null to choose from")
    table = np.stack([np.asarray(row, float) for row in nulls.values()])
    known = np.isfinite(table).all(axis=0)
    best = int(table[:, known].mean(axis=1).argmax()) if known.any() else 0
    return list(nulls)[best], table[best]


def calibrate(
    between: npt.ArrayLike,
    floor: npt.ArrayLike,
    ceiling: npt.ArrayLike | None,
    within: npt.ArrayLike | None = None,
    plan: Resampling = DEFAULT,
) -> Calibrated:
    """Where two methods' similarity stands between that of untrained networks and of two seeds.

    Args:
        between: similarity of the two methods on each image, (M,); NaN without a map.
        floor: the same of a trained and an untrained network (or of two untrained ones), (M,);
            better the highest of several nulls, see ``strongest_null``.
        ceiling: the same of two seeds of one method, (M,); None where no method has two seeds.
        within: what ``between`` must lie below for "different things": a mean of both methods'
            own likeness across seeds; without it the ceiling.
        plan: the bootstrap over images, percentile and paired: all means of a replicate are over
            the same images. Images with a NaN anywhere are left out. Seeds are not resampled.

    "same" if the lower limit is above 0.5; else "different" if within − between is above 0 with
    its whole interval; else "unclear". Raises ``ValueError`` for arrays of different lengths.
    """
    top = between if ceiling is None else ceiling
    own = top if within is None else within
    table = np.stack([np.asarray(row, float) for row in (between, floor, top, own)])
    known = np.isfinite(table).all(axis=0)
    n = int(known.sum())
    if n == 0:
        return _uncalibrated(np.full(4, np.nan), 0, "no_maps")
    observed = table[:, known].mean(axis=1)
    if ceiling is None:
        return _uncalibrated(np.append(observed[:2], [np.nan, np.nan]), n, "no_ceiling")
    if n < FEWEST:
        return _uncalibrated(observed, n, "no_maps")
    s, f, c, w = mean_replicates(table, plan)
    span = percentile_interval(observed[2] - observed[1], c - f)
    if span.low <= 0:
        return _uncalibrated(observed, n, "not_reproducible")
    value = float(observed[0] - observed[1]) / span.value
    # A replicate without a span has no scale; such ones are beyond the interval that was tested.
    scaled = (s - f)[c > f] / (c - f)[c > f]
    value, low, high = percentile_interval(value, scaled)
    below = percentile_interval(observed[3] - observed[0], w - s)
    verdict = "same" if low > ALIKE else "different" if below.low > 0 else "unclear"
    return _calibrated(Interval(value, low, high), observed, n, verdict)


def _uncalibrated(observed: Doubles, n: int, verdict: str) -> Calibrated:
    return _calibrated(Interval(np.nan, np.nan, np.nan), observed, n, verdict)


def _calibrated(scaled: Interval, raw: Doubles, n: int, verdict: str) -> Calibrated:
    between, floor, ceiling, within = (float(x) for x in raw)
    return Calibrated(*scaled, between, floor, ceiling, within, n, verdict, SENTENCES[verdict])


@dataclass(frozen=True)
class Sanity:
    """The model randomisation check of an attribution method (Adebayo et al., 2018).

    ``difference`` is the likeness of two seeds minus that of a trained network to random weights,
    with its 95 % interval over ``n`` images. ``passed`` is None where it could not be run.
    """

    difference: float
    low: float
    high: float
    n: int
    passed: bool | None
    sentence: str


def sanity(
    to_random: npt.ArrayLike, across_seeds: npt.ArrayLike | None, plan: Resampling = DEFAULT
) -> Sanity:
    """Do the maps of a method depend on what the network learned? Similarities (M,) each.

    A map that is as alike under random weights as across two trained seeds shows the image or the
    architecture, not the learning: the *method* is insensitive, whatever the network.
    """
    gaps = np.full(1, np.nan)
    if across_seeds is not None:
        gaps = np.asarray(across_seeds, float) - np.asarray(to_random, float)
    n = int(np.isfinite(gaps).sum())
    if n < FEWEST:
        return Sanity(np.nan, np.nan, np.nan, n, None, "not run: it needs two seeds and their maps")
    value, low, high = percentile_interval(float(np.nanmean(gaps)), mean_replicates(gaps, plan)[0])
    if low > 0:
        return Sanity(value, low, high, n, True, "the maps depend on what the network learned")
    line = "insensitive: the maps are as alike under random weights as across two seeds"
    return Sanity(value, low, high, n, False, line)
