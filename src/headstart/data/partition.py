"""A stratified cut into parts where some images must stay together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.types import Doubles, Ints

# A part without any image of a class costs more than every unevenness (at most about 4 a class).
_EMPTY = {"train": 1000.0, "test": 100.0, "validation": 10.0}
_REFINED = 2000  # groups up to which single moves are tried after the greedy cut
_PASSES = 20


def quota(n: int, targets: Mapping[str, float], placed: Mapping[str, int]) -> dict[str, int]:
    """How many of n images without a group go to each part; ``placed`` are there already.

    An empty part gets one first (train, then test, then validation), then the part that lacks most
    of its target. Targets sum to all images of the class, loose and placed.
    """
    have = {name: placed.get(name, 0) for name in targets}
    empty = [name for name in sorted(targets, key=_first_served) if not have[name]]
    for name in empty[:n]:
        have[name] = 1
    for _ in range(n - min(n, len(empty))):
        have[max(targets, key=lambda name: targets[name] - have[name])] += 1
    return {name: have[name] - placed.get(name, 0) for name in targets}


def _first_served(name: str) -> int:
    return {"train": 0, "test": 1}.get(name, 2)


def place_groups(
    sizes: Ints, loose: Ints, shares: Mapping[str, float], rng: np.random.Generator
) -> list[str]:
    """The part of each group, so that every class comes as near to its shares as groups allow.

    Largest groups first, each to where it costs least, as in scikit-learn's StratifiedGroupKFold;
    then single groups move as long as that helps. The cost is Σ (n − target)²/(target·total) over
    classes and parts, and much more for a part that has no image of a class.

    Args:
        sizes: images of each class in each group, (G, C).
        loose: images of each class in no group, (C,); they are cut afterwards, by ``quota``.
        shares: of the parts, summing to 1.
        rng: decides between groups of one size.
    """
    names = sorted(shares, key=_first_served)
    totals = sizes.sum(axis=0) + loose
    targets = totals[:, None] * np.array([shares[name] for name in names])
    empty = np.array([_EMPTY[name] for name in names])
    cut = _Cut(targets, loose, empty)
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.argsort(-sizes.sum(axis=1)[shuffled], kind="stable")]
    part = np.full(len(sizes), -1)
    for _ in range(_PASSES if len(sizes) <= _REFINED else 1):
        before = part.copy()
        for g in order:
            part[g] = cut.move(sizes[g], int(part[g]))
        if np.array_equal(before, part):
            break
    return [names[p] for p in part]


class _Cut:
    """Images of each class in each part (C, S) while groups are placed."""

    def __init__(self, targets: Doubles, loose: Ints, empty: Doubles) -> None:
        self.targets, self.loose, self.empty = targets, loose, empty
        self.placed = np.zeros_like(targets)

    def move(self, group: Ints, part: int) -> int:
        """Take a group (C,) out of its part (−1: it is in none) and put it where it costs least."""
        classes = np.flatnonzero(group)
        if part >= 0:
            self.placed[classes, part] -= group[classes]
        costs = [self._cost(classes, group, other) for other in range(len(self.empty))]
        best = int(np.argmin(np.round(costs, 9)))
        self.placed[classes, best] += group[classes]
        return best

    def _cost(self, classes: Ints, group: Ints, part: int) -> float:
        placed, targets = self.placed[classes].copy(), self.targets[classes]
        placed[:, part] += group[classes]
        uneven = (placed - targets) ** 2 / (targets * targets.sum(axis=1, keepdims=True))
        holes = placed == 0
        filled = np.cumsum(holes, axis=1) <= self.loose[classes, None]  # loose images fill them
        return float(uneven.sum() + (self.empty * (holes & ~filled)).sum())
