"""How alike two models' attribution maps of the same images are.

Maps are normalised one by one, a ← clip(a / P99(|a|), −1, 1): the largest value alone would let
one pixel set the scale, and min–max would move the meaning of 0. A raw similarity means nothing
without its floor, as untrained networks are alike too: see ``stats.calibration``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, sobel
from scipy.stats import rankdata

from headstart.data.groups import partners
from headstart.types import Doubles, Floats, Ints

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

MEASURES = ("rmse", "ssim", "spearman", "top_iou", "pearson")
CELLS = 14  # maps are averaged to 14 × 14 cells before they are ranked
BINS = 100  # of the histogram whose entropy says how complex a map is
LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601
TOP = 0.1  # share of the pixels that count as the most important


def normalise(maps: Array) -> Doubles:
    """Each map of (M, H, W) divided by the 99th percentile of its size, and cut at −1 and 1.

    A map with fewer than 1 % of its pixels different from 0 is divided by its largest size; one
    that is 0 everywhere stays so.
    """
    a = np.asarray(maps, dtype=np.float64)
    size = np.abs(a)
    scale = np.percentile(size, 99, axis=(-2, -1), keepdims=True)
    scale = np.where(scale > 0, scale, size.max(axis=(-2, -1), keepdims=True))
    return np.clip(a / np.where(scale > 0, scale, 1), -1, 1)


def rmse(a: Array, b: Array) -> float:
    """Root of the mean squared difference of two maps (H, W)."""
    return float(np.sqrt(np.mean((a - b) ** 2)))


def ssim(a: Array, b: Array, data_range: float) -> float:
    """Mean structural similarity of two maps (H, W) (Wang et al., 2004, equation 13).

    Gaussian window of 11 × 11 with σ = 1.5, K₁ = 0.01, K₂ = 0.03, population variances, and no
    border pixels, as in the paper. ``data_range`` is the width of the scale the maps live on: 1
    for [0, 1], 2 for [−1, 1]. A range too large makes any two maps look alike. SSIM is made for
    pictures: of maps with signs, opposite ones can score high, as the two negative factors
    (means and covariance) multiply; there ``pearson`` is the measure to read.

    Raises:
        ValueError: maps smaller than the window, or a ``data_range`` that does not fit them.
    """
    if min(a.shape) < 11:
        raise ValueError(f"SSIM needs maps of at least 11 × 11 pixels, not {a.shape}")
    _check_range(a, b, data_range)

    def local_mean(values: Array) -> Doubles:
        return np.asarray(gaussian_filter(values, sigma=1.5, radius=5)[5:-5, 5:-5])

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return float(np.mean(luminance * structure))


def pearson(a: Array, b: Array) -> float:
    """Correlation of two maps (H, W), sign included; NaN if one of them is constant."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / size, -1, 1)) if size > 0 else float("nan")


def spearman(a: Array, b: Array) -> float:
    """Rank correlation of the sizes of two maps (H, W), averaged to at most 14 × 14 cells.

    NaN if one of them is the same in all cells.
    """
    x, y = _cells(np.abs(a)), _cells(np.abs(b))
    if min(np.ptp(x) - 1e-9 * x.max(), np.ptp(y) - 1e-9 * y.max()) <= 0:
        return float("nan")
    return pearson(rankdata(x), rankdata(y))


def top_iou(a: Array, b: Array) -> float:
    """Overlap of the 10 % largest |values| of two maps (H, W): intersection over union.

    Pixels equal to the last one in count too, zeros never. NaN if both maps are 0.
    """
    x, y = _top(np.abs(a)), _top(np.abs(b))
    either = np.count_nonzero(x | y)
    return float(np.count_nonzero(x & y) / either) if either else float("nan")


def compare_images(maps_a: Array, maps_b: Array, use: Mask | None = None) -> dict[str, Doubles]:
    """Each of ``MEASURES`` for each of M images, (M,); NaN where one model has no map.

    Row i of ``maps_a`` and ``maps_b`` (M, H, W) belong to the same image. ``use`` (M,) leaves
    out images whose maps did not converge. If any value is negative, both models' maps live on
    [−1, 1], else on [0, 1].

    Raises:
        ValueError: different shapes, values that are not finite, or maps below 11 × 11 pixels.
    """
    if maps_a.shape != maps_b.shape or maps_a.ndim != 3:
        raise ValueError(f"maps must both be (M, H, W), not {maps_a.shape} and {maps_b.shape}")
    if not (np.isfinite(maps_a).all() and np.isfinite(maps_b).all()):
        raise ValueError("maps must be finite")
    usable = _varies(maps_a) & _varies(maps_b) & (True if use is None else np.asarray(use, bool))
    data_range = 2.0 if min(maps_a.min(initial=0), maps_b.min(initial=0)) < 0 else 1.0
    table = np.full((len(MEASURES), len(maps_a)), np.nan)
    for i in np.flatnonzero(usable):
        a, b = normalise(maps_a[i]), normalise(maps_b[i])
        table[:, i] = (
            rmse(a, b),
            ssim(a, b, data_range),
            spearman(a, b),
            top_iou(a, b),
            pearson(a, b),
        )
    return dict(zip(MEASURES, table, strict=True))


def shuffled_pairing(
    maps_a: Array,
    maps_b: Array,
    y: Ints,
    use: Mask | None = None,
    seed: int = 0,
    groups: Ints | None = None,
) -> dict[str, Doubles]:
    """``compare_images`` of A's map on image i with B's on another image of the same class, (M,).

    ``y`` (M,) are the classes. What is left is what maps of any two such images share: padding,
    the middle of the picture, the usual place of the object. The partners form a ring through the
    usable images of a class, so each map serves once; an image without a partner is NaN. Partners
    are of another of ``groups`` (M,) where the class has one: two photos of one thing are one.
    """
    usable = _varies(maps_a) & _varies(maps_b) & (True if use is None else np.asarray(use, bool))
    partner = np.arange(len(maps_a))
    rng = np.random.default_rng(seed)
    apart = np.arange(len(maps_a)) if groups is None else np.asarray(groups)
    for label in np.unique(y):
        own = np.flatnonzero(usable & (y == label))
        partner[own] = own[partners(apart[own], rng)]
    return compare_images(maps_a, maps_b[partner], usable & (partner != np.arange(len(maps_a))))


def edges(x: Array) -> Floats:
    """Edges of images (M, 3, H, W) as if they were maps, (M, H, W): Sobel's gradient of the grey.

    A map that is as alike to them as to another network's map may show the picture, not the model.
    """
    grey = np.tensordot(np.asarray(x, np.float64), LUMA, axes=(1, 0))
    # One by one: of a stack, sobel would blur across the images.
    found = [np.hypot(sobel(image, axis=0), sobel(image, axis=1)) for image in grey]
    return np.asarray(found, np.float32).reshape(grey.shape)


def entropy(maps: Array) -> Doubles:
    """Entropy in nats of each map's values, (M,), from a histogram of 100 bins over its range.

    From 0 (one value) to ln 100 (all equally frequent); NaN for a map that is the same everywhere.
    """
    found = np.full(len(maps), np.nan)
    for i in np.flatnonzero(_varies(maps)):
        counts = np.histogram(maps[i], bins=BINS)[0]
        shares = counts[counts > 0] / counts.sum()
        found[i] = -(shares * np.log(shares)).sum()
    return found


def emprt(trained: Array, random_weights: Array) -> Doubles:
    """(H_random − H_trained)/H_trained of each image's maps, (M,) (Hedström et al., 2024, eMPRT).

    Where learning makes maps simpler it is above 0. It need not: untrained residual networks can
    have very sparse maps, and then it is far below. NaN without both maps.
    """
    before, after = entropy(trained), entropy(random_weights)
    return np.asarray((after - before) / np.where(before > 0, before, np.nan))


def _check_range(a: Array, b: Array, data_range: float) -> None:
    """Refuse a range the values exceed, or of which they fill less than half."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    size = max(abs(low), abs(high))
    natural = 2 * size if low < 0 else size
    if not (high - low) * (1 - 1e-6) <= data_range <= 2 * natural * (1 + 1e-6):
        raise ValueError(f"data_range {data_range:g} does not fit values from {low:g} to {high:g}")


def _varies(maps: Array) -> Mask:
    """(M,) whether a map has different values, beyond rounding."""
    size = np.abs(maps).max(axis=(1, 2), initial=0)
    return np.asarray(np.ptp(maps, axis=(1, 2)) > 1e-6 * size)


def _cells(a: Array) -> Doubles:
    """Averages over a grid of at most 14 × 14 cells, which overlap where sizes do not divide."""
    rows, columns = (_averaging(side) for side in a.shape)
    return np.asarray(rows @ a @ columns.T)


def _averaging(side: int) -> Doubles:
    """A matrix (cells, side) whose rows average the pixels of one cell each."""
    count = min(CELLS, side)
    cell, pixel = np.arange(count)[:, None], np.arange(side)
    start, stop = cell * side // count, -(-(cell + 1) * side // count)
    inside = (pixel >= start) & (pixel < stop)
    return np.asarray(inside / inside.sum(axis=1, keepdims=True))


def _top(size: Array) -> Mask:
    count = max(1, round(TOP * size.size))
    smallest = np.partition(size, -count, axis=None)[-count]
    return np.asarray((size >= smallest) & (size > 0))
