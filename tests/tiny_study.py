"""Studies small enough for a test: real stages, real files, tiny networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.config import Study
from headstart.data.cache import PixelCache
from headstart.engine import Engine
from headstart.layers import build_study
from headstart.methods import METHODS
from headstart.nn.encoder import Encoder
from headstart.runtime.run import Cell, Dataset, Run, Silence, Tell
from headstart.stages.classify import classify
from headstart.stages.evaluate import evaluate
from headstart.stages.extract import extract
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start
from headstart.store import Entry, Store
from headstart.types import DatasetIndex, Predictions

# The papers' heads are wider than these backbones; the methods are those of a default study.
HEADS: dict[str, dict[str, Any]] = {name: dict(METHODS[name].tiny) for name in Study().methods}


def settings(bags: Path | None = None, **changes: Any) -> dict[str, Any]:
    """The nested settings of a tiny study; ``changes`` replace whole groups."""
    base: dict[str, Any] = {
        "encoder": {"backbone": "test_resnet", "image_size": 32},
        "methods": HEADS,
        "pretrain": {"epochs": 2, "batch_size": 32},
        "classify": {
            "compute_matched": False,
            "finetune": {
                "epochs": 2,
                "lrs": [0.1],
                "weight_decays": [1e-4],
                "min_steps": 4,
                "max_lengthening": 1,
                "augmentations": ["light"],
            },
        },
        "explain": {"images": 9, "pictures": 3, "faithfulness_images": 2, "replicates": 100},
        "compare": {"replicates": 200},
        "engine": {"device": "cpu", "precision": "32", "threads": 1},
    }
    if bags is not None:
        base["data"] = {
            "unlabeled": str(bags / "unlabeled"),
            "labeled": str(bags / "labeled"),
            "cache": str(bags.parent / "cache"),
        }
    return base | changes


def study(bags: Path | None = None, *, only: Sequence[str] | None = None, **changes: Any) -> Study:
    """A tiny study; nested ``changes`` are merged into it, ``only`` names its methods."""
    layers = [("tiny", settings(bags)), ("test", changes)]
    if only is not None:
        layers.append(("only", {"methods": list(only)}))
    return build_study(layers)


def open_run(asked: Study, folder: Path, tell: Tell | None = None) -> Run:
    """A run in a folder, as the pipeline opens it."""
    folder.mkdir(parents=True, exist_ok=True)
    return Run(asked, folder, Store(folder), Engine(asked.engine), tell or Silence())


def pixels(count: int, side: int = 40, seed: int = 0) -> PixelCache:
    """Noise with a colour of its own for each image, without any file."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(30, 226, (count, 3, 1, 1))
    noise = rng.integers(-30, 30, (count, 3, side, side))
    values = (colour + noise).astype(np.uint8)
    nothing = ("",) * count
    return PixelCache(values, np.ones(count, np.float32), nothing, nothing)


def made_data(run: Run, pool: int, train: int = 4, held_out: int = 2, classes: int = 3) -> Dataset:
    """An index and pixels from numbers: ``pool`` unlabelled, ``train`` images of each class, and
    ``held_out`` of each for validation and for test.
    """
    parts = [("pool", -1)] * pool
    for split, each in (("train", train), ("validation", held_out), ("test", held_out)):
        parts += [(split, c) for c in range(classes) for _ in range(each)]
    count = len(parts)
    index = DatasetIndex(
        ids=np.array([f"image-{i:04d}" for i in range(count)]),
        paths=np.array([""] * count),
        labels=np.array([label for _, label in parts], dtype=np.int64),
        splits=np.array([split for split, _ in parts]),
        groups=np.arange(count),
        rows=np.arange(count),
        classes=np.array([f"class {c}" for c in range(classes)]),
        digest=np.array("made"),
    )
    counts = {"pool": pool, "train": train, "held_out": held_out, "classes": classes}
    entry = run.store.entry("index", "made", counts)
    return Dataset(entry, index, pixels(count), run.study.encoder.image_size, run.engine)


def small_encoder(width: int = 8, seed: int = 0) -> Encoder:
    """A convolution, BatchNorm and pooling: an encoder without a library."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    return Encoder(body, width)


@dataclass(frozen=True)
class Reopened:
    """A finished study taken up again: everything is found, nothing is computed."""

    run: Run
    data: Dataset

    @classmethod
    def of(cls, asked: Study, folder: Path) -> Reopened:
        run = open_run(asked, folder)
        return cls(run, index(run))

    def encoder(self, method: str, seed: int = 0) -> Entry:
        begin = start(self.run, seed, "random")
        if method in ("random", "supervised", "majority"):
            return begin
        return pretrain(self.run, self.data, method, seed, begin)

    def classifier(self, cell: Cell) -> tuple[Entry, Entry, Entry]:
        """The cell's encoder, features and classifier."""
        encoder = self.encoder(cell.method, cell.seed)
        features = extract(self.run, self.data, encoder, f"{cell.method}-seed{cell.seed}")
        entry = classify(self.run, self.data, [cell], encoder, features)[cell]
        assert entry.done
        return encoder, features, entry

    def predictions(self, cell: Cell) -> Predictions:
        encoder, features, entry = self.classifier(cell)
        done = evaluate(self.run, self.data, cell, entry, (encoder, features))
        return Predictions.load(done.folder)


class Spoken:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[tuple[str, int, int]] = []
        self.curves: list[tuple[str, int, Mapping[str, float | None]]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        self.bars.append((what, done, total))

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        self.curves.append((series, step, values))


class PowerCutError(Exception):
    """Ends a training as a power cut would: nothing is saved after it."""


def killed_at(step: int, batch: Callable[[int], Any]) -> Callable[[int], Any]:
    """The batches of a training, up to a power cut."""

    def cut(now: int) -> Any:
        if now == step:
            raise PowerCutError
        return batch(now)

    return cut
