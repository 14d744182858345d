"""report: everything the other verbs found -> results.json, predictions.csv and the page."""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.data.splits import label_budget
from headstart.reporting.page import write_report
from headstart.results import SCHEMA, Provenance, Results
from headstart.runtime.run import Cell, Dataset, Explained, Grid, Run
from headstart.stats.gates import Gate
from headstart.store import Entry, write_json, write_text
from headstart.types import Predictions

LIBRARIES = ("torch", "torchvision", "timm", "lightning", "captum", "numpy", "scipy")


@dataclass(frozen=True)
class Outcome:
    """What a study came to, and where it is written."""

    results: Results
    results_path: Path
    report_path: Path


@dataclass(frozen=True)
class Answers:
    """What was found out, for the report: of the images, by explaining, and by comparing."""

    data: dict[str, Any]
    """The ``data`` block of ``results.json``."""
    warnings: tuple[str, ...]
    """What may make a score look better than it is."""
    explained: Explained
    compared: Entry
    gates: Sequence[Gate]


@dataclass(frozen=True)
class Asked:
    """How the report was asked for: the command, and the time (seconds since 1970) of it."""

    command: str
    begun: float
    earlier: Provenance | None = None
    """Provenance of the finished run that was explained anew."""


def report(run: Run, data: Dataset, grid: Grid, answers: Answers, asked: Asked) -> Outcome:
    """Assemble the results and write them for programs and for people."""
    explained = answers.explained
    found = json.loads((answers.compared.folder / "comparison.json").read_text(encoding="utf8"))
    blocks = {
        "schema": SCHEMA,
        "title": run.folder.resolve().name,
        "data": answers.data,
        "study": run.study.model_dump(mode="json"),
        "arms": list(_arms(data, grid)),
        "pretraining": list(_pretraining(grid)),
        "gates": [asdict(gate) for gate in answers.gates],
        **found,
        "attribution_similarity": explained.similarity,
        "explained": explained.images,
        "explanations": explained.findings,
        "warnings": _warnings(run, data, answers),
        "provenance": _provenance(run, grid, asked),
    }
    write_text(run.folder / "predictions.csv", _predictions(data, grid.evaluated))
    results = Results.model_validate(blocks)
    path = run.folder / "results.json"
    write_json(path, results.to_json())
    return Outcome(results, path, write_report(results, run.folder))


def _arms(data: Dataset, grid: Grid) -> Iterator[dict[str, Any]]:
    for cell, entry in grid.evaluated.items():
        classifier = grid.classifiers[cell][1].info
        yield {
            **_identity(cell, classifier["labels"], "ok", None),
            **{key: value for key, value in entry.info.items() if key != "preprocessing"},
            "chosen": classifier["chosen"],
            "compute": _compute(grid.classifiers[cell]),
        }
    for cell, (status, reason) in grid.stopped.items():
        labels = label_budget(data.index, cell.fraction, cell.seed).labels
        yield {
            **_identity(cell, labels, status, reason),
            **dict.fromkeys(("metrics", "intervals", "confusion_matrix", "per_class", "chance")),
            "chosen": {},
            "compute": None,
        }


def _compute(entries: tuple[Entry, Entry]) -> dict[str, int | None]:
    """Images seen and steps taken for one arm, all trials of its tuning together."""
    encoder, classifier = entries[0].info, entries[1].info
    return {
        "pretrain_images": encoder.get("images_seen", 0),
        "train_images": classifier.get("train_images"),
        "train_steps": classifier.get("train_steps"),
    }


def _identity(cell: Cell, labels: int, status: str, reason: str | None) -> dict[str, Any]:
    return {
        "method": cell.method,
        "protocol": cell.protocol,
        "seed": cell.seed,
        "label_fraction": cell.fraction,
        "labels": labels,
        "status": status,
        "reason": reason,
    }


def _pretraining(grid: Grid) -> Iterator[dict[str, Any]]:
    for entry in grid.encoders.values():
        if "history" in entry.info:
            yield entry.info


def _warnings(run: Run, data: Dataset, answers: Answers) -> list[str]:
    """What a reader must know before believing a number."""
    lines = []
    small = [c["name"] for c in data.entry.info["classes"] if c["test"] < 20]
    if small:
        lines.append(
            f"fewer than 20 test images in {len(small)} classes ({', '.join(small[:5])}"
            f"{'…' if len(small) > 5 else ''}): their rows say little"
        )
    fewest = min(c["train"] for c in data.entry.info["classes"])
    if fewest * min(run.study.label_fractions) < 5:
        lines.append("fewer than 5 labelled training images in some class at the smallest budget")
    if data.entry.info["removed"].get("unreadable"):
        count = data.entry.info["removed"]["unreadable"]
        lines.append(f"{count} files could not be read; quarantine.csv lists them with the reason")
    return [*lines, *answers.warnings]


def _provenance(run: Run, grid: Grid, asked: Asked) -> dict[str, Any]:
    entries = {entry.folder for entry in grid.encoders.values()}
    entries |= {e.folder for pair in grid.classifiers.values() for e in pair}
    return {
        "headstart": version("headstart"),
        "versions": {name: version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
        **_asked(asked),
        "seconds": {
            f"{folder.parent.name}/{folder.name}": Entry(folder, "").seconds
            for folder in sorted(entries)
        },
        "device": str(run.engine.device),
        "precision": run.engine.precision,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _asked(asked: Asked) -> dict[str, Any]:
    """Command and times; of a run explained anew its own, and those of explaining beside them."""
    times = {
        "command": asked.command,
        "started": datetime.fromtimestamp(asked.begun, UTC).isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "total_seconds": time.time() - asked.begun,
    }
    if asked.earlier is None:
        return times
    earlier = asked.earlier.model_dump(mode="json", exclude_unset=True)
    kept = {key: earlier[key] for key in times if key in earlier}
    return {**kept, "explained_anew": times}


def _predictions(data: Dataset, evaluated: Mapping[Cell, Entry]) -> str:
    """One row an image and cell: who said what, and how sure."""
    classes = data.index.classes.tolist()
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["id", "label", "prediction", "group"]
    header += ["method", "protocol", "seed", "label_fraction"]
    groups = dict(zip(data.index.ids.tolist(), data.index.groups.tolist(), strict=True))
    writer.writerow([*header, *(f"p:{name}" for name in classes)])
    for cell, entry in evaluated.items():
        predictions = Predictions.load(entry.folder)
        logits = predictions.logits.astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        about = [cell.method, cell.protocol, cell.seed, cell.fraction]
        for i, predicted in enumerate(predictions.predicted.tolist()):
            identity = str(predictions.ids[i])
            row = [identity, classes[predictions.y[i]], classes[predicted], groups[identity]]
            writer.writerow([*row, *about, *(f"{share:.6f}" for share in shares[i])])
    return text.getvalue()
