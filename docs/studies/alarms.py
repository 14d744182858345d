"""How often does the watch over pretraining warn of healthy runs, and does it see sick ones?

    python docs/studies/alarms.py train runs/alarms bags=U:L photos=U:L > histories.json
    python docs/studies/alarms.py judge histories.json
    python docs/studies/alarms.py heads runs/alarms bags=U:L photos=U:L

``train`` pretrains four methods on every data set given (NAME=unlabelled:labelled) with three
seeds (``--seeds``), then a few runs that are spoilt on purpose, and prints what was measured at
every check. ``judge`` replays the checks through the rules of today and through those of before,
and prints the table of ``alarms.md``. ``heads`` prints what linear heads find in the encoders that
``train`` has made, and in random weights. What is finished is kept, so the command goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.engine import Engine
from headstart.layers import build_study
from headstart.runtime.networks import load_encoder, outputs
from headstart.runtime.run import Dataset, Run, Silence
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start
from headstart.stats.collapse import Check, CollapseWatch, Health
from headstart.store import Entry, Store

METHODS = ("moco", "simclr", "simsiam", "byol")
SETTINGS: dict[str, Any] = {
    "encoder": {"backbone": "test_resnet", "image_size": 32},
    "data": {"near_duplicates": False, "train_joins_pool": False},
    "pretrain": {"epochs": 40, "batch_size": 64, "check_epochs": 3, "on_collapse": "warn"},
    "engine": {"device": "cpu", "threads": 1},
}
SAME_VIEWS = {"crop": [1.0, 1.0], "jitter_p": 0, "gray_p": 0, "blur_p": 0, "flip_p": 0}
SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    "the same picture twice": ("simclr", {"views": SAME_VIEWS}),
    "weight decay of 0.1": ("simclr", {"optim": {"weight_decay": 0.1}}),
    "weight decay of 0.1, MoCo": ("moco", {"optim": {"weight_decay": 0.1}}),
    "learning rate 50 times too high": ("simsiam", {"optim": {"lr": 3.0}}),
    "a target that stands still": ("byol", {"base_momentum": 1.0, "optim": {"weight_decay": 0.1}}),
}


# --- training ------------------------------------------------------------------------------------


def train(folder: Path, places: Mapping[str, str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The measured checks of every run: healthy ones of every data set, then the spoilt ones."""
    asked = [(data, method, seed, "") for data in places for method in METHODS for seed in seeds]
    first = next(iter(places))
    asked += [(first, method, 0, spoilt) for spoilt, (method, _) in SPOILT.items()]
    runs = []
    for data, method, seed, spoilt in asked:
        print(f"{data}, {method}, seed {seed} {spoilt}", file=sys.stderr)
        changes = SPOILT[spoilt][1] if spoilt else {}
        info = _pretrained(folder / data, places[data], method, seed, changes)
        runs.append({"data": data, "method": method, "seed": seed, "spoilt": spoilt, **_kept(info)})
    return runs


def _pretrained(
    folder: Path, place: str, method: str, seed: int, changes: Mapping[str, Any]
) -> Mapping[str, Any]:
    run = _opened(folder, place, seed, {method: dict(changes)})
    return pretrain(run, index(run), method, seed, start(run, seed, "random")).info


def _opened(folder: Path, place: str, seed: int, methods: Mapping[str, Any]) -> Run:
    unlabeled, _, labeled = place.partition(":")
    data = {"unlabeled": unlabeled, "labeled": labeled}
    here = {"data": data, "methods": dict(methods), "seeds": [seed]}
    study = build_study([("alarms", SETTINGS), ("here", here)])
    folder.mkdir(parents=True, exist_ok=True)
    return Run(study, folder, Store(folder), Engine(study.engine), Silence())


def _kept(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a check needs, to four digits."""
    names = ("step", "loss", "gradient_norm", "std_ratio", "mean_cosine", "rankme")
    names += ("effective_rank", "knn")
    moments = [m for m in info["history"] if m["effective_rank"] is not None]
    return {
        "steps": info["steps"],
        "knn_random": _short(info["knn_random"]),
        "loss_floor": info["loss_floor"],
        "probe": info["probe"],
        "checks": [[_short(moment[name]) for name in names] for moment in moments],
    }


def _short(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.4g}")


# --- linear heads --------------------------------------------------------------------------------


def heads(folder: Path, places: Mapping[str, str], seeds: Sequence[int]) -> str:
    """Mean balanced accuracy over the seeds on test images, per cent, for each data set."""
    names = ("data", "random weights", *METHODS)
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for data, place in places.items():
        found = np.array([_scores(folder / data, place, seed) for seed in seeds])
        told = " | ".join(f"{100 * score:.1f}" for score in found.mean(axis=0))
        lines.append(f"| {data} | {told} |")
    return "\n".join(lines)


def _scores(folder: Path, place: str, seed: int) -> list[float]:
    """Of random weights, then of each method's encoder."""
    run = _opened(folder, place, seed, {})
    data, random = index(run), start(run, seed, "random")
    scores = [_head(run, data, random)]
    for method in METHODS:
        mine = _opened(folder, place, seed, {method: {}})
        scores.append(_head(mine, data, pretrain(mine, data, method, seed, random)))
    return scores


def _head(run: Run, data: Dataset, entry: Entry) -> float:
    """Logistic regression on standardised features; of three strengths the best on validation."""
    encoder, labels = load_encoder(run, entry, data), data.index.labels
    parts = [data.index.where(split) for split in ("train", "validation", "test")]
    train, validation, test = (outputs(encoder, data.images(part)).numpy() for part in parts)
    tried = []
    for strength in (0.01, 0.1, 1.0):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        head.fit(train, labels[parts[0]])
        validated, tested = (
            float(balanced_accuracy_score(labels[part], head.predict(x)))
            for part, x in ((parts[1], validation), (parts[2], test))
        )
        tried.append((validated, -strength, tested))
    return max(tried)[2]


# --- judging -------------------------------------------------------------------------------------


def checks(run: Mapping[str, Any]) -> Iterator[Check]:
    """The checks of a run as the watch saw them."""
    for step, loss, norm, std, cosine, rankme, rank, knn in run["checks"]:
        yield Check(
            step=step,
            loss=loss,
            std_ratio=std,
            mean_cosine=cosine,
            rankme=rankme,
            effective_rank=rank,
            dimension=run["probe"]["dimension"],
            probe_size=run["probe"]["images"],
            classes=run["probe"]["classes"],
            grad_norm=norm,
            loss_floor=run["loss_floor"],
            knn=knn,
            knn_random=run["knn_random"],
        )


def replayed(run: Mapping[str, Any]) -> list[Health]:
    """What the watch says at each check of a run."""
    watch = CollapseWatch(warmup_steps=_warmup(run), total_steps=run["steps"])
    said = []
    for check in checks(run):
        watch, health = watch.update(check)
        said.append(health)
    return said


def _warmup(run: Mapping[str, Any]) -> int:
    """Steps that the watch of these runs did not judge."""
    return round(run["steps"] / 10)


def warned(run: Mapping[str, Any]) -> str:
    """What stands in the report: the verdict at the end, or the one that would have stopped it."""
    said = replayed(run)
    stopped = [health.verdict for health in said if health.stop]
    return stopped[0] if stopped else said[-1].verdict


def warned_before(run: Mapping[str, Any]) -> bool:
    """Whether the rule of before warned: one low reading, at any time after the warm-up.

    Low is a rank below the classes, a twentieth of the dimensions, or a quarter of its highest.
    """
    judged = [check for check in checks(run) if check.step >= _warmup(run)]
    peak = 0.0
    for check in judged:
        most, rank = check.largest_rank, check.effective_rank
        peak = max(peak, rank)
        if rank < min(most, max(4.0, min(check.classes, 0.5 * most), 0.05 * most)):
            return True
        if rank < 0.25 * peak:
            return True
    return False


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of ``alarms.md``."""
    lines = [
        "| runs | method | warned before | warned now | k-NN, first to last |",
        "|---|---|---|---|---|",
    ]
    for data in dict.fromkeys(run["data"] for run in runs):
        for method in METHODS:
            mine = [r for r in runs if (r["data"], r["method"], r["spoilt"]) == (data, method, "")]
            if not mine:
                continue
            now = [warned(run) for run in mine]
            lines.append(
                f"| {data} | {method} | {sum(map(warned_before, mine))} of {len(mine)} | "
                f"{sum(said != 'healthy' for said in now)} of {len(mine)} | {_course(mine)} |"
            )
    for run in (run for run in runs if run["spoilt"]):
        before = "yes" if warned_before(run) else "no"
        what = f"{run['data']}: {run['spoilt']} | {run['method']}"
        lines.append(f"| {what} | {before} | {warned(run)} | {_course([run])} |")
    return "\n".join(lines)


def _course(runs: Sequence[Mapping[str, Any]]) -> str:
    ends = [(run["knn_random"], run["checks"][-1][-1]) for run in runs]
    return ", ".join(f"{100 * first:.0f} to {100 * last:.0f}" for first, last in ends)


def main() -> None:
    """Train or judge."""
    parser = argparse.ArgumentParser(description="False alarms of the watch over pretraining.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("train", "heads"):
        takes = verbs.add_parser(verb)
        takes.add_argument("folder", type=Path)
        takes.add_argument("places", nargs="+", help="NAME=unlabelled:labelled")
        takes.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    verbs.add_parser("judge").add_argument("histories", type=Path)
    asked = parser.parse_args()
    if asked.verb == "judge":
        print(table(json.loads(asked.histories.read_text(encoding="utf8"))))
        return
    places = dict(place.split("=", 1) for place in asked.places)
    if asked.verb == "heads":
        print(heads(asked.folder, places, asked.seeds))
    else:
        rows = ",\n".join(json.dumps(run) for run in train(asked.folder, places, asked.seeds))
        print(f"[\n{rows}\n]")


if __name__ == "__main__":
    main()
