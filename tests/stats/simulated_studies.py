"""Simulated studies: images of differing difficulty, answered by arms of several training runs.

Image i is answered correctly by seed s of an arm when μ + √ρ·easy_i + u_s + √(1 − ρ)·noise > 0,
with u_s of the arm's own seed. Wrong answers fall evenly on the other classes. The defaults give
an accuracy near 75 %, a disagreement near 20 % between two runs, and training runs that differ by
a standard deviation near 1.8 points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


@dataclass(frozen=True)
class World:
    n: int = 300
    seeds: int = 5
    classes: int = 5
    level: float = 0.75
    shared: float = 0.6  # ρ, how much of an image's difficulty is the same for every run
    seed_spread: float = 0.0566  # standard deviation of u_s, in probits

    def at(self, **changes: float) -> World:
        return replace(self, **changes)


def images(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True classes (n,), as even as can be, and how easy each image is (n,)."""
    return np.arange(world.n) % world.classes, rng.standard_normal(world.n)


def answers(
    world: World, y: np.ndarray, easy: np.ndarray, accuracy: float, rng: np.random.Generator
) -> np.ndarray:
    """Predicted classes (S, n) of an arm whose expected accuracy is as given."""
    spread = np.sqrt(1 + world.seed_spread**2)
    mu = NORMAL.inv_cdf(accuracy) * spread
    u = world.seed_spread * rng.standard_normal((world.seeds, 1))
    noise = rng.standard_normal((world.seeds, y.size))
    right = mu + np.sqrt(world.shared) * easy + u + np.sqrt(1 - world.shared) * noise > 0
    other = (y + rng.integers(1, world.classes, size=right.shape)) % world.classes
    return np.where(right, y, other)


def study(
    world: World, gap: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True classes and the answers of two arms, the first better by ``gap`` in expectation."""
    y, easy = images(world, rng)
    a = answers(world, y, easy, world.level + gap / 2, rng)
    b = answers(world, y, easy, world.level - gap / 2, rng)
    return y, a, b


def label_study(
    world: World, labels: np.ndarray, saving: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """True classes and answers (2, F, S, n) where arm 0 does with n what arm 1 does with saving·n.

    The baseline's accuracy rises from 40 to 85 %, as a logistic curve in ln n centred on 200.
    """

    def curve(n: float) -> float:
        return 0.40 + 0.45 / (1 + np.exp(-(np.log(n) - np.log(200))))

    y, easy = images(world, rng)
    arms = [
        [answers(world, y, easy, curve(factor * n), rng) for n in labels]
        for factor in (saving, 1.0)
    ]
    return y, np.array(arms)
