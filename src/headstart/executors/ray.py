"""Each task on a Ray cluster: the one that ``RAY_ADDRESS`` names, or one started here and stopped.

All nodes must see the run's folder under the same path, since what tasks leave behind lies there.
A cluster started here listens on loopback only and sends no usage statistics.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.config import StudyError
from headstart.executors.base import R, T
from headstart.executors.worker import answer_of
from headstart.runtime import process

if TYPE_CHECKING:
    from headstart.runtime.run import Tell

TRIES = 2
SECONDS = 0.2  # between two looks at what the tasks have told
LOCAL = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}


class Ray:
    """Every task asks for one core, and for one GPU where the cluster has any."""

    def __init__(self, workers: int, tell: Tell) -> None:
        """``workers`` tasks at once on a cluster started here; another cluster has its own size."""
        self.workers, self.tell = workers, tell

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The results in the order of the tasks.

        Raises:
            StudyError: Ray is missing, its cluster cannot be reached, the user's mistake as the
                work raised it, or a worker that died twice.
        """
        ray = _library()
        with _cluster(ray, self.workers):
            ears = _Ears(self.tell)
            remote = ray.remote(_done).options(
                num_cpus=1,
                num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
                max_retries=TRIES - 1,
            )
            waiting = [remote.remote(work, task, ears.queue) for task in tasks]
            for task, answer in zip(tasks, waiting, strict=True):
                while not ray.wait([answer], timeout=SECONDS)[0]:
                    ears.hear()
                ears.hear()
                yield _result(ray, answer, task)


class _Ears:
    """Passes on to this process what tasks elsewhere tell."""

    def __init__(self, tell: Tell) -> None:
        from ray.util.queue import Queue

        self.tell = tell
        self.queue = Queue(actor_options={"num_cpus": 0})

    def hear(self) -> None:
        """Pass on all that was told since the last time."""
        for kind, *rest in self.queue.get_nowait_batch(self.queue.qsize()):
            getattr(self.tell, kind)(*rest)


class _Mouth:
    """Tells the process that runs the study."""

    def __init__(self, queue: Any) -> None:
        self.line = partial(self._say, queue, "line")
        self.progress = partial(self._say, queue, "progress")
        self.curve = partial(self._say, queue, "curve")

    @staticmethod
    def _say(queue: Any, *message: Any) -> None:
        queue.put(message)


def _done(work: Callable[[T], R], task: T, queue: Any) -> R | Exception:
    """The work itself, in a worker of Ray; an error travels as an answer, as Ray may lose it."""
    process.tell = _Mouth(queue)
    return answer_of(work, task)


def _result(ray: Any, answer: Any, task: object) -> Any:
    try:
        result = ray.get(answer)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise StudyError(
            f"{task}: its worker ended {TRIES} times without an answer "
            f"({type(error).__name__}). Is memory short? Take fewer workers (engine.workers), then "
            "run the same command again"
        ) from None
    if isinstance(result, Exception):
        raise result
    return result


@contextmanager
def _cluster(ray: Any, workers: int) -> Iterator[None]:
    """Connected to the cluster asked for; one that was started here ends here."""
    address = os.environ.get("RAY_ADDRESS")
    wanted = {"address": address} if address else _local(workers)
    on_signal = signal.getsignal(signal.SIGTERM)
    try:
        if address and ":" in address:
            _reach(address)  # Ray itself would wait for minutes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own future
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **wanted)
    except (OSError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise StudyError(f"Ray cluster {address or 'on this machine'}: {line}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_signal)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Whether anybody listens there, raising ``OSError`` within seconds if not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _local(workers: int) -> dict[str, Any]:
    """A cluster on this machine whose workers import what this process can."""
    imports = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
    return {"num_cpus": workers, "runtime_env": imports, **LOCAL}


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise StudyError(
            "--executor ray: Ray is not installed; pip install 'headstart[ray]'"
        ) from None
    return ray
