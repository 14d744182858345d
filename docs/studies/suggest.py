"""Does labelling what ``headstart suggest`` chooses beat labelling random images?

    python docs/studies/suggest.py features runs/suggest/photos photos moco-seed0=ENCODER …
    python docs/studies/suggest.py judge runs/suggest/photos … > docs/studies/suggest.json
    python docs/studies/suggest.py table docs/studies/suggest.json

``features`` stores what frozen encoders (timm's test_resnet at 32 px, ``encoder.safetensors`` of a
run) make of the labelled photos, which have the parts train, validation and test. ``judge`` plays
labelling: the training images are the pool, their labels are looked up when an image is chosen, and
a linear head on the labels bought so far is scored on the test images. Validation images choose the
strength of its penalty, the one that suits random images. ``table`` prints the tables of
``suggest.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from headstart.engine import Engine
from headstart.layers import build_study
from headstart.nn.encoder import build_encoder
from headstart.nn.neighbours import knn_logits
from headstart.reporting.words import percent, points, points_bracket
from headstart.runtime.networks import backbone, outputs
from headstart.runtime.run import Run, Silence
from headstart.stages.index import index
from headstart.stages.suggest.trial import (
    METRIC,
    Budget,
    Known,
    best_strength,
    compete,
    judged,
)
from headstart.stages.suggest.typical import scaled
from headstart.stats.metrics import METRICS, confusion_matrix
from headstart.store import Store
from headstart.types import Ints

DRAWS = 10
BUDGETS = (
    Budget(0, 10),
    Budget(0, 20),
    Budget(0, 50),
    Budget(0, 100),
    Budget(50, 50),
    Budget(100, 100),
)
SETTINGS: dict[str, Any] = {
    "encoder": {"backbone": "test_resnet", "image_size": 32},
    "engine": {"device": "cpu", "threads": 1},
}


# --- features ------------------------------------------------------------------------------------


def features(folder: Path, labeled: Path, encoders: Sequence[str]) -> None:
    """``<folder>/<name>.npz`` of every NAME=FILE: features ``x``, classes ``y`` and ``split``."""
    study = build_study([("study", SETTINGS), ("here", {"data": {"labeled": str(labeled)}})])
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(study, folder, Store(folder), Engine(study.engine), Silence())
    data = index(run)
    for name, _, file in (encoder.partition("=") for encoder in encoders):
        encoder = build_encoder(**backbone(run))
        encoder.body.load_state_dict(load_file(file))
        positions = data.index.where("train", "validation", "test")
        x = outputs(encoder, data.images(positions)).numpy()
        known = {"y": data.index.labels[positions], "split": data.index.splits[positions]}
        np.savez(folder / f"{name}.npz", allow_pickle=False, x=x, **known)
        print(f"{folder / name}.npz: {x.shape}", file=sys.stderr)


# --- labelling, played ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """One encoder's view of the photos; ``ours`` says which of ``judges`` are test images."""

    train: Known
    judges: Known
    ours: np.ndarray[Any, Any]

    @classmethod
    def load(cls, path: Path) -> Parts:
        """What ``features`` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            x, y, split = scaled(stored["x"]), stored["y"], stored["split"]
        train, test = split == "train", split[split != "train"] == "test"
        return cls(Known(x[train], y[train]), Known(x[~train], y[~train]), test)

    @property
    def knn(self) -> float:
        """Balanced accuracy of k-NN on all training labels: what the features are worth."""
        tensors = (torch.from_numpy(a) for a in (self.train.x, self.train.y, self.judges.x))
        logits = knn_logits(*tensors, classes=int(self.train.y.max()) + 1)
        answers = logits.argmax(dim=1).numpy()[self.ours]
        y = self.judges.y[self.ours]
        return float(METRICS[METRIC](confusion_matrix(y, answers, int(self.train.y.max()) + 1)))


def judge(folder: Path) -> Iterator[dict[str, Any]]:
    """A row for every method and budget, over all seeds of its encoder."""
    methods: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*-seed*.npz")):
        methods[path.stem.partition("-seed")[0]].append(path)
    for method, paths in methods.items():
        parts = [Parts.load(path) for path in paths]
        quality = float(np.mean([one.knn for one in parts]))
        for budget in BUDGETS:
            row = _judge(parts, budget)
            yield {"data": folder.name, "method": method, "knn": quality, **row}
            print(f"{folder.name} {method} {budget}", file=sys.stderr, flush=True)


def _judge(parts: Sequence[Parts], budget: Budget) -> dict[str, Any]:
    answers = np.concatenate([_played(one, budget, e) for e, one in enumerate(parts)], axis=2)
    ours, y = parts[0].ours, parts[0].judges.y
    k = best_strength(y[~ours], answers[1][..., ~ours])
    runs = np.repeat(np.arange(len(parts)), DRAWS)
    trial = judged(budget, y[ours], answers[:, k][..., ours], runs)
    found = trial.difference
    return {
        **asdict(budget),
        "encoders": len(parts),
        "draws": trial.draws,
        "test": trial.held_out,
        "suggested": round(trial.suggested, 4),
        "random": round(trial.random, 4),
        "difference": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "verdict": trial.verdict,
    }


def _played(parts: Parts, budget: Budget, encoder: int) -> Ints:
    seeds = [100 * encoder + draw for draw in range(DRAWS)]
    return compete(parts.train, parts.judges, budget, seeds, _silent)


def _silent(done: int, total: int) -> None:
    """One line a row is told, no bar."""


# --- the tables ----------------------------------------------------------------------------------


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table in Markdown for every set of photos."""
    for data in dict.fromkeys(row["data"] for row in rows):
        yield f"**{data}**\n"
        yield "| features | k-NN, all labels | labels | suggested | random | difference | |"
        yield "|---|---|---|---|---|---|---|"
        yield from (_line(row) for row in rows if row["data"] == data)
        yield ""


def _line(row: Mapping[str, Any]) -> str:
    labels = f"{row['start']} + {row['added']}" if row["start"] else str(row["added"])
    difference = f"{points(row['difference'])} {points_bracket(row['low'], row['high'])}"
    shares = " | ".join(percent(row[name]) for name in ("suggested", "random"))
    cells = (row["method"], percent(row["knn"]), labels, shares, difference, row["verdict"])
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__)
    words = parser.add_subparsers(dest="word", required=True)
    one = words.add_parser("features")
    one.add_argument("folder", type=Path)
    one.add_argument("labeled", type=Path)
    one.add_argument("encoders", nargs="+", metavar="NAME=FILE")
    words.add_parser("judge").add_argument("folders", nargs="+", type=Path)
    words.add_parser("table").add_argument("rows", type=Path)
    asked = parser.parse_args()
    if asked.word == "features":
        features(asked.folder, asked.labeled, asked.encoders)
    elif asked.word == "judge":
        rows = [row for folder in asked.folders for row in judge(folder)]
        print("[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]")
    else:
        print("\n".join(table(json.loads(asked.rows.read_text(encoding="utf8")))))


if __name__ == "__main__":
    main()
