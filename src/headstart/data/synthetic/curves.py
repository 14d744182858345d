"""Curves: the outlines and paths a bag is made of, each an array of points (N, 2).

Bag space, in which shapes are described: x to the right, y **down**, the body about 2 units wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
XY = tuple[float, float]


def coords(*xy: XY) -> Array:
    """Points (N, 2)."""
    return np.array(xy, dtype=np.float32)


def vector(x: float, y: float) -> Array:
    """A place, or a shift (2,)."""
    return np.array((x, y), dtype=np.float32)


def rounded(corners: Array, radii: float | Sequence[float]) -> Array:
    """A polygon (N, 2) whose corners are cut round; a radius never takes over half an edge."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    radius = np.broadcast_to(np.asarray(radii, dtype=np.float32), len(corners))[:, None]
    starts = corners + _towards(before - corners, radius)
    ends = corners + _towards(after - corners, radius)
    t = np.linspace(0, 1, 9, dtype=np.float32)[None, :, None]
    arcs = (
        (1 - t) ** 2 * starts[:, None] + 2 * t * (1 - t) * corners[:, None] + t**2 * ends[:, None]
    )
    return arcs.reshape(-1, 2).astype(np.float32)


def _towards(edge: Array, radius: Array) -> Array:
    length = np.linalg.norm(edge, axis=1, keepdims=True) + 1e-6
    return np.asarray(edge / length * np.minimum(radius, length * 0.49), dtype=np.float32)


def spline(points: Array, closed: bool = False, samples: int = 10) -> Array:
    """A Catmull–Rom curve through the points (N, 2)."""
    if closed:
        p = np.concatenate([points[-1:], points, points[:2]])
    else:
        p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, samples, endpoint=False, dtype=np.float32)[None, :, None]
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    curve = curve.reshape(-1, 2)
    return np.asarray(curve if closed else np.concatenate([curve, points[-1:]]), dtype=np.float32)


def arch(half: float, base: float, height: float, square: float = 2.0, legs: float = 0.0) -> Array:
    """A handle: from (-half, base) up by ``height`` and down to (half, base).

    ``square`` is the superellipse's exponent (2: round, 4: boxy); ``legs`` go below the base.
    """
    t = np.linspace(math.pi, 0, 37)
    power = 2 / square
    x = half * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    y = base - height * np.abs(np.sin(t)) ** power
    path = np.stack([x, y], axis=1)
    if legs > 0:
        path = np.concatenate([[[-half, base + legs]], path, [[half, base + legs]]])
    return path.astype(np.float32)


def ellipse(centre: XY, rx: float, ry: float, span: float = 1.0) -> Array:
    """``span`` of an ellipse's outline, from its right end down and round."""
    t = np.linspace(0, 2 * math.pi * span, 33 if span < 1 else 57)
    return np.stack([centre[0] + rx * np.cos(t), centre[1] + ry * np.sin(t)], axis=1).astype(
        np.float32
    )


def rectangle(half: float, top: float, bottom: float) -> Array:
    """Four corners, clockwise from the top left, as far right of x = 0 as left of it."""
    return coords((-half, top), (half, top), (half, bottom), (-half, bottom))


def resampled(points: Array, step: float) -> Array:
    """The same curve at equal steps of its length."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], max(2, int(along[-1] / max(step, 0.5))))
    return np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1).astype(np.float32)


def mirrored(points: Array) -> Array:
    """The points with left and right exchanged."""
    return points * vector(-1, 1)


def inset(polygon: Array, scale: float) -> Array:
    """The closed outline (N + 1, 2), scaled about the middle of the polygon's bounding box."""
    centre = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    closed = np.concatenate([polygon, polygon[:1]])
    return np.asarray(centre + (closed - centre) * scale, dtype=np.float32)
