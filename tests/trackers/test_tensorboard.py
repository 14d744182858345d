"""What is logged is what TensorBoard reads, and it opens with a layout."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from headstart.trackers.base import Answer, Finding, Point, Score, Tracked
from headstart.trackers.tensorboard import LAYOUT, TAGS, TensorBoard


def tracked(folder: Path) -> Tracked:
    return Tracked("abc", "bags", folder, {"seeds": "[0]", "pretrain.epochs": 2})


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    threads = threading.active_count()
    for first in (0, 2):  # stopped and taken up again: a second file in the same folder
        board = TensorBoard(tracked(tmp_path))
        assert board.known == (first == 2)
        for step in (first, first + 1):
            knn = {} if step else {"knn": 0.25}
            board.curves([Point("pretrain/simclr-seed0", step, {"loss": 0.5**step, **knn})])
        board.close("finished")
    assert threading.active_count() == threads
    found = read(tmp_path / "tensorboard" / "pretrain" / "simclr-seed0")
    assert sorted(found.Tags()["scalars"]) == ["learning/knn", "learning/loss"]
    losses = [(event.step, event.value) for event in found.Scalars("learning/loss")]
    assert losses == [(step, 0.5**step) for step in range(4)]
    assert [(e.step, e.value) for e in found.Scalars("learning/knn")] == [(0, 0.25)]


def test_every_point_is_on_disk_at_once_and_no_file_stays_open(tmp_path: Path) -> None:
    board = TensorBoard(tracked(tmp_path))
    series = [f"classify/trial-{i}" for i in range(50)]
    opened = len(list(Path("/proc/self/fd").iterdir()))
    sizes = []
    for step in (1, 2):
        board.curves([Point(name, step, {"loss": 1.0}) for name in series])
        files = [next((tmp_path / "tensorboard" / name).iterdir()) for name in series]
        sizes.append([file.stat().st_size for file in files])
    assert all(before < after for before, after in zip(*sizes, strict=True))
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_it_opens_with_a_layout_settings_and_the_answer(tmp_path: Path) -> None:
    from tensorboard.plugins.custom_scalar import layout_pb2

    board = TensorBoard(tracked(tmp_path))
    scores = tuple(
        Score("simclr/linear", 0, share, 0, labels, {"balanced_accuracy": labels / 100})
        for share, labels in ((1.0, 90), (0.5, 45))
    )
    found = Finding(
        "simclr/linear", "supervised/x", 1.0, 0.1, 0.0, 0.2, "better", "It is | better."
    )
    board.answer(Answer("SimCLR helps.", scores, (found,), ()))
    about = read(tmp_path / "tensorboard" / "study")
    assert {"settings/text_summary", "answer/text_summary", "custom_scalars__config__"} == set(
        about.Tags()["tensors"]
    ) or {"settings", "answer", "custom_scalars__config__"} == set(about.Tags()["tensors"])
    text = {
        tag: about.Tensors(tag)[0].tensor_proto.string_val[0] for tag in about.Tags()["tensors"]
    }
    layout = layout_pb2.Layout.FromString(text.pop("custom_scalars__config__"))
    charts = {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in layout.category
    }
    assert charts == {
        title: {name: [f"^{tag}$"] for name, tag in rows.items()} for title, rows in LAYOUT.items()
    }
    said = " ".join(value.decode() for value in text.values())
    assert "| pretrain.epochs | 2 |" in said
    assert "It is \\| better." in said
    curve = read(tmp_path / "tensorboard" / "test" / "simclr" / "linear-seed0")
    points = [(event.step, event.value) for event in curve.Scalars("test/balanced_accuracy")]
    assert [step for step, _ in points] == [45, 90]
    assert [value for _, value in points] == pytest.approx([0.45, 0.9])


def test_the_layout_names_tags_that_are_logged() -> None:
    for rows in LAYOUT.values():
        for tag in rows.values():
            assert tag in TAGS.values() or tag.startswith("test/")
