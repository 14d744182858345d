"""What a similarity of attribution maps means: between its floor and its ceiling.

Two networks that learned nothing can be alike too (both know padding, edges and the middle of
the picture), and two seeds of one method are not identical. So a similarity s is read on the scale
CS = (s − floor)/(ceiling − floor): 0 is as alike as untrained networks, 1 as two seeds of one
method. All arrays are values of the same M images, for instance ``compare_images(…)["spearman"]``.
"""

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

Verdict = Literal["same", "different", "unclear", "not_reproducible", "no_ceiling", "no_maps"]

ALIKE = 0.5  # a calibrated similarity that is surely above it is "the same things"


@dataclass(frozen=True)
class Calibrated:
    """A calibrated similarity with its 95 % interval over images, and what it rests on.

    ``between`` and ``floor`` are means of the raw similarity over the same ``n`` images,
    ``ceiling`` the geometric mean of the two methods' own; ``value``, ``low`` and ``high`` are on
    the calibrated scale. NaN where not known: the calibrated values need two ceilings that are
    surely above the floor.
    """

    value: float
    low: float
    high: float
    between: float
    floor: float
    ceiling: float
    n: int
    verdict: Verdict


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
    ceilings: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    plan: Resampling = DEFAULT,
) -> Calibrated:
    """Where two methods' similarity stands between that of untrained networks and of two seeds.

    Two methods that look at the same things are alike only as far as each is like itself: were
    their maps one common map under noise, their correlation would be √(r_A · r_B), where r_A and
    r_B are those of two seeds of each (Spearman, 1904, correction for attenuation). So that is
    the ceiling, and a method that is merely noisier is not thereby different.

    Args:
        between: similarity of the two methods on each image, (M,); NaN without a map.
        floor: the same of a trained and an untrained network (or of two untrained ones), (M,);
            better the highest of several nulls, see ``strongest_null``.
        ceilings: the same of two seeds of each method, (M,) both; None, or one that is all NaN,
            where a method has no second seed with maps.
        plan: the bootstrap over images, paired: all means of a replicate are over the same images.
            Images with a NaN anywhere are left out. Seeds are not resampled.

    "not_reproducible" unless each method's own ceiling is above the floor with its whole interval;
    "same" if the lower limit is above 0.5; else "different" if ceiling − between is above 0 with
    its whole interval; else "unclear". Raises ``ValueError`` for arrays of different lengths.
    """
    own = ceilings or ()
    table = np.stack([np.asarray(row, float) for row in (between, floor, *own)])
    if not np.isfinite(table[2:]).any(axis=1).all():  # a second seed that has no map at all
        table = table[:2]
    known = np.isfinite(table).all(axis=0)
    n, count = int(known.sum()), units(known, plan)
    if n == 0:
        return _uncalibrated(np.full(3, np.nan), 0, "no_maps")
    observed = table[:, known].mean(axis=1)
    if len(table) == 2:
        return _uncalibrated(np.append(observed, np.nan), n, "no_ceiling")
    raw = np.append(observed[:2], _geometric(observed[2:]))
    if count < FEWEST:
        return _uncalibrated(raw, n, "no_maps")
    draws = mean_replicates(table, plan)
    if not _reproducible(observed, draws, count):
        return _uncalibrated(raw, n, "not_reproducible")
    (s, f), c = draws[:2], _geometric(draws[2:])
    # A replicate without a span has no scale; such ones are beyond the interval that was tested.
    scaled = (s - f)[c > f] / (c - f)[c > f]
    value = float((raw[0] - raw[1]) / (raw[2] - raw[1]))
    found = mean_interval(value, scaled, count)
    below = mean_interval(raw[2] - raw[0], c - s, count)
    verdict: Verdict = "same" if found.low > ALIKE else "different" if below.low > 0 else "unclear"
    return _calibrated(found, raw, n, verdict)


def _geometric(means: Doubles) -> Doubles:
    """√(r_A · r_B) of the two rows (2, …); 0 where one is below 0."""
    a, b = np.maximum(means, 0)
    return np.asarray(np.sqrt(a * b))


def _reproducible(observed: Doubles, draws: Doubles, count: int) -> bool:
    """Whether each method's two seeds are surely more alike than the floor."""
    spans = zip(observed[2:] - observed[1], draws[2:] - draws[1], strict=True)
    return all(mean_interval(value, some, count).low > 0 for value, some in spans)


def _uncalibrated(raw: Doubles, n: int, verdict: Verdict) -> Calibrated:
    return _calibrated(Interval(np.nan, np.nan, np.nan), raw, n, verdict)


def _calibrated(scaled: Interval, raw: Doubles, n: int, verdict: Verdict) -> Calibrated:
    between, floor, ceiling = (float(x) for x in raw)
    return Calibrated(*scaled, between, floor, ceiling, n, verdict)


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
    known = np.isfinite(gaps)
    n = int(known.sum())
    count = units(known, plan) if n else 0
    if count < FEWEST:
        return Sanity(np.nan, np.nan, np.nan, n, None)
    draws = mean_replicates(gaps, plan)[0]
    value, low, high = mean_interval(float(np.nanmean(gaps)), draws, count)
    return Sanity(value, low, high, n, bool(low > 0))
