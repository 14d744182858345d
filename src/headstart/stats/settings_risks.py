"""Pretraining settings that are known to fail, found before a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ADAM_LR_MOST = 1e-2
LARS_LR_LEAST = 1e-2
BATCH_LEAST = 64
BATCH_NOISE = 16


@dataclass(frozen=True)
class Risk:
    """One line about a setting; ``refuse`` says that the run must not start with it."""

    line: str
    refuse: bool


def settings_risks(optimizer: str, lr: float, batch_size: int) -> list[Risk]:
    """What is wrong with a pretraining's settings; empty when nothing is.

    ``optimizer`` is one of sgd, lars and adamw, ``lr`` the peak learning rate as applied, and
    ``batch_size`` the images that one BatchNorm sees. Only a learning rate that no batch or data
    can save is refused: a small batch trains badly, but a study of a few images has no other.
    """
    return [*_learning_rate(optimizer, lr), *_batch(batch_size)]


def _learning_rate(optimizer: str, lr: float) -> Iterator[Risk]:
    if optimizer == "adamw" and lr > ADAM_LR_MOST:
        yield Risk(
            f"learning rate {lr:g} is sized for LARS, {optimizer} collapses or dies with it; use "
            f"1e-3·B/256, at most {ADAM_LR_MOST:g}",
            refuse=True,
        )
    if optimizer == "lars" and lr < LARS_LR_LEAST:
        yield Risk(
            f"learning rate {lr:g} is too small for LARS, which scales it down layer by layer and "
            "would hardly move; use about 0.2·B/256",
            refuse=False,
        )


def _batch(batch_size: int) -> Iterator[Risk]:
    if batch_size >= BATCH_LEAST:
        return
    fix = "raise the batch, synchronise BatchNorm, or use GroupNorm with weight standardisation"
    problem = (
        f"BatchNorm over {batch_size} images is noise"
        if batch_size < BATCH_NOISE
        else f"BatchNorm over {batch_size} images is noisy, {BATCH_LEAST} or more is safe"
    )
    yield Risk(f"{problem}; {fix}", refuse=False)
