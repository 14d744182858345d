"""Each task in a process of its own, several at once, over the store of the run.

A process that is killed costs its own task, which is tried once more and goes on from its last
checkpoint. ``concurrent.futures.ProcessPoolExecutor`` would lose all pending tasks with it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from headstart.config import StudyError
from headstart.cores import THREADS
from headstart.executors.base import R, T

if TYPE_CHECKING:
    from headstart.runtime.run import Tell

COMMAND = (sys.executable, "-P", "-m", "headstart.executors.worker")
TRIES = 2
SECONDS_TO_SAVE = 60.0  # between the signal to end and the end of a process that does not listen


class Processes:
    """At most ``workers`` processes at a time, each with one task."""

    def __init__(self, workers: int, tell: Tell) -> None:
        self.workers, self.tell = workers, tell
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ending = False

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The results in the order of the tasks.

        Raises:
            StudyError: the user's mistake, as the work raised it, or a process that died twice.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="cell")
        waiting = [pool.submit(self._task, work, task) for task in tasks]
        try:
            for future in waiting:
                yield future.result()
        finally:  # by the end, an error in one task, or a signal to this process
            for future in waiting:
                future.cancel()
            self._end()
            pool.shutdown()

    def _task(self, work: Callable[[T], R], task: T) -> R:
        """One task; a second time where its process died without an answer."""
        for attempt in range(TRIES):
            status, answer = self._attempt(pickle.dumps((work, task)))
            if status is None:
                if isinstance(answer, BaseException):
                    raise answer
                return answer  # type: ignore[no-any-return]
            if self._ending:
                break
            how = f"signal {-status}" if status < 0 else f"status {status}"
            if attempt + 1 < TRIES:
                self.tell.line(f"{task}: its process ended early ({how}); starting it once more")
        raise StudyError(
            f"{task}: its process ended {TRIES} times without an answer ({how}). Is memory short? "
            "Take fewer workers (engine.workers), then run the same command again"
        )

    def _attempt(self, request: bytes) -> tuple[int | None, Any]:
        """Exit status None and the answer, or the status of a process that gave none."""
        with self._lock:
            if self._ending:
                return 0, None
            process = subprocess.Popen(  # noqa: S603 - this very program
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C reaches this process, which asks the others to end
            )
            self._running.add(process)
        try:
            assert process.stdin
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(request)
            return self._hear(process)
        finally:
            with self._lock:
                self._running.discard(process)

    def _hear(self, process: subprocess.Popen[bytes]) -> tuple[int | None, Any]:
        """Pass on what a process tells until it answers or ends."""
        assert process.stdout
        with process.stdout as said:
            while True:
                try:
                    kind, *rest = pickle.load(said)  # noqa: S301 - from this very program
                except (EOFError, pickle.UnpicklingError):
                    return process.wait(), None
                if kind == "answer":
                    process.wait()
                    return None, rest[0]
                getattr(self.tell, kind)(*rest)

    def _end(self) -> None:
        """Ask all processes to save and end; kill those that do not."""
        with self._lock:
            self._ending = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(SECONDS_TO_SAVE)
            except subprocess.TimeoutExpired:
                process.kill()


def _environment() -> dict[str, str]:
    """Imports as here; threads that wait for one another do not spin: the cores are shared."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**THREADS, **os.environ, "PYTHONPATH": paths}
