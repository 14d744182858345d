"""How the cost of a study grows with its images: every stage's time, and the peak memory.

    python benchmarks/growth.py --images 1000,10000 --json benchmarks/growth.json
    python benchmarks/growth.py --images 100000 --until pretrain --json benchmarks/growth.json
    python benchmarks/growth.py --table --json benchmarks/growth.json

Generated pictures of 32 px, four of five without a label, the others in ten classes; one method,
one epoch, an encoder so small that what is not training shows. Seconds are the processor's, of all
processes, as other programs may run beside it. Every count runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstart import pipeline
from headstart.config import Study
from headstart.layers import build_study
from headstart.methods import METHODS

STAGES = {
    "index": "index",
    "_tell_cost": "estimate",
    "pretrain": "pretrain",
    "extract": "extract",
    "classify": "classify",
    "evaluate": "evaluate",
    "review_lookalikes": "review",
    "explain": "explain",
    "check_gates": "gates",
    "compare": "compare",
    "report": "report",
}
SIDE, CLASSES, LABELLED = 32, 10, 5  # every fifth picture has a label


class _EnoughError(Exception):
    """The last stage asked for is done."""


def main() -> None:
    """Measure each count in a process of its own, or print the table."""
    options = _options()
    if options.child:
        print(json.dumps(measure(options.until, options.folder)))
        return
    path: Path = options.json
    known = json.loads(path.read_text(encoding="utf8")) if path.exists() else {}
    for count in [] if options.table else options.images.split(","):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            draw(int(count), Path(folder) / "images")
            asked = ["--images", count, "--until", options.until, "--folder", folder, "--child"]
            known[count] = json.loads(_in_a_process(asked))
        path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf8")
    print(table(known))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="1000,10000")
    parser.add_argument("--until", default="report", choices=sorted(STAGES.values()))
    parser.add_argument("--folder", type=Path, help="where images and runs go (default: /tmp)")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "growth.json")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_a_process(asked: list[str]) -> str:
    """The last line that this script prints for such options."""
    command = [sys.executable, __file__, *asked]
    done = subprocess.run(  # noqa: S603 - this very program
        command, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()[-1]


def draw(count: int, folder: Path) -> None:
    """Pictures of coarse noise, so that no two are near-copies; classes differ in their mean."""
    rng = np.random.default_rng(0)
    for i in range(count):
        label = i // LABELLED % CLASSES if i % LABELLED == 0 else -1
        place = folder / (f"labelled/class-{label}" if label >= 0 else f"pool/{i // 10_000:03d}")
        if i % 10_000 < LABELLED * CLASSES:
            place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8) + np.uint8(5 * max(label, 0))
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(place / f"{i:08d}.jpg", quality=90)


def study(folder: Path) -> Study:
    """One method and one epoch; every stage, explaining and comparing in small."""
    settings = {
        "data": {
            "unlabeled": str(folder / "pool"),
            "labeled": str(folder / "labelled"),
            "cache": str(folder.parent / "cache"),
        },
        "encoder": {"backbone": "test_resnet", "image_size": SIDE},
        "methods": {"simclr": dict(METHODS["simclr"].tiny)},
        "pretrain": {"epochs": 1, "batch_size": 128},
        "classify": {
            "compute_matched": False,
            "finetune": {
                "epochs": 1,
                "lrs": [0.1],
                "weight_decays": [1e-4],
                "min_steps": 4,
                "max_lengthening": 1,
                "augmentations": ["light"],
            },
        },
        "explain": {"images": 20, "pictures": 3, "faithfulness_images": 2, "replicates": 200},
        "engine": {"device": "cpu", "precision": "32", "threads": 1},
    }
    return build_study([("growth", settings)])


def measure(until: str, folder: Path) -> dict[str, object]:
    """One study; the seconds of each stage, and the most memory of this process and a worker."""
    spent: Counter[str] = Counter()
    for name, stage in STAGES.items():
        setattr(pipeline, name, _timed(getattr(pipeline, name), stage, spent, last=stage == until))
    begun, before = time.perf_counter(), _busy()
    with suppress(_EnoughError):
        pipeline.run_study(study(folder / "images"), folder / "run")
    whole, clock = _busy() - before, time.perf_counter() - begun
    spent["other"] = whole - spent.total()
    return {
        "until": until,
        "core_seconds": dict(spent),
        "seconds": clock,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "worker_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _timed(
    function: Callable[..., object], stage: str, spent: Counter[str], *, last: bool
) -> Callable[..., object]:
    def timed(*asked: object, **more: object) -> object:
        begun = _busy()
        made = function(*asked, **more)
        spent[stage] += _busy() - begun
        if last:
            raise _EnoughError
        return made

    return timed


def _busy() -> float:
    """Seconds of the processor, of this process and of its workers that have ended."""
    return sum(os.times()[:4])


def table(known: dict[str, dict]) -> str:
    """Core-seconds of each stage by the number of images, and the exponent between the last two."""
    counts = sorted(known, key=int)
    head = [f"{int(count):,} images" for count in counts]
    lines = [_row(["stage", *head, "grows with N to the"]), "| --- |" + " ---: |" * (len(head) + 1)]
    for stage in (*STAGES.values(), "other"):
        spent = [known[count]["core_seconds"].get(stage) for count in counts]
        cells = [f"{s:.1f} s" if s is not None else "–" for s in spent]
        lines.append(_row([stage, *cells, _exponent(counts, spent)]))
    ended = [count for count in counts if known[count]["until"] == "report"]
    whole = {count: sum(known[count]["core_seconds"].values()) for count in ended}
    cells = [f"{whole[count]:,.0f} s" if count in whole else "–" for count in counts]
    lines.append(_row(["**all**", *cells, _exponent(ended, list(whole.values()))]))
    for name, key in (("memory", "peak_bytes"), ("memory of a worker", "worker_bytes")):
        lines.append(_row([name, *(f"{known[c][key] / 1e6:,.0f} MB" for c in counts), ""]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _exponent(counts: list[str], spent: list[float | None]) -> str:
    """Of the two largest counts that were measured, where the larger took a second or more."""
    found = [(int(c), s) for c, s in zip(counts, spent, strict=True) if s]
    if len(found) < 2 or found[-1][1] < 1:
        return "–"
    (few, short), (many, long) = found[-2:]
    return f"{np.log(long / short) / np.log(many / few):.2f}"


if __name__ == "__main__":
    main()
