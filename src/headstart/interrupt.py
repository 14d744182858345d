"""Signals that ask a run to end: what is worth keeping is saved first, then it ends.

Only the command line listens. A signal raises ``Interrupted`` where the main thread stands, as
Ctrl-C raises ``KeyboardInterrupt``; inside ``deferred`` it waits until the work there has looked
(``asked``) or is done. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# Ctrl-C; what schedulers and `kill` send; SLURM's warning before a requeue; a lost terminal.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end; no ``except Exception`` may keep it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _State:
    number: int | None = None
    deferring: int = 0


_state = _State()  # signals belong to the process, and so does what they said


@contextmanager
def listening() -> Iterator[None]:
    """Listen while the block runs; a signal that the process was told to ignore stays ignored."""
    if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
        yield
        return
    heard = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _hear) for number in heard}
    _state.number = None
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.number = None


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal wait until the block is over, or until something in it calls ``check``."""
    _state.deferring += 1
    try:
        yield
    finally:
        _state.deferring -= 1
    if not _state.deferring:
        check()


def asked() -> bool:
    """Whether a signal is waiting."""
    return _state.number is not None


def check() -> None:
    """Raise ``Interrupted`` where a signal is waiting."""
    if _state.number is not None:
        raise Interrupted(_state.number)


def _hear(number: int, _: FrameType | None) -> None:
    if asked():
        os._exit(128 + number)
    _state.number = number
    if not _state.deferring:
        raise Interrupted(number)
