"""compare: the predictions of all cells, joined by image -> how much better, and how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from headstart.results import Comparisons, LostArm
from headstart.stages.compare.families import Judged, Key, Question
from headstart.stages.compare.findings import findings
from headstart.stages.compare.predictions import Compared, compare_paths, write_comparison
from headstart.stats.bootstrap import grouped
from headstart.stats.gates import Gate, blocking
from headstart.store import Entry, write_json
from headstart.types import Predictions

if TYPE_CHECKING:
    from headstart.runtime.run import Cell, Dataset, Grid, Run

NOTHING = Comparisons(comparisons=(), method_pairs=(), area_differences=(), label_saving=())
"""Of a run in which no classifier is judged yet."""

__all__ = ["Compared", "compare", "compare_paths", "write_comparison"]


def compare(run: Run, data: Dataset, grid: Grid, gates: Sequence[Gate]) -> Entry:
    """Every method against supervised learning and against every other, with the gates.

    ``comparison.json`` in the entry's folder holds what ``findings`` gives: no sentences yet.
    """
    lost = [
        LostArm(arm=c.arm, fraction=c.fraction, seed=c.seed, status=status, reason=reason)
        for c, (status, reason) in grid.stopped.items()
    ]
    settings = run.study.compare.model_dump() | {
        "lost": [one.model_dump(mode="json") for one in lost],
        "gates": [asdict(gate) for gate in gates],
    }
    evaluated = grid.evaluated
    entry = run.store.entry("compare", "arms", settings, [data.entry, *evaluated.values()])

    def work() -> dict[str, int]:
        asked = Question(run.study.compare.margin, run.study.compare.replicates)
        compared = findings(_join(data, grid, gates), asked, lost) if evaluated else NOTHING
        write_json(entry.folder / "comparison.json", compared.to_json())
        return {"rows": len(compared.comparisons)}

    return entry.make(work)


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
        blocked={
            (cell.arm, cell.fraction): blocking(
                gates, str(cell.arm), cell.method, fraction=cell.fraction
            )
            for cell in loaded
        },
        validation=_validation(grid),
    )


def _key(cell: Cell) -> Key:
    return Key(cell.arm, cell.seed, cell.fraction, cell.draw)


def _labels(grid: Grid) -> Mapping[float, int]:
    """Labels spent at each fraction; every seed and arm spends the same."""
    return {cell.fraction: entry.info["labels"] for cell, (_, entry) in grid.classifiers.items()}


def _validation(grid: Grid) -> Mapping[Key, float]:
    """Balanced accuracy on validation of what was chosen there."""
    chosen = {cell: grid.classifiers[cell][1].info["chosen"] for cell in grid.evaluated}
    return {_key(cell): best["validation"] for cell, best in chosen.items() if "validation" in best}
