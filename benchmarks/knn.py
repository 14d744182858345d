"""What the cached size and the precision do to k-NN accuracy: SimCLR, the same seeds for each.

    python benchmarks/knn.py --unlabeled photos/ --labeled labelled/ --json benchmarks/knn.json

k-NN is asked leave-one-out on all labelled images; they are not pretrained on. Settings are those
of the demo (a ResNet of half a million weights at 48 px) with so many epochs and seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from headstart.config import Study, demo
from headstart.engine import Engine
from headstart.layers import build_study
from headstart.nn.neighbours import knn_accuracy
from headstart.runtime.networks import load_encoder, outputs
from headstart.runtime.run import Run, Silence
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start
from headstart.store import Entry, Store

VARIANTS = {
    "cache factor 1.0": {"data": {"cache_factor": 1.0}},
    "cache factor 1.25": {"data": {"cache_factor": 1.25}},
    "cache factor 1.5": {"data": {"cache_factor": 1.5}},
    "cache factor 2.0": {"data": {"cache_factor": 2.0}},
    "cache factor 1.25, float32": {"engine": {"precision": "32"}},
}


def main() -> None:
    """Run every variant with every seed, and print what k-NN says of each encoder."""
    options = _options()
    table: dict[str, list[float]] = {}
    for name, changes in VARIANTS.items():
        study = _study(options, changes)
        scores = [_scores(study, options.out, seed) for seed in range(options.seeds)]
        table.setdefault("random weights", [before for before, _ in scores])
        table[name] = [after for _, after in scores]
        values = np.array(table[name])
        print(f"{name}: {values.mean():.4f}, seeds {np.round(values, 4).tolist()}", flush=True)
    if options.json:
        found = {"epochs": options.epochs, "torch": torch.__version__, "knn": table}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unlabeled", type=Path, required=True)
    parser.add_argument("--labeled", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/knn"))
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _study(options: argparse.Namespace, changes: dict[str, dict[str, object]]) -> Study:
    data = {"unlabeled": str(options.unlabeled), "labeled": str(options.labeled)}
    here = {
        "data": data | {"train_joins_pool": False},
        "pretrain": {"epochs": options.epochs, "check_epochs": options.epochs},
        "engine": {"threads": options.threads},
    }
    return build_study([("demo", demo()), ("here", here), ("variant", changes)])


def _scores(study: Study, out: Path, seed: int) -> tuple[float, float]:
    """Balanced accuracy of k-NN with random weights, and after SimCLR."""
    out.mkdir(parents=True, exist_ok=True)
    run = Run(study, out, Store(out), Engine(study.engine), Silence())
    data = index(run)
    labelled = data.index.where("train", "validation", "test")
    images, y = data.images(labelled), torch.from_numpy(data.index.labels[labelled])

    def score(entry: Entry) -> float:
        return knn_accuracy(outputs(load_encoder(run, entry), images), y, len(data.index.classes))

    begin = start(run, seed, "random")
    return score(begin), score(pretrain(run, data, "simclr", seed, begin))


if __name__ == "__main__":
    main()
