"""The process of one task: ``python -m headstart.executors.worker``, started by ``processes``.

The work and its task come in by stdin, pickled; what it tells and its answer go out by stdout.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from headstart import interrupt
from headstart.executors.base import R, T
from headstart.runtime import process


class Relay:
    """Passes on to the parent what a run tells."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def line(self, text: str) -> None:
        """A line that stays."""
        self.say("line", text)

    def progress(self, what: str, done: int, total: int) -> None:
        """How far something long has come."""
        self.say("progress", what, done, total)

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        """Readings of a training."""
        self.say("curve", series, step, values)

    def say(self, *message: Any) -> None:
        """One message, at once."""
        self._out.write(pickle.dumps(message))
        self._out.flush()


def main() -> None:
    """Do the task; exit code 128 + n after signal n, as the command line has it."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print is no message
        relay = Relay(out)
        process.tell = relay
        try:
            with interrupt.listening():
                work, task = pickle.load(sys.stdin.buffer)  # noqa: S301 - from this very program
                answer = answer_of(work, task)
        except interrupt.Interrupted as end:
            sys.exit(128 + end.number)
        relay.say("answer", answer)


def answer_of(work: Callable[[T], R], task: T) -> R | Exception:
    """What the work gives or raises; of an error that cannot travel, its text."""
    answer: R | Exception
    try:
        answer = work(task)
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        answer = error
    try:
        pickle.loads(pickle.dumps(answer))  # noqa: S301 - our own
    except Exception as error:  # noqa: BLE001 - whatever its class does when it is copied
        return RuntimeError(f"{type(answer).__name__}: {answer} ({error})")
    return answer


if __name__ == "__main__":
    main()
