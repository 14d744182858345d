"""The results, gathered the way the report shows them: seeds averaged, verdicts grouped.

Averages over seeds are plain means. The interval beside a mean is the mean of the per-seed ends:
it speaks of the test images only, so the lowest and the highest seed stand beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from headstart.arms import (
    BASELINE,
    BASELINES,
    MAJORITY,
    PROTOCOLS,
    UNTRAINED,
    Arm,
    is_candidate,
    method_rank,
    protocol_rank,
)
from headstart.reporting import words
from headstart.results import ArmResult, ClassScores, Comparison, Metrics, Results

HELPED, DID_NOT, CANNOT_TELL = "What helped", "What did not help", "What can't be told"
GROUPS = {
    "better": HELPED,
    "worse": DID_NOT,
    "no difference that matters": DID_NOT,
    "can't tell": CANNOT_TELL,
    "neither learned": CANNOT_TELL,
    "no verdict": CANNOT_TELL,
}


@dataclass(frozen=True)
class ArmSummary:
    """One arm at one label fraction, over its seeds.

    ``mean`` and ``interval`` hold one entry per metric, shares in [0, 1]; both are empty when no
    seed ended well. ``scores`` are the seeds' primary metric, ``cells`` the well-ended records,
    ``lost`` the others.
    """

    arm: Arm
    fraction: float
    labels: int
    metric: str
    mean: Mapping[str, float | None]
    interval: Mapping[str, tuple[float, float]]
    cells: tuple[ArmResult, ...]
    lost: tuple[ArmResult, ...]

    @property
    def pretrained(self) -> bool:
        """Whether the arm is a candidate and not one of the controls."""
        return self.arm.candidate

    @property
    def score(self) -> float | None:
        """The mean of the primary metric over seeds."""
        return self.mean.get(self.metric)

    @property
    def scores(self) -> list[float]:
        """The primary metric of every seed that has one."""
        values = (score_of(cell, self.metric) for cell in self.cells)
        return [value for value in values if value is not None]


def primary_metric(results: Results) -> str:
    """The metric of the verdict: ``study.compare.metric``, else balanced accuracy."""
    metric = _compare_settings(results).get("metric")
    return metric if isinstance(metric, str) else "balanced_accuracy"


def margin(results: Results) -> float:
    """The smallest difference that matters, as a share; 0.02 unless the study says otherwise."""
    value = _compare_settings(results).get("margin")
    return float(value) if isinstance(value, int | float) else 0.02


def fractions(results: Results) -> list[float]:
    """The label fractions with at least one arm, ascending."""
    return sorted({arm.label_fraction for arm in results.arms})


def seeds(results: Results) -> list[int]:
    """The seeds with at least one arm, ascending."""
    return sorted({arm.seed for arm in results.arms})


def methods(results: Results) -> list[str]:
    """Every method that was pretrained or classified, controls first."""
    found = {cell.method for cell in results.arms} | {run.method for run in results.pretraining}
    return sorted(found, key=method_rank)


def summaries(results: Results) -> list[ArmSummary]:
    """One row per arm and label fraction: fractions ascending, controls first."""
    cells: dict[tuple[float, Arm], list[ArmResult]] = defaultdict(list)
    for cell in results.arms:
        cells[cell.label_fraction, cell.arm].append(cell)
    ordered = sorted(cells, key=lambda key: (key[0], key[1].rank))
    return [_summary(cells[key], primary_metric(results)) for key in ordered]


def best_arms(results: Results) -> list[ArmSummary]:
    """What the confusion matrices and recalls show, at the largest label fraction.

    The pretrained arm with the highest score among the fine-tuned ones and among the frozen ones,
    then supervised, then random weights; those without a confusion matrix are left out.
    """
    rows = _with_matrix(results)
    candidates = [row for row in rows if row.pretrained]
    wanted = [
        _highest(row for row in candidates if PROTOCOLS[row.arm.protocol].trained),
        _highest(row for row in candidates if not PROTOCOLS[row.arm.protocol].trained),
        _highest(row for row in rows if row.arm.method == BASELINE.method),
        _highest(row for row in rows if row.arm.method == UNTRAINED.method),
    ]
    return [row for row in wanted if row is not None]


def other_arms(results: Results) -> list[ArmSummary]:
    """The arms that ``best_arms`` leaves out; the largest class always says the same."""
    shown = {row.arm for row in best_arms(results)}
    return [row for row in _with_matrix(results) if row.arm not in shown and row.arm != MAJORITY]


def _with_matrix(results: Results) -> list[ArmSummary]:
    """The arms that have a confusion matrix at the largest label fraction."""
    whole = fractions(results)[-1:]
    return [
        row
        for row in summaries(results)
        if row.fraction in whole and any(cell.confusion_matrix for cell in row.cells)
    ]


def confusion(row: ArmSummary) -> list[list[int]]:
    """Counts added over the seeds: rows are the true classes, columns the predicted ones."""
    matrices = [cell.confusion_matrix for cell in row.cells if cell.confusion_matrix]
    return [
        [sum(counts) for counts in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)
    ]


def biggest_confusions(arms: Sequence[ArmSummary], most: int) -> list[tuple[int, int]]:
    """The (true, predicted) class numbers with the largest summed shares over the arms."""
    totals: dict[tuple[int, int], float] = defaultdict(float)
    for arm in arms:
        for i, counts in enumerate(confusion(arm)):
            for j, n in enumerate(counts):
                if n and i != j:
                    totals[i, j] += n / sum(counts)
    return sorted(totals, key=lambda pair: (-totals[pair], pair))[:most]


def mistake_shares(arm: ArmSummary, pairs: Iterable[tuple[int, int]]) -> list[float]:
    """For every (true, predicted) pair the share of the true class that was so predicted."""
    matrix = confusion(arm)
    return [matrix[i][j] / max(1, sum(matrix[i])) for i, j in pairs]


def recalls(row: ArmSummary) -> list[dict[str, Any]]:
    """Per class the mean over seeds of precision, recall, F1 and of the ends of the interval."""
    by_class: dict[str, list[ClassScores]] = defaultdict(list)
    for cell in row.cells:
        for entry in cell.per_class or []:
            by_class[entry.name].append(entry)
    return [
        {
            "class": name,
            "support": entries[0].support,
            **{
                key: _mean(getattr(entry, key) for entry in entries)
                for key in ("precision", "recall", "f1")
            },
            "interval": _mean_interval(entry.recall_interval for entry in entries),
        }
        for name, entries in by_class.items()
    ]


def against_supervised(results: Results) -> list[Comparison]:
    """The comparisons of the primary metric with supervised training, the main protocol first."""
    wanted = [
        entry
        for entry in results.comparisons
        if entry.arm_b in BASELINES and entry.metric == primary_metric(results)
    ]
    return sorted(wanted, key=_comparison_rank)


def other_comparisons(results: Results) -> list[Comparison]:
    """Every comparison that ``against_supervised`` leaves out."""
    main = {id(entry) for entry in against_supervised(results)}
    return [entry for entry in results.comparisons if id(entry) not in main]


def comparison_of(results: Results, row: ArmSummary) -> Comparison | None:
    """The comparison of this arm with supervised training at the same label fraction."""
    for entry in against_supervised(results):
        if entry.arm_a == row.arm and entry.fraction == row.fraction:
            return entry
    return None


def grouped(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons under what helped, what did not, what can't be told; no empty group."""
    groups: dict[str, list[Comparison]] = {HELPED: [], DID_NOT: [], CANNOT_TELL: []}
    for entry in comparisons:
        groups[GROUPS.get(entry.verdict, CANNOT_TELL)].append(entry)
    return {name: entries for name, entries in groups.items() if entries}


def never_compared(results: Results) -> list[tuple[str, str]]:
    """Pretrained methods without any comparison with supervised training, and the reason why."""
    compared = {entry.arm_a.method for entry in against_supervised(results)}
    missing = [m for m in methods(results) if is_candidate(m) and m not in compared]
    return [(method, _reason(results, method)) for method in missing]


def _reason(results: Results, method: str) -> str:
    for run in results.pretraining:
        if run.method == method and run.status != "ok":
            return words.lost(f"pretraining {run.status}", run.reason)
    for cell in results.arms:
        if cell.method == method and cell.status != "ok":
            return words.lost(cell.status, cell.reason)
    return "no arm of it was compared"


def _summary(cells: Sequence[ArmResult], metric: str) -> ArmSummary:
    good = tuple(cell for cell in cells if cell.status == "ok" and cell.metrics)
    lost = tuple(cell for cell in cells if not (cell.status == "ok" and cell.metrics))
    names = list(Metrics.model_fields) if good else []
    intervals = {
        name: _mean_interval(getattr(cell.intervals, name, None) for cell in good) for name in names
    }
    return ArmSummary(
        arm=cells[0].arm,
        fraction=cells[0].label_fraction,
        labels=round(fmean(cell.labels for cell in cells)),
        metric=metric,
        mean={name: _mean(score_of(cell, name) for cell in good) for name in names},
        interval={name: ends for name, ends in intervals.items() if ends is not None},
        cells=good,
        lost=lost,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean_interval(
    pairs: Iterable[Sequence[float | None] | None],
) -> tuple[float, float] | None:
    known = [pair for pair in pairs if pair is not None and None not in pair]
    low, high = _mean(pair[0] for pair in known), _mean(pair[1] for pair in known)
    return None if low is None or high is None else (low, high)


def _highest(rows: Iterable[ArmSummary]) -> ArmSummary | None:
    scored = [row for row in rows if row.score is not None]
    return max(scored, key=lambda row: row.score or 0.0, default=None)


def score_of(cell: ArmResult, metric: str) -> float | None:
    """One metric of a classifier; None where it has none."""
    value: float | None = getattr(cell.metrics, metric, None)
    return value


def _compare_settings(results: Results) -> Mapping[str, Any]:
    settings = results.study.get("compare")
    return settings if isinstance(settings, Mapping) else {}


def _comparison_rank(entry: Comparison) -> tuple[Any, ...]:
    arm = entry.arm_a
    return protocol_rank(arm.protocol), method_rank(arm.method), entry.fraction
