"""What an executor is: work, done once for each of some tasks, wherever that may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from headstart.runtime.run import Tell

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Does the same work for many tasks; made anew for every run."""

    def __init__(self, workers: int, tell: Tell) -> None:
        """Work on at most ``workers`` tasks at once, and tell ``tell`` how far they are."""

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The results in the order of the tasks.

        ``work`` leaves all that is worth keeping in the run's store and returns plain values that
        say where, so a task may run in another process, and one that is done is found again.
        ``work``, the tasks and the results can be pickled. What ``work`` raises ends the run.
        """
