"""How many processor cores this process may use: what is allowed, not what the host has.

A container is often shown every core of its host and given the time of a few. Threads beyond that
time wait for each other at every step.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

# OpenMP's threads sleep while they wait for each other. By default they spin: on cores that another
# study uses too, each burns the time that the other needs. Read once, when torch is imported.
THREADS_SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}

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
