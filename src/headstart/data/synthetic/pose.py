"""The pose of a bag: from bag space to the pixels of a canvas, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from headstart.data.synthetic.curves import Array
from headstart.data.synthetic.parts import Bag


@dataclass(frozen=True)
class Pose:
    """A homography (3, 3) from bag space to oversampled pixels, and its scale there."""

    matrix: npt.NDArray[np.float64]
    inverse: Array
    scale: float

    def __call__(self, points: Array) -> Array:
        """Points (N, 2) of bag space in oversampled pixels."""
        x = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.matrix.T
        return (x[:, :2] / x[:, 2:]).astype(np.float32)

    def back(self, box: tuple[int, int, int, int]) -> tuple[Array, Array]:
        """Bag coordinates u, v (H, W) of the pixels in a box (left, top, right, bottom)."""
        m = self.inverse
        x = np.arange(box[0], box[2], dtype=np.float32)[None, :]
        y = np.arange(box[1], box[3], dtype=np.float32)[:, None]
        z = m[2, 0] * x + (m[2, 1] * y + m[2, 2])
        return (m[0, 0] * x + (m[0, 1] * y + m[0, 2])) / z, (
            m[1, 0] * x + (m[1, 1] * y + m[1, 2])
        ) / z


def _area(polygon: Array) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def random_pose(bag: Bag, size: tuple[int, int], r: Generator) -> Pose:
    """Where the bag stands: turned, mirrored, sheared, seen a little askew, and in the frame."""
    turn = float(np.clip(r.normal(0, 0.12), -0.4, 0.4))
    flip = float(r.choice([-1, 1]))
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = linear @ np.array([[flip * r.uniform(0.88, 1.08), r.uniform(-0.08, 0.08)], [0, 1]])
    tilt = r.uniform(-0.1, 0.1, 2)
    points = np.concatenate([part.points for part in bag]) @ linear.T
    low, high = points.min(axis=0) - 0.06, points.max(axis=0) + 0.06
    frame, extent = np.array(size, dtype=float), high - low
    area = max(_area(part.points) for part in bag if part.width == 0)
    scale = float(
        min(
            r.uniform(0.88, 1.06) * (frame / extent).min(),
            math.sqrt(r.uniform(0.24, 0.46) * frame.prod() / area),
        )
    )
    slack = np.abs(frame - scale * extent) / 2
    centre = frame / 2 + slack * r.uniform(-0.85, 0.85, 2)
    inner = np.eye(3)
    inner[:2, :2] = linear
    inner[:2, 2] = -(low + high) / 2
    outer = np.array([[scale, 0, 0], [0, scale, 0], [*tilt, 1]])
    move = np.array([[1, 0, centre[0]], [0, 1, centre[1]], [0, 0, 1]])
    matrix = move @ outer @ inner
    return Pose(matrix, np.linalg.inv(matrix).astype(np.float32), scale)
