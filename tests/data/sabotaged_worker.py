"""A worker whose decoder does what the file's name says: hangs, crashes, eats memory, talks.

Started in place of ``headstart.data.worker`` to prove that the guards around it hold.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from headstart.data import worker
from headstart.data.decode import Decoded, decode


def _hang() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGALRM})
    while True:
        time.sleep(60)


def _swallow() -> None:
    held = [bytearray(2**26) for _ in range(2**10)]
    raise AssertionError(f"got {len(held) * 2**26} bytes")


def _babble() -> None:
    for stream in (1, 2):
        for _ in range(2000):
            os.write(stream, b'{"row": 0}\n' * 10)


def _segfault() -> None:
    ctypes.string_at(0)


def _once(path: Path) -> None:
    """Killed from outside, but only the first time."""
    mark = path.with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def sabotaged(path: Path, side: int) -> Decoded | str:
    """Decode, after what the name asks for."""
    deeds = {
        "hang": _hang,
        "slow": lambda: time.sleep(0.4),
        "segfault": _segfault,
        "abort": os.abort,
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "once": lambda: _once(path),
        "swallow": _swallow,
        "exit": lambda: os._exit(3),
        "sysexit": lambda: sys.exit(4),
        "babble": _babble,
    }
    for name, deed in deeds.items():
        if path.name.startswith(name):
            deed()
    return decode(path, side)


if __name__ == "__main__":
    if "nostart" in sys.argv:
        print("no such module", file=sys.stderr)
        sys.exit(1)
    worker.decode = sabotaged  # type: ignore[attr-defined]
    worker.main()
