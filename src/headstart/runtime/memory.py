"""Out of memory: one line that names a batch size that was tried and fits."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from headstart.config import StudyError
from headstart.engine import Engine, Reading, Training


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left to give."""
    # The processor has no error class of its own, nor have CUDA's libraries.
    texts = ("DefaultCPUAllocator", "can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def fitting(
    train: Callable[[], object],
    smaller: Callable[[int], Training],
    batch: tuple[str, str, int],
    engine: Engine,
    kept: Callable[[], bool] = lambda: False,
) -> None:
    """Train; where memory runs out, say which batch size fits.

    Args:
        train: the training, which leaves nothing behind when it fails.
        smaller: the same training with another batch size.
        batch: what is trained, how its batch size is set, and the batch size.
        engine: where it runs.
        kept: whether the training left something to go on from.

    Raises:
        StudyError: it does not fit; half the batch, a quarter and so on were tried for one step.
        MemoryError: it did fit until now: another batch size would begin from nothing.
    """
    if _fits(train):
        return
    if kept():
        raise MemoryError
    name, setting, tried = batch
    too_large = f"{name}: a step of {tried} images does not fit into the memory of {engine.device}"
    size = tried // 2
    while size >= 2:
        if _fits(lambda size=size: engine.fit(replace(smaller(size), steps=1), _NoWatcher())):  # type: ignore[misc]
            also = "" if engine.recomputes else ", or --activation-checkpointing, which may do"
            raise StudyError(f"{too_large}, one of {size} does; try {setting}{size}{also}")
        size //= 2
    raise StudyError(
        f"{too_large}, nor does any smaller one; try smaller images or a smaller backbone"
    )


def _fits(work: Callable[[], object]) -> bool:
    try:
        work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    gc.collect()  # out here, where the failed step is no longer held
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


class _NoWatcher:
    """A watcher for a step that is only tried."""

    read_every = 1

    def __call__(self, reading: Reading) -> None:
        """Go on."""

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to keep."""


def peak_memory() -> int:
    """The most memory that this process has held, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
