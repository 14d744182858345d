"""Cores by affinity and by quota, with control groups made of files; memory that is kept."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.cores import usable_cores


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def cores(folder: Path, membership: str, files: dict[str, str]) -> int:
    (folder / "self").write_text(membership)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cores(folder / "self", folder / "groups")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),  # one and a half: two threads are of use
        ("20000 100000", 1),
        ("max 100000", 16),
        ("3200000 100000", 16),
        ("nonsense", 16),
        ("", 16),
        ("0 0", 16),
    ],
)
def test_the_quota_of_a_container_is_followed(quota: str, expected: int, tmp_path: Path) -> None:
    assert cores(tmp_path, "0::/box\n", {"box/cpu.max": quota}) == expected


def test_the_quota_of_a_parent_holds_for_its_children(tmp_path: Path) -> None:
    files = {"pod/cpu.max": "300000 100000", "pod/box/cpu.max": "max 100000"}
    assert cores(tmp_path, "0::/pod/box\n", files) == 3


def test_inside_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    assert cores(tmp_path, "0::/\n", {"cpu.max": "200000 100000"}) == 2


@pytest.mark.parametrize(("quota", "expected"), [("250000", 3), ("-1", 16)])
def test_version_1_is_followed_too(quota: str, expected: int, tmp_path: Path) -> None:
    membership = "4:memory:/box\n2:cpu,cpuacct:/box\n1:name=systemd:/\n"
    files = {
        "cpu,cpuacct/box/cpu.cfs_quota_us": quota,
        "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
    }
    assert cores(tmp_path, membership, files) == expected


def test_without_control_groups_affinity_alone_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path) == 16
    assert cores(tmp_path, "garbage\n5:\n::\n", {}) == 16


def test_this_machine_has_at_least_one() -> None:
    assert usable_cores() >= 1


_KEPT = """
import resource, sys, torch
from contextlib import nullcontext
from headstart.cores import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

with kept_memory() if sys.argv[1] == "kept" else nullcontext():
    faults()  # the heap grows to hold one, and what alignment takes besides
    inside, before = faults(), resident()
print(inside, before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_kept_memory_is_given_again_and_is_free_at_the_end() -> None:
    """Ten times 64 MB, in a process whose heap holds nothing else: pages are asked for once at
    most; at the end the system has them back.
    """
    block = 2**26 // os.sysconf("SC_PAGE_SIZE")
    found = {}
    for how in ("kept", "not kept"):
        command = [sys.executable, "-c", _KEPT, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[how] = [int(number) for number in done.stdout.split()]
    inside, freed = found["kept"]
    assert inside < 2 * block < found["not kept"][0] // 2
    assert freed > block // 2
