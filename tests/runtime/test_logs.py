"""What is logged is what TensorBoard reads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headstart.runtime.logs import Logs


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    threads = threading.active_count()
    for first in (0, 2):  # stopped and taken up again: a second file in the same folder
        logs = Logs(tmp_path / "deep" / "er")
        for step in (first, first + 1):
            logs.scalars(step, {"loss": 0.5**step, "knn": None if step else 0.25})
        logs.close()
    assert threading.active_count() == threads
    read = EventAccumulator(str(tmp_path / "deep" / "er"))
    read.Reload()
    assert sorted(read.Tags()["scalars"]) == ["knn", "loss"]
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(s, 0.5**s) for s in range(4)]
    assert [(e.step, e.value) for e in read.Scalars("knn")] == [(0, 0.25)]


def test_what_was_logged_is_on_disk_before_the_end(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    before = next(tmp_path.iterdir()).stat().st_size
    logs.scalars(1, {"loss": 1.0})
    assert next(tmp_path.iterdir()).stat().st_size > before
    logs.close()
    with pytest.raises(ValueError, match="closed"):
        logs.scalars(2, {"loss": 1.0})
