"""A study that is killed ends in the same bits as one that is not; none talks to a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HARNESS = Path(__file__).parent / "kill_harness.py"


def killed(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, HARNESS, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_killed_in_five_places() -> None:
    told = killed("--aim", "reading images,checkpoint,classify,explain,report")
    assert told["kills"] == 5
    assert told["faults"] == []
    assert len(told["where"]) >= 3  # a kill comes up to 30 ms after its place was reached


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_killed_thirty_times_at_any_moment(seed: str) -> None:
    told = killed("--kills", "30", "--seed", seed)
    assert told["kills"] >= 30
    assert told["faults"] == []
    assert len(told["where"]) >= 6


def test_the_harness_sees_a_difference() -> None:
    import kill_harness

    wanted = {"results": {"a": 1}, "artifacts": {}}
    assert kill_harness.differences(wanted, {"results": {"a": 1}, "artifacts": {}}, "x") == []
    other = {"results": {"a": 2}, "artifacts": {}}
    assert kill_harness.differences(wanted, other, "x") == ["x: other results"]
