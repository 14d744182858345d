"""Progress with an ETA for a person at a terminal; calm lines for a log file."""

from __future__ import annotations

import time
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

QUIET_SECONDS = 15.0  # between two lines about the same thing where there is no terminal


class _Stderr(Console):
    """A console whose reader may go away; the study then goes on without output."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def on_broken_pipe(self) -> None:
        """Print nothing more; Rich would end the program."""
        self.quiet = True


class Terminal:
    """Shows the progress of a run on stderr, so that stdout stays free for results."""

    def __init__(self) -> None:
        self.console = _Stderr()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, tuple[float, float]] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
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
        self.console.print(text, markup=False, soft_wrap=True)

    def show(self, renderable: Any) -> None:
        """A table, or anything else that Rich can draw."""
        self.console.print(renderable)

    def progress(self, what: str, done: int, total: int) -> None:
        """Move a bar, or, where there is no terminal, write a line now and then."""
        if not self.console.is_terminal:
            self._log(what, done, total)
            return
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(what))
            self.line(f"{what}: done")

    def _log(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun, last_line = self.begun.setdefault(what, (now, now - QUIET_SECONDS))
        if done < total and now - last_line < QUIET_SECONDS:
            return
        self.begun[what] = (begun, now)
        eta = (
            f", about {(now - begun) / done * (total - done):.0f} s left"
            if 0 < done < total and now - begun > 1
            else ""
        )
        self.line(f"{what}: {done} of {total}{eta}")
        if done >= total:
            del self.begun[what]
