"""Which supervised arm candidates are compared with: the better one on validation images.

A practitioner trains supervised as well as they can before asking whether pretraining helps, so
the compute-matched arm takes the baseline's place wherever it does better. The choice never sees a
test image.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.arms import BASELINE, BASELINES, Arm
from headstart.stages.compare.families import Judged


def available(judged: Judged, fractions: Sequence[float]) -> list[Arm]:
    """The supervised arms with predictions at all these label fractions; at least the plain one."""
    found = [arm for arm in BASELINES if judged.repeats(fractions, arm)]
    return found or [BASELINE]


def baseline(judged: Judged, fractions: Sequence[float]) -> Arm:
    """The supervised arm with the higher balanced accuracy on validation.

    A mean over the repeats that all of them have and over ``fractions``; of equals, and where
    validation is unknown, the plain one.
    """
    arms = available(judged, fractions)
    shared = judged.repeats(fractions, *arms)

    def mean(arm: Arm) -> float:
        cells = [judged.key(arm, training, f) for training in shared for f in fractions]
        return sum(judged.validation.get(cell, 0.0) for cell in cells)

    return max(arms, key=mean)


def chosen_from(judged: Judged, fractions: Sequence[float]) -> tuple[Arm, ...]:
    """What the baseline was chosen from; empty where there was no choice."""
    arms = available(judged, fractions)
    return tuple(arms) if len(arms) > 1 else ()
