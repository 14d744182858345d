"""compare: the predictions of all cells, joined by image -> how much better, and how sure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.reporting.words import arm_label
from headstart.stages.families import (
    METRIC,
    Bench,
    Judged,
    Key,
    Question,
    Row,
    against,
    between,
    grouped,
    plain,
)
from headstart.stats.gates import Gate, blocking
from headstart.store import Entry, write_json
from headstart.types import Difference, Predictions

if TYPE_CHECKING:
    from headstart.stages.run import Cell, Dataset, Grid, Run

BASELINE = "supervised/supervised"
PROTOCOLS = ("finetune", "linear", "knn")
CONTROLS = ("random", "majority", "supervised")

Lost = tuple[str, float, int, str, str]
"""An arm that was never judged: arm, label fraction, seed, status and reason."""


def compare(run: Run, data: Dataset, grid: Grid, gates: Sequence[Gate]) -> Entry:
    """Every method against supervised learning and against every other, with the gates.

    ``comparison.json`` in the entry's folder holds ``gates`` and what ``findings`` gives.
    """
    lost = [(c.arm, c.fraction, c.seed, *why) for c, why in grid.stopped.items()]
    settings = run.study.compare.model_dump() | {"lost": lost, "gates": [asdict(g) for g in gates]}
    evaluated = grid.evaluated
    entry = run.store.entry("compare", "arms", settings, [data.entry, *evaluated.values()])
    if not entry.done:
        started = time.perf_counter()
        judged = _join(data, grid, gates)
        asked = Question(run.study.compare.margin, run.study.compare.replicates, arm_label)
        found = {"gates": [asdict(g) for g in gates], **findings(judged, asked, lost)}
        write_json(entry.folder / "comparison.json", found)
        entry.finish({"rows": len(found["comparisons"])}, started)
    return entry


def findings(judged: Judged, asked: Question, lost: Sequence[Lost] = ()) -> dict[str, Any]:
    """``comparisons``, ``method_pairs``, ``area_differences`` and ``label_saving`` of a study.

    Each protocol is a family of its own at each label fraction. Where no seed of an arm is left,
    its comparison says "no verdict" and why.
    """
    bench = Bench(judged, asked)
    found: dict[str, list[Any]] = {
        name: [] for name in ("comparisons", "method_pairs", "area_differences", "label_saving")
    }
    for protocol in PROTOCOLS:
        arms = [arm for arm in judged.arms if is_candidate(arm, protocol)]
        methods = [arm for arm in arms if not arm.startswith("start/")]
        pairs = against(arms, BASELINE)
        found["area_differences"] += bench.areas(pairs)
        found["label_saving"] += bench.savings(pairs)
        for fraction in judged.fractions:
            found["method_pairs"] += bench.differences(between(methods), fraction)
    for fraction in judged.fractions:
        gone = {one[0]: one for one in reversed(lost) if one[1] == fraction}
        for protocol in PROTOCOLS:
            arms = [arm for arm in judged.arms if is_candidate(arm, protocol)]
            rows = bench.differences(against(arms, BASELINE), fraction)
            found["comparisons"] += [*rows, *_unjudged(arms, rows, gone, protocol, judged.y.size)]
    return {name: [plain(row) for row in rows] for name, rows in found.items()}


def _unjudged(
    arms: Sequence[str], rows: Sequence[Row], gone: dict[str, Lost], protocol: str, n: int
) -> Iterator[dict[str, Any]]:
    """A row for each arm that was lost at a label fraction, or whose baseline was."""
    judged = {row.arm_a for row in rows}
    for arm in dict.fromkeys([*arms, *reversed(gone)]):
        why = gone.get(arm) or gone.get(BASELINE)
        if why and arm not in judged and is_candidate(arm, protocol):
            yield _lost(arm, why, n)


def is_candidate(arm: str, protocol: str) -> bool:
    """Whether an arm is a method's under the protocol, and not a control."""
    method, _, own = arm.partition("/")
    return own == protocol and method not in CONTROLS


def _join(data: Dataset, grid: Grid, gates: Sequence[Gate]) -> Judged:
    """Predictions in the order of their ids; a cell with other images is a bug."""
    loaded = {cell: Predictions.load(entry.folder) for cell, entry in grid.evaluated.items()}
    first_cell, first = next(iter(loaded.items()))
    for cell, predictions in loaded.items():
        if not np.array_equal(predictions.ids, first.ids):
            raise RuntimeError(f"{cell.label} was judged on other images than {first_cell.label}")
    order = np.argsort(first.ids, kind="stable")
    test = data.index.where("test")
    place = dict(zip(data.index.ids[test].tolist(), data.index.groups[test].tolist(), strict=True))
    return Judged(
        y=first.y[order],
        predicted={_key(cell): found.predicted[order] for cell, found in loaded.items()},
        learned={
            _key(cell): entry.info["chance"]["beats_chance"]
            for cell, entry in grid.evaluated.items()
        },
        groups=grouped([place[identity] for identity in first.ids[order].tolist()]),
        labels=_labels(grid),
        blocked={cell.arm: blocking(gates, cell.arm) for cell in loaded},
    )


def _key(cell: Cell) -> Key:
    return Key(cell.arm, cell.seed, cell.fraction)


def _labels(grid: Grid) -> Mapping[float, int]:
    """Labels spent at each fraction; every seed and arm spends the same."""
    return {cell.fraction: entry.info["labels"] for cell, (_, entry) in grid.classifiers.items()}


def _lost(arm: str, why: Lost, n: int) -> dict[str, Any]:
    """The row of an arm that never became a classifier, or has none to be compared with."""
    gone, fraction, seed, status, reason = why
    first = reason.split(". ")[0]
    told = first if first.startswith(f"training {status}") else f"pretraining {status}; {first}"
    alone = "" if gone == arm else f"nothing to compare it with. {arm_label(gone)}: "
    sentence = f"No verdict. {arm_label(arm)}: {alone}{told} (seed {seed})."
    nothing = dict.fromkeys(("difference", "low", "high", "p", "p_holm"))
    row = Difference(
        arm_a=arm,
        arm_b=BASELINE,
        metric=METRIC,
        fraction=fraction,
        **nothing,
        seeds=0,
        n=n,
        verdict="no verdict",
        sentence=sentence,
    )
    return {**asdict(row), "discordant": None, "p_mcnemar": None}
