"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headstart.executors.base import R, T


class Serial:
    """The executor that every other one must agree with."""

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """One result after the other, each computed when it is asked for."""
        return map(work, tasks)
