"""How near a plan comes: ``headstart plan`` from a bench file of this machine, against real runs.

    python benchmarks/plan.py --json benchmarks/plan.json
    python benchmarks/plan.py --table --json benchmarks/plan.json

Small studies with one thread. Each is timed with ``bench``, planned from what that wrote, and run
until all its classifiers are judged. All seconds are the processor's, in the bench too, as other
programs may run beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

time.perf_counter = time.process_time  # what bench measures with; before it is imported

from growth import STAGES, _EnoughError, _timed, draw  # noqa: E402

from headstart import pipeline  # noqa: E402
from headstart.bench.run import Options, bench  # noqa: E402
from headstart.config import Study  # noqa: E402
from headstart.layers import build_study  # noqa: E402
from headstart.plan.forecast import Machine, forecast  # noqa: E402
from headstart.plan.rates import Bench, Rates  # noqa: E402
from headstart.plan.work import sizes_of  # noqa: E402
from headstart.runtime.run import Silence  # noqa: E402

# Method, backbone, side, images, epochs. The last two came when the plan's model was done.
STUDIES = (
    ("simclr", "test_resnet", 32, 4000, 4),
    ("byol", "test_resnet", 48, 3000, 3),
    ("simsiam", "resnet18", 32, 2000, 3),
    ("moco", "resnet10t", 32, 1500, 2),
    ("simclr", "mobilenetv3_small_050", 32, 1500, 2),
)
PARTS = {
    "index": ("index",),
    "pretraining": ("pretrain",),
    "classifiers": ("extract", "classify", "evaluate"),
}


def main() -> None:
    """Plan and run every study, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "plan.json")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", type=int, nargs="*", help="places in the list of studies")
    options = parser.parse_args()
    known = json.loads(options.json.read_text(encoding="utf8")) if options.json.exists() else {}
    places = range(len(STUDIES)) if options.only is None else options.only
    for asked in () if options.table else [STUDIES[place] for place in places]:
        with tempfile.TemporaryDirectory() as folder:
            known[" ".join(map(str, asked))] = compare(Path(folder), *asked)
        options.json.write_text(json.dumps(known, indent=1) + "\n", encoding="utf8")
        print(table(known), flush=True)
    print(table(known))


def compare(
    folder: Path, method: str, backbone: str, side: int, images: int, epochs: int
) -> dict[str, dict[str, float]]:
    """Core-seconds of each part as planned, and as they came."""
    draw(images, folder / "images")
    study = _study(folder / "images", method, backbone, side, epochs)
    options = Options(method, folder / "images" / "pool", rounds=3)
    measured = bench(study, options, folder / "bench", Silence())
    rates = Rates((Bench.model_validate(measured),))
    plan = forecast(study, sizes_of(study, None, None, 0), Machine(0, 1), rates)
    spent = _run(study, folder / "run")
    planned = (plan.index, plan.pretraining, sum(plan.classifiers) / 2)
    return {
        part: {"planned": planned[k], "taken": sum(spent[stage] for stage in stages)}
        for k, (part, stages) in enumerate(PARTS.items())
    }


def _study(folder: Path, method: str, backbone: str, side: int, epochs: int) -> Study:
    finetune = {
        "epochs": 4,
        "lrs": [0.1],
        "weight_decays": [1e-4],
        "widen": 0,
        "max_lengthening": 1,
        "augmentations": ["light"],
    }
    settings = {
        "data": {"unlabeled": str(folder / "pool"), "labeled": str(folder / "labelled")},
        "encoder": {"backbone": backbone, "image_size": side},
        "methods": [method],
        # So few epochs can look collapsed, and a plan takes every arm to be trained.
        "pretrain": {"epochs": epochs, "batch_size": 128, "on_collapse": "warn"},
        "classify": {"compute_matched": False, "finetune": finetune},
        "explain": {"images": 0},
        "engine": {"device": "cpu", "threads": 1},
    }
    return build_study([("plan", settings)])


def _run(study: Study, out: Path) -> Counter[str]:
    spent: Counter[str] = Counter()
    before = {name: getattr(pipeline, name) for name in STAGES}
    for name, stage in STAGES.items():
        last = stage == "review"  # what comes then is in no plan
        setattr(pipeline, name, _timed(before[name], stage, spent, last=last))
    try:
        with suppress(_EnoughError):
            pipeline.run_study(study, out)
    finally:
        for name, function in before.items():
            setattr(pipeline, name, function)
    for done in (out / "pretrain").glob("*/done.json"):
        if json.loads(done.read_text(encoding="utf8"))["info"]["status"] != "ok":
            raise SystemExit(f"{done.parent.name} failed, so not every arm was trained: no figure")
    return spent


def table(known: dict[str, dict[str, dict[str, float]]]) -> str:
    """Planned over taken, in Markdown."""
    lines = ["| study | part | planned | taken | error |", "| --- | --- | ---: | ---: | ---: |"]
    for name, parts in known.items():
        whole = {k: sum(part[k] for part in parts.values()) for k in ("planned", "taken")}
        for part, seconds in {**parts, "**all of these**": whole}.items():
            error = seconds["planned"] / seconds["taken"] - 1
            cells = (f"{seconds['planned']:.1f} s", f"{seconds['taken']:.1f} s", f"{error:+.0%}")
            lines.append(f"| {name} | {part} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
