"""Cores by affinity and by quota, with control groups made of files; memory that is kept."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

import pytest
import torch

from headstart.cores import kept_memory, usable_cores


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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_kept_memory_is_given_again_and_is_free_at_the_end() -> None:
    """Ten times 64 MB: pages are asked for once at most; at the end the system has them back."""

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.zeros(2**24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    block = 2**26 / os.sysconf("SC_PAGE_SIZE")
    with kept_memory():
        faults()  # the heap grows to hold one, and what alignment takes besides
        before = resident()
        assert faults() < 2 * block
    assert resident() < before - 2**25
    assert faults() > 5 * block
