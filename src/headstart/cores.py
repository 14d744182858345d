"""What this process takes of the machine: cores, as many as are allowed, and memory.

A container is often shown every core of its host and given the time of a few. Threads beyond that
time wait for each other at every step.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the environment says of threads where the user's says nothing. Read once, when torch and
# NumPy are imported. OpenMP's threads sleep while they wait for each other: by default they spin,
# and on cores that another study uses too, each burns the time that the other needs. OpenBLAS's
# cannot be told to sleep for certain, so NumPy has one thread: its products here are small, and
# all large ones are torch's.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

# glibc's mallopt(3). What it reaches by itself, and what tensors of a training stay below.
_TRIM, _MMAP = -1, -3
_USUAL = {_MMAP: 2**25, _TRIM: 2**26}
_KEPT = {_MMAP: 2**30, _TRIM: 2**31 - 1}

_PROCESS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(process: Path = _PROCESS, groups: Path = _GROUPS) -> int:
    """Cores by the scheduler's affinity and the CPU quotas of the control groups; at least 1.

    Args:
        process: which control groups this process is in, as Linux writes it.
        groups: where control groups are mounted.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(share) for share in _quotas(process, groups))]))


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside it, memory that is freed is kept for what is allocated next; at the end it is free.

    glibc gives every block above 32 MB back to the system. A training would be given the same
    pages again, each of them zeroed, in every step. Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    for option, value in _KEPT.items():
        library.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def _quotas(process: Path, groups: Path) -> Iterator[float]:
    """Every quota that this process is under, in cores; a parent's holds for its children."""
    for controller, place in _memberships(process):
        root = groups if controller == "" else groups / controller
        for folder in (place, *place.parents):
            below = root / folder.relative_to("/")
            share = _version_2(below) if controller == "" else _version_1(below)
            if share is not None:
                yield share


def _memberships(process: Path) -> Iterator[tuple[str, Path]]:
    """(controller, group): one of version 2 has no controller; of version 1 only ``cpu`` counts."""
    try:
        lines = process.read_text(encoding="utf8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if not place.startswith("/"):
            continue
        if controllers == "":
            yield "", Path(place)
        elif "cpu" in controllers.split(","):
            yield controllers, Path(place)


def _version_2(folder: Path) -> float | None:
    """``cpu.max`` holds "quota period" in microseconds, or "max period"."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _share(quota, period)


def _version_1(folder: Path) -> float | None:
    return _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _share(quota: str, period: str) -> float | None:
    if not (quota.isdigit() and period.isdigit() and int(quota) and int(period)):
        return None  # "max", -1, or no such file
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8").strip()
    except OSError:
        return ""
