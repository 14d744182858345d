"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from headstart.executors.base import R, T

if TYPE_CHECKING:
    from headstart.runtime.run import Tell


class Serial:
    """The executor that every other one must agree with."""

    def __init__(self, workers: int, tell: Tell) -> None:
        """Nothing is needed: there is one worker, and the work itself tells how far it is."""

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """One result after the other, each computed when it is asked for."""
        return map(work, tasks)
