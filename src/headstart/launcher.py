"""``headstart run --devices N`` without ``torchrun``: the same command as N processes, joined.

The first of them is the run; the others train along (``ranks.py``). All are on this machine.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from headstart import interrupt
from headstart.cores import THREADS

LOOK_SECONDS = 0.1
SECONDS_TO_END = 60.0  # after a signal, or after one of them was lost

Processes = Sequence[subprocess.Popen[bytes]]


def is_launched() -> bool:
    """Whether this process is one of several already."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run ``headstart`` with these arguments as so many processes; the exit code of the first.

    A signal to this process is passed on to all of them.

    Raises:
        ChildProcessError: one ended early, and the first did not notice.
    """
    port = _free_port()
    running = [_start(arguments, rank, count, port) for rank in range(count)]
    try:
        _wait(running)
    except interrupt.Interrupted as end:
        for process in running:
            process.send_signal(end.number)
    finally:
        _end(running)
    code = running[0].returncode
    return code if code >= 0 else 128 - code


def _start(arguments: Sequence[str], rank: int, count: int, port: int) -> subprocess.Popen[bytes]:
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    own |= {"MASTER_PORT": port}
    paths = os.pathsep.join(path for path in sys.path if path)
    env = {**THREADS, **os.environ, "PYTHONPATH": paths}
    env |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in own.items()}}
    command = (sys.executable, "-m", "headstart", *arguments)
    # In a session of its own: Ctrl-C reaches this process alone, which passes it on once.
    return subprocess.Popen(command, env=env, start_new_session=True)  # noqa: S603 - ourselves


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _wait(running: Processes) -> None:
    """Until the first has ended, or another one has failed and the first goes on waiting for it."""
    deadline = None
    while running[0].poll() is None:
        lost = next((rank for rank, process in enumerate(running) if process.poll()), None)
        if lost is not None and deadline is None:
            deadline = time.monotonic() + SECONDS_TO_END
        if deadline is not None and time.monotonic() > deadline:
            running[0].kill()
            raise ChildProcessError(errno.ECHILD, f"process {lost} of {len(running)} ended early")
        time.sleep(LOOK_SECONDS)


def _end(running: Processes) -> None:
    """Wait for all to end by themselves, then end those that do not."""
    deadline = time.monotonic() + SECONDS_TO_END
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        if running[0].poll():  # it failed: nobody is waited for
            break
        time.sleep(LOOK_SECONDS)
    for process in running:
        process.kill()
        process.wait()
