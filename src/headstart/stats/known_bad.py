"""Settings known to fail, said before a run starts."""

from __future__ import annotations

ADAM_LR_MOST = 1e-2
LARS_LR_LEAST = 1e-2
BATCH_LEAST = 64
BATCH_REFUSED = 16
REFUSE = "Refuse: "
"""Starts a line about a setting that must not be run as it is; other lines are warnings."""


def known_bad(
    optimizer: str,
    lr: float,
    batch_size: int,
    has_batchnorm: bool,
    queue: int = 0,
    pool: int | None = None,
) -> list[str]:
    """One line per known-bad combination, none when all is well.

    ``lr`` is the peak learning rate as applied; ``batch_size`` the images one BatchNorm sees (one
    device's share unless statistics are synchronised); ``queue`` the number of MoCo's keys;
    ``pool`` the number of unlabelled images, None if unknown. Lines that start with ``REFUSE``
    say that the run should not start.
    """
    return [
        *_learning_rate(optimizer.lower(), lr),
        *_batch(batch_size, has_batchnorm),
        *_queue(queue, pool),
    ]


def _learning_rate(optimizer: str, lr: float) -> list[str]:
    if optimizer in ("adam", "adamw") and lr > ADAM_LR_MOST:
        return [
            f"{REFUSE}learning rate {lr:g} is sized for LARS, {optimizer} collapses or dies with "
            f"it; use 1e-3·B/256, at most {ADAM_LR_MOST:g}"
        ]
    if optimizer == "lars" and lr < LARS_LR_LEAST:
        return [
            f"learning rate {lr:g} is too small for LARS, which scales it down layer by layer and "
            "would hardly move; use about 0.2·B/256"
        ]
    return []


def _batch(batch_size: int, has_batchnorm: bool) -> list[str]:
    if not has_batchnorm or batch_size >= BATCH_LEAST:
        return []
    fix = "raise the batch, synchronise BatchNorm, or use GroupNorm with weight standardisation"
    if batch_size < BATCH_REFUSED:
        return [f"{REFUSE}BatchNorm over {batch_size} images is noise; {fix}"]
    return [f"BatchNorm over {batch_size} images is noisy, {BATCH_LEAST} or more is safe; {fix}"]


def _queue(queue: int, pool: int | None) -> list[str]:
    if not pool or queue <= pool / 2:
        return []
    if queue > pool:
        return [
            f"a queue of {queue:,} keys over {pool:,} images holds every image about "
            f"{queue / pool:.1f} times, as a negative of itself; use at most {pool // 2:,}"
        ]
    return [
        f"a queue of {queue:,} keys over {pool:,} images often holds the image itself as a "
        f"negative; use at most {pool // 2:,}"
    ]
