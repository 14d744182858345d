"""Decode many files in worker processes, so that no file can crash or hang the program.

A file that takes too long or crashes its worker is given up; a new worker goes on with the rest.
``multiprocessing`` and ``concurrent.futures`` do not fit: they run the user's main module again,
and one dead process loses all pending work.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from headstart import ranks
from headstart.config import StudyError
from headstart.cores import usable_cores
from headstart.data.worker import OUT_OF_MEMORY, Task

# -P: nothing is imported from the current folder.
COMMAND = (sys.executable, "-P", "-m", "headstart.data.worker")
START_SECONDS = 120.0  # for Python itself and its imports, perhaps from a slow network disk
AHEAD = 256  # most files that a worker holds, so that it need not wait for the next
AHEAD_BYTES = 40_000  # one more line, of at most 25 kB, and a pipe is full: writing never waits
PER_WORKER = 32  # files that are worth starting one more process
_POLL_SECONDS = 1.0  # seconds between two checks for workers that are late


Job = tuple[int, str, int]
"""An image's row in its list, the path of its file, and the place where its pixels go, or −1."""


@dataclass(frozen=True)
class Row:
    """The result for one file, the image ``row`` of its list, or the ``reason`` why there is none.

    ``crc`` is the CRC-32 of the pixels as they were written; 0 where unreadable. ``hashes``,
    ``mirrored`` and ``flat`` as in ``Prints``.
    """

    row: int
    aspect: float = 1.0
    digest: str = ""
    reason: str = ""
    crc: int = 0
    hashes: int = 0
    mirrored: int = 0
    flat: bool = True


def decode_files(
    files: Iterable[Job], task: Task, command: Sequence[str] = COMMAND
) -> Iterator[Row]:
    """Decode files and write their pixels; one ``Row`` each, in any order.

    A file that crashes a worker is tried once more, so that a crash with another cause (say,
    another program took all memory) does not count.

    Raises:
        StudyError: workers cannot be started.
        OSError: the pixels cannot be written.
    """
    workers = _Workers(_Waiting(files), task, command)
    try:
        yield from workers.run()
    finally:
        workers.stop()


class Decoding:
    """Workers that decode what they are asked for, for as long as they are kept.

    They decode while the caller does something else, up to what each holds; whoever asks for
    ``rows`` gives them more.
    """

    def __init__(self, task: Task, command: Sequence[str] = COMMAND) -> None:
        self._workers = _Workers(_Waiting(()), task, command)
        self._count = max(1, usable_cores() // ranks.on_this_machine())

    def ask(self, job: Job) -> None:
        """Have a file decoded."""
        self._workers.waiting.add(job)

    def rows(self, seconds: float) -> Iterator[Row]:
        """What was decoded by now; where there is nothing, wait for so long at most."""
        self._workers.start(self._count)
        self._workers.give()
        yield from self._workers.look(seconds)

    def close(self) -> None:
        """End all of it."""
        self._workers.stop()


class _Waiting:
    """Files that no worker holds: those handed back first, then the rest of the list."""

    def __init__(self, files: Iterable[Job]) -> None:
        self._files = iter(files)
        self._back: deque[Job] = deque()

    def take(self) -> Job | None:
        """The next file, None where there is none."""
        return self._back.popleft() if self._back else next(self._files, None)

    def add(self, file: Job) -> None:
        """A file to be taken last."""
        self._back.append(file)

    def give_back(self, files: Sequence[Job]) -> None:
        """Files to be taken next, in their order."""
        self._back.extendleft(reversed(files))

    def count_up_to(self, most: int) -> int:
        """How many wait, counted up to ``most``."""
        self._back.extend(islice(self._files, max(0, most - len(self._back))))
        return min(most, len(self._back))


def _line(job: Job) -> bytes:
    return json.dumps(job).encode() + b"\n"


class _Worker:
    """One process, and the files that it was given and has not answered for, in order."""

    def __init__(self, task: Task, command: Sequence[str]) -> None:
        self.stderr_file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``end``
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this very program
                [*command, task.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.stderr_file,
                env=_environment(),
                bufsize=0,
            )
        except OSError:
            self.stderr_file.close()
            raise
        assert self.process.stdin
        assert self.process.stdout
        self.jobs, self.answers = self.process.stdin, self.process.stdout
        self.todo: deque[Job] = deque()
        self.since = time.monotonic()
        self.ahead = 4
        self.ready = False
        self.late = False
        self._half = b""

    def give(self, waiting: _Waiting) -> None:
        """As many jobs as it should hold: twice as many from now on where it ran out of them, so
        a worker never waits long for small pictures, nor hoards large ones.
        """
        if len(self.todo) > self.ahead // 2:
            return
        if not self.todo:
            self.since = time.monotonic()
            self.ahead = min(2 * self.ahead, AHEAD)
        lines = b""
        held = sum(len(_line(job)) for job in self.todo)
        while len(self.todo) < self.ahead and held < AHEAD_BYTES and (job := waiting.take()):
            self.todo.append(job)
            held += len(line := _line(job))
            lines += line
        with suppress(BrokenPipeError):  # it is dead; the end of its answers will say so
            self.jobs.write(lines)

    def read_answers(self) -> list[dict[str, Any]] | None:
        """The answers since the last call; None once the worker has ended."""
        content = os.read(self.answers.fileno(), 1 << 16)
        if not content:
            return None
        *lines, self._half = (self._half + content).split(b"\n")
        self.since = time.monotonic()
        self.late = False  # it answered just before it was killed
        return [json.loads(line) for line in lines]

    def end(self) -> int:
        """Kill it; its exit status, which is minus the signal that ended it."""
        self.process.kill()
        status = self.process.wait()
        self.jobs.close()
        self.answers.close()
        self.stderr_file.close()
        return status

    def last_stderr_line(self) -> str:
        """The last line of what it wrote to stderr."""
        self.stderr_file.seek(0)
        lines = self.stderr_file.read()[-4000:].decode("utf8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no reason given")


class _Workers:
    """Workers, the files that wait for them, and those that crashed one."""

    def __init__(self, waiting: _Waiting, task: Task, command: Sequence[str]) -> None:
        self.waiting, self.task, self.command = waiting, task, command
        self.crashed: set[int] = set()
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()
        self.last_look = time.monotonic()

    def run(self) -> Iterator[Row]:
        """All rows, as they come."""
        self.start(-(-self.waiting.count_up_to(PER_WORKER * usable_cores()) // PER_WORKER))
        while any(worker.todo for worker in self.workers):
            yield from self.look(_POLL_SECONDS)

    def start(self, count: int) -> None:
        """Have so many workers, or more."""
        while len(self.workers) < count:
            self._start_worker()

    def give(self) -> None:
        """Hand waiting files to the workers that hold few."""
        for worker in self.workers:
            worker.give(self.waiting)

    def look(self, seconds: float) -> Iterator[Row]:
        """The rows that have come; where there are none, wait for so long at most."""
        for key, _ in self.selector.select(seconds):
            yield from self._take_answers(key.data)
        self._stop_late_workers()

    def stop(self) -> None:
        """End all workers; nothing is left behind."""
        for worker in self.workers:
            worker.end()
        self.workers.clear()
        self.selector.close()

    def _start_worker(self) -> None:
        try:
            worker = _Worker(self.task, self.command)
        except OSError as error:
            raise _cannot_start(str(error.strerror or error)) from None
        self.workers.append(worker)
        self.selector.register(worker.answers, selectors.EVENT_READ, worker)
        worker.give(self.waiting)

    def _take_answers(self, worker: _Worker) -> Iterator[Row]:
        answers = worker.read_answers()
        if answers is None:
            yield from self._replace_worker(worker)
            return
        for answer in answers:
            if not worker.ready:
                worker.ready = True
                continue
            if "errno" in answer:
                raise OSError(answer["errno"], os.strerror(answer["errno"]), self.task.pixels)
            worker.todo.popleft()
            yield Row(**answer)
        worker.give(self.waiting)

    def _replace_worker(self, worker: _Worker) -> Iterator[Row]:
        """Replace a worker that ended: the file it was decoding counts as the cause."""
        self.selector.unregister(worker.answers)
        self.workers.remove(worker)
        words = "" if worker.ready else worker.last_stderr_line()
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(5)
        status = worker.end()
        if not worker.ready:
            raise _cannot_start(words)
        if worker.todo:
            row = worker.todo[0][0]
            if worker.late or row in self.crashed:
                worker.todo.popleft()
                yield Row(row, reason=self._reason(worker, status))
            self.crashed.add(row)
            self.waiting.give_back(worker.todo)
        if self.waiting.count_up_to(1):
            self._start_worker()

    def _reason(self, worker: _Worker, status: int) -> str:
        if worker.late:
            return f"took longer than {self.task.seconds:g} s to decode"
        if status == -signal.SIGKILL:
            return "the decoder was killed (signal 9), most likely for lack of memory"
        if status < 0:
            return f"the decoder crashed (signal {-status})"
        if status == OUT_OF_MEMORY:
            return f"needs more than {self.task.memory >> 20} MB to decode"
        return f"the decoder ended the process (status {status})"

    def _stop_late_workers(self) -> None:
        """Kill workers that take too long; ``_replace_worker`` deals with the rest."""
        now = time.monotonic()
        # This process itself was stopped, or busy elsewhere.
        lost = now - self.last_look - _POLL_SECONDS
        self.last_look = now
        for worker in self.workers:
            worker.since += lost if lost > _POLL_SECONDS else 0.0
            most = self.task.seconds if worker.ready else START_SECONDS
            if (worker.todo or not worker.ready) and now - worker.since > most:
                worker.late = True
                worker.process.kill()


def _cannot_start(why: str) -> StudyError:
    return StudyError(f"the process that reads images could not be started: {why}")


def _environment() -> dict[str, str]:
    """The same import paths as here, and one thread per worker."""
    paths = os.pathsep.join(path for path in sys.path if path)
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return {**os.environ, **threads, "PYTHONPATH": paths}
