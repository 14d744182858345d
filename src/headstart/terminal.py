"""Progress with an ETA for a person at a terminal; calm lines for a log file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headstart.reporting.words import seconds

QUIET_SECONDS = 15.0  # between two lines about the same thing where there is no terminal
SPARSER = 0.1  # and at least this share of the time so far: a night is a page, not a book


class _Stderr(Console):
    """A console whose reader may go away; the study then goes on without output."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def on_broken_pipe(self) -> None:
        """Print nothing more; Rich would end the program."""
        self.quiet = True


@dataclass
class _Watched:
    """Something long, for a log file: when it began, and when a line was last written of it."""

    begun: float
    told: float


class Terminal:
    """Shows the progress of a run on stderr, so that stdout stays free for results.

    With ``quiet`` it says nothing while the run goes on; ``last`` and ``show`` are for its end.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console, self.quiet = _Stderr(), quiet
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.watched: dict[str, _Watched] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.quiet:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:  # elsewhere they never started, and stopping writes a line
            self.bars.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.last(text)

    def last(self, text: str) -> None:
        """A line of the end, which is said in any case."""
        self.console.print(text, markup=False, soft_wrap=True)

    def headline(self, text: str) -> None:
        """The answer in one line, with room around it."""
        self.console.print(f"\n{text}\n", style="bold", markup=False)

    def show(self, renderable: Any) -> None:
        """A table, or anything else that Rich can draw."""
        self.console.print(renderable)

    def progress(self, what: str, done: int, total: int) -> None:
        """Move a bar, or, where there is no terminal, write a line now and then."""
        if self.quiet:
            return
        if not self.console.is_terminal:
            self._log(what, done, total)
            return
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(what))
            self.line(f"{what}: done")

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        """Nothing: a person looks at curves elsewhere."""

    def _log(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        known = self.watched.setdefault(what, _Watched(now, now - QUIET_SECONDS))
        wait = max(QUIET_SECONDS, SPARSER * (now - known.begun))
        if done < total and now - known.told < wait:
            return
        known.told = now
        lasted = now - known.begun
        left = lasted / done * (total - done) if 0 < done < total and lasted > 1 else 0.0
        eta = f", about {seconds(left)} left" if left else ""
        self.line(f"{what}: {done} of {total}{eta}")
        if done >= total:
            del self.watched[what]
