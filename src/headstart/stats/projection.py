"""Features of many dimensions, drawn flat. For the eye only: no verdict rests on a picture."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from headstart.types import Doubles

NEIGHBOURS = 15  # UMAP's default
FEWEST = 3 * NEIGHBOURS  # images; with fewer, everything is everything's neighbour


@dataclass(frozen=True)
class Flat:
    """Points (N, 2) whose largest coordinate is 1 or −1, and how they were found.

    ``variance`` is the share of the whole along each of the two; ``None`` for UMAP.
    """

    name: Literal["pca", "umap"]
    points: Doubles
    variance: tuple[float, float] | None


def flatten(x: Doubles) -> Flat:
    """Draw ``x`` (N, D) flat: by UMAP where it is installed and N is large enough, else by PCA."""
    if len(x) >= FEWEST and find_spec("umap") and x.std() > 0:
        return Flat("umap", neighbours(x), None)
    points, variance = principal(x)
    return Flat("pca", points, variance)


def principal(x: Doubles) -> tuple[Doubles, tuple[float, float]]:
    """Points (N, 2) along the first two principal components of ``x`` (N, D), and their variance.

    The largest weight of a component is positive, since the sign of a component means nothing.
    The variances are shares of the whole, 0 to 1. (Pearson 1901.)
    """
    centred = x - x.mean(axis=0)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    whole = float((s**2).sum())
    points = np.zeros((len(x), 2))
    shares = [0.0, 0.0]
    for i in range(min(2, len(s)) if whole > 0 else 0):
        points[:, i] = u[:, i] * s[i] * np.sign(v[i, np.abs(v[i]).argmax()])
        shares[i] = float(s[i] ** 2) / whole
    return _within_one(points), (shares[0], shares[1])


def neighbours(x: Doubles) -> Doubles:
    """Points (N, 2) that keep the near neighbours of ``x`` (N, D) near. (McInnes et al. 2018.)

    The same features give the same points, with one version of the library ``umap``.
    """
    from umap import UMAP

    found = UMAP(n_neighbors=NEIGHBOURS, random_state=0, n_jobs=1).fit_transform(x)
    points = np.asarray(found, dtype=np.float64)
    return _within_one(points - (points.max(axis=0) + points.min(axis=0)) / 2)


def _within_one(points: Doubles) -> Doubles:
    return points / (float(np.abs(points).max(initial=0.0)) or 1.0)
