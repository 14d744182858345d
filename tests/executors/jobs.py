"""Work for worker processes: they import it by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from headstart.config import StudyError
from headstart.runtime import process


def square(number: int) -> int:
    if process.tell is not None:
        process.tell.line(f"squaring {number}")
        process.tell.progress("squares", number, 9)
        process.tell.curve("squares", number, {"root": float(number), "none": None})
    print("not a message")
    return number * number


def refuse(number: int) -> int:
    raise StudyError(f"{number}: not allowed")


class Odd(Exception):
    """An error that cannot be pickled and read back."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def raise_odd(number: int) -> int:
    raise Odd("strange", "error")


@dataclass(frozen=True)
class Killed:
    """Kills its own process the first ``times`` times; a file counts them."""

    counter: Path
    times: int

    def __call__(self, number: int) -> int:
        done = len(self.counter.read_text()) if self.counter.exists() else 0
        self.counter.write_text("x" * (done + 1))
        if done < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@dataclass(frozen=True)
class Sleeper:
    """Writes its process number and sleeps, unless it is task 0, which waits for that and fails."""

    place: Path

    def __call__(self, number: int) -> int:
        if number:
            self.place.write_text(str(os.getpid()))
            time.sleep(300)
        while not (self.place.exists() and self.place.read_text()):
            time.sleep(0.02)
        raise StudyError("stop")
