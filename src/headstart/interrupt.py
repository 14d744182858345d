"""Signals that ask a run to end: it saves its work first, then ends.

Only the command line listens. A signal raises ``Interrupted`` in the main thread, as Ctrl-C
raises ``KeyboardInterrupt``; inside ``deferred`` it waits until the block calls ``check`` or ends.
A second signal ends the process at once. A terminal that closes sends SIGHUP twice; that counts as
one signal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# Ctrl-C; what schedulers and `kill` send; SLURM's warning before a requeue; a lost terminal. The
# last two are not on every system.
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
SIGNALS = tuple(signal.Signals[name] for name in _NAMES if hasattr(signal, name))


class Interrupted(BaseException):
    """A signal asked for the end; not an ``Exception``, so that no handler of those catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _State:
    number: int | None = None
    process: int = 0
    deferring: int = 0


_state = _State()  # one for the process, as signals are


@contextmanager
def listening() -> Iterator[None]:
    """Listen while the block runs; a signal that the process ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
        yield
        return
    handled = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _on_signal) for number in handled}
    _state.number, _state.process = None, os.getpid()
    try:
        yield
    except Exception as error:
        if _state.number is None:
            raise
        # Libraries written in C turn what is raised inside them into errors of their own.
        raise Interrupted(_state.number) from error
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


def pending() -> int:
    """The signal that is waiting, by its number; 0 where there is none."""
    return _state.number or 0


def check() -> None:
    """Raise ``Interrupted`` where a signal is waiting."""
    if _state.number is not None:
        raise Interrupted(_state.number)


def _on_signal(number: int, _: FrameType | None) -> None:
    if os.getpid() != _state.process:  # a forked worker has nothing to save
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    if pending():
        if number == _state.number and signal.Signals(number).name == "SIGHUP":
            return
        os._exit(128 + number)
    _state.number = number
    if not _state.deferring:
        raise Interrupted(number)
