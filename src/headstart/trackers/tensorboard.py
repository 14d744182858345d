"""TensorBoard: event files in the run's folder ``tensorboard/``, one folder a training."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.trackers.base import Answer, Ending, Point, Score, Tracked

TAGS = {
    "loss": "learning/loss",
    "knn": "learning/knn",
    "validation": "learning/validation",
    "rankme": "collapse/rankme",
    "effective_rank": "collapse/effective_rank",
    "std_ratio": "collapse/std_ratio",
    "mean_cosine": "collapse/mean_cosine",
    "lr": "optimizer/lr",
    "gradient_norm": "optimizer/gradient_norm",
}
"""What a reading is called: TensorBoard makes a group of what stands before the slash."""

LAYOUT = {
    "Pretraining": {
        "Loss": "learning/loss",
        "k-NN balanced accuracy on labelled training images": "learning/knn",
        "Rank of the projections (RankMe)": "collapse/rankme",
        "Spread: 0 is collapsed, 1 is even": "collapse/std_ratio",
    },
    "Answer": {
        "Balanced accuracy on test images, by labels": "test/balanced_accuracy",
        "Accuracy on test images, by labels": "test/accuracy",
    },
}
"""The page "Custom Scalars": category -> chart -> the tag that all runs show in it."""


class TensorBoard:
    """Each point is on disk when ``curves`` returns; no file stays open."""

    place = ""  # in the run's folder, as ever

    def __init__(self, tracked: Tracked) -> None:
        self.folder = tracked.folder / "tensorboard"
        self.known = self.folder.is_dir()
        self._files: dict[str, Path] = {}
        rows = [("setting", "value"), *((k, str(v)) for k, v in tracked.settings.items())]
        self._write("study", [(0, [_layout(), _text("settings", _table(rows))])])

    def curves(self, points: Sequence[Point]) -> None:
        """Into the folder of each training."""
        by_series: dict[str, list[tuple[int, list[Any]]]] = {}
        for point in points:
            values = [_scalar(TAGS.get(name, name), value) for name, value in point.values.items()]
            by_series.setdefault(point.series, []).append((point.step, values))
        for series, events in by_series.items():
            self._write(series, events)

    def answer(self, answer: Answer) -> None:
        """Scores over the number of labels, a folder for each arm and seed; verdicts as text."""
        by_arm: dict[str, list[Score]] = {}
        for score in answer.scores:
            draw = f"-draw{score.draw}" if score.draw else ""
            by_arm.setdefault(f"test/{score.arm}-seed{score.seed}{draw}", []).append(score)
        for name, scores in by_arm.items():
            ordered = sorted(scores, key=lambda score: score.labels)
            self._write(name, [(s.labels, _metrics(s.metrics)) for s in ordered])
        rows = [("arm", "labels", "answer")]
        rows += [(f.arm, f"{f.fraction:g}", f.sentence) for f in answer.findings]
        said = f"**{answer.headline}**\n\n{_table(rows)}"
        self._write("study", [(0, [_text("answer", said)])])

    def close(self, ending: Ending) -> None:
        """Nothing is open."""

    def _write(self, series: str, events: Iterable[tuple[int, list[Any]]]) -> None:
        """Add records to the file of a series; it begins with a version."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        made: list[dict[str, Any]] = [{"step": s, "summary": {"value": v}} for s, v in events]
        if series not in self._files:
            folder = self.folder / series
            folder.mkdir(parents=True, exist_ok=True)
            self._files[series] = folder / f"events.out.tfevents.{time.time_ns()}"
            made.insert(0, {"file_version": "brain.Event:2"})
        with self._files[series].open("ab") as file:
            records = RecordWriter(file)
            for content in made:
                records.write(Event(wall_time=time.time(), **content).SerializeToString())


def _scalar(tag: str, value: float) -> dict[str, Any]:
    return {"tag": tag, "simple_value": value}


def _metrics(values: Mapping[str, float]) -> list[dict[str, Any]]:
    return [_scalar(f"test/{name}", value) for name, value in values.items()]


def _text(tag: str, markdown: str) -> Any:
    from tensorboard.plugins.text.summary_v2 import text_pb

    return text_pb(tag, markdown).value[0]


def _layout() -> Any:
    """What the page "Custom Scalars" shows; the same in every run."""
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    categories = [
        {
            "title": title,
            "chart": [
                {"title": name, "multiline": {"tag": [f"^{tag}$"]}} for name, tag in charts.items()
            ],
        }
        for title, charts in LAYOUT.items()
    ]
    layout = layout_pb2.Layout(category=categories).SerializeToString()
    return Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=make_tensor_proto(layout, dtype=np.object_),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as Markdown, the first as the head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
