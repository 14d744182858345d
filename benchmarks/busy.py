"""Two studies at once on one machine: how many times as long does each take as one alone?

    python benchmarks/busy.py --rounds 3 --json benchmarks/busy.json

Each round runs the same small study alone and then twice at once, each in a run folder of its own.
The fair share of two is 2. ``--set`` gives the study further settings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from headstart.cores import usable_cores
from headstart.data.synthetic import BagsSpec, generate
from headstart.files import write_bytes

# One trial an arm, so that pretraining, training on labels, attributions and the page all have a
# share in about 40 core-seconds.
FINETUNE = (
    *("epochs=4", "min_steps=40", "lrs=[0.1]", "weight_decays=[0.0001]", "widen=0"),
    *("max_lengthening=1", "augmentations=[light]"),
)
STUDY = (
    *("--methods", "simclr", "--seeds", "0", "--label-fractions", "1.0", "--batch-size", "64"),
    *("--backbone", "resnet18", "--image-size", "32", "--epochs", "4", "--no-compute-matched"),
    *(word for setting in FINETUNE for word in ("--set", f"classify.finetune.{setting}")),
    *("--set", "explain.images=6", "--device", "cpu", "--quiet"),
)
BAGS = BagsSpec(512, train_per_class=10, validation_per_class=4, test_per_class=20, size=64)


def main() -> None:
    """Time the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description="How two studies at once share a machine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="of the study, as in the study")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    extra = [word for setting in asked.set for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "bags", BAGS)
        rounds = [_round(Path(folder), number, extra) for number in range(asked.rounds)]
    results = _results(rounds, asked.set)
    print(json.dumps(results, indent=1))
    if asked.json:
        write_bytes(asked.json, (json.dumps(results, indent=1) + "\n").encode())


def _round(folder: Path, number: int, extra: Sequence[str]) -> tuple[float, list[float]]:
    """Seconds of a study alone, and of each of two at once."""
    (alone,) = _at_once(folder, [f"alone-{number}"], extra)
    return alone, _at_once(folder, [f"first-{number}", f"second-{number}"], extra)


def _at_once(folder: Path, names: Sequence[str], extra: Sequence[str]) -> list[float]:
    """Seconds that each of these studies takes, all begun together."""
    began = time.perf_counter()
    running = {name: _start(folder, name, extra) for name in names}
    took: dict[str, float] = {}
    while len(took) < len(running):
        for name, process in running.items():
            if name not in took and process.poll() is not None:
                took[name] = time.perf_counter() - began
                if process.returncode:
                    raise SystemExit(f"{name} ended with {process.returncode}")
        time.sleep(0.05)
    return [took[name] for name in names]


def _start(folder: Path, name: str, extra: Sequence[str]) -> subprocess.Popen[bytes]:
    data = ("--unlabeled", folder / "bags" / "unlabeled", "--labeled", folder / "bags" / "labeled")
    cache = ("--set", f"data.cache={folder / name}-cache")
    command = (sys.executable, "-m", "headstart", "run", *data, "--out", folder / name)
    return subprocess.Popen((*command, *STUDY, *cache, *extra), stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves


def _results(
    rounds: Sequence[tuple[float, list[float]]], settings: Sequence[str]
) -> dict[str, object]:
    ratios = [each / alone for alone, both in rounds for each in both]
    return {
        "alone_s": [alone for alone, _ in rounds],
        "two_at_once_s": [both for _, both in rounds],
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "cores": usable_cores(),
        "settings": list(settings),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "GOMP_"))},
    }


if __name__ == "__main__":
    main()
