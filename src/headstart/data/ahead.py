"""The next batch, made while the device computes on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]


class Ahead:
    """Makes the batch of the next step while this one is used.

    Reading, copying and making views of step k + 1 run in a thread, and on a GPU on a stream, of
    their own. A batch depends on its step alone, so the batches are the same as without it. A
    step out of order (after a resume) is made when it is asked for.
    """

    def __init__(self, batch: Callable[[int], Batch], steps: int, device: torch.device) -> None:
        self._batch, self._steps = batch, steps
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of a step; whatever making it raised is raised here."""
        batch = self._take(step)
        if step + 1 < self._steps:
            self._next = step + 1, self._thread.submit(self._make, step + 1)
        else:
            self._thread.shutdown(wait=False)
        if self._stream is not None:
            current = torch.cuda.current_stream(self._stream.device)
            for tensor in batch:
                tensor.record_stream(current)  # its memory is not used again before we are done
        return batch

    def _take(self, step: int) -> Batch:
        (step_made, made), self._next = self._next or (None, None), None
        try:
            if made is None or step_made != step:
                made = self._thread.submit(self._make, step)
            return made.result()
        finally:
            # An error knows this frame: it must not keep itself, and a GPU's memory, alive.
            del made

    def _make(self, step: int) -> Batch:
        if self._stream is None:
            return self._batch(step)
        with torch.cuda.stream(self._stream):
            batch = self._batch(step)
        self._stream.synchronize()  # this thread waits, so that the one that trains need not
        return batch
