"""compare: the predictions of all cells, joined by image -> how much better, and how sure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.reporting.words import arm_label
from headstart.stages.run import Cell, Run
from headstart.stats.bootstrap import Curves, Estimate, Resampling, curve_replicates, estimate
from headstart.stats.hypotheses import holm
from headstart.stats.mrmc import mrmc, paired_scores
from headstart.stats.power import Needs, images_needed, needs
from headstart.stats.verdict import Evidence, judge
from headstart.store import Entry
from headstart.types import Comparison, Difference, Ints, Predictions

METRIC = "balanced_accuracy"
BASELINE = "supervised/supervised"


@dataclass(frozen=True)
class Judged:
    """The cells that count: by cell, predicted classes (n,) of the same test images."""

    y: Ints
    groups: Ints | None
    predicted: Mapping[Cell, Ints]
    learned: Mapping[Cell, bool]

    def seeds(self, arm: str, fraction: float) -> list[int]:
        """Seeds for which an arm has predictions at a label fraction."""
        return sorted(c.seed for c in self.predicted if c.arm == arm and c.fraction == fraction)

    def arms(self) -> list[str]:
        """Every arm that has predictions, in their own order."""
        return list(dict.fromkeys(cell.arm for cell in self.predicted))


def compare(
    run: Run, evaluated: Mapping[Cell, Entry], stopped: Mapping[Cell, tuple[str, str]]
) -> Entry:
    """Every method against supervised learning, at every label fraction.

    ``stopped`` are the cells whose pretraining ended early, with status and reason; where no seed
    of an arm is left, its row says "no verdict" and why.
    """
    lost = {cell.label: status for cell, (status, _) in stopped.items()}
    settings = run.study.compare.model_dump() | {"stopped": lost}
    entry = run.store.entry("compare", "arms", settings, list(evaluated.values()))
    if not entry.done:
        started = time.perf_counter()
        judged = _join(evaluated)
        rows: list[Difference] = []
        for fraction in run.study.label_fractions:
            for protocol in ("finetune", "linear", "knn"):
                arms = [a for a in judged.arms() if _is_candidate(a, protocol)]
                rows += _family(run, judged, arms, fraction)
                gone = [c for c in stopped if c.fraction == fraction and c.arm not in arms]
                first = {c.arm: c for c in reversed(gone) if _is_candidate(c.arm, protocol)}
                rows += [_lost(c, stopped[c], len(judged.y)) for c in reversed(first.values())]
        Comparison(tuple(rows)).save(entry.folder)
        entry.finish({"rows": len(rows)}, started)
    return entry


def _is_candidate(arm: str, protocol: str) -> bool:
    method, _, own = arm.partition("/")
    return own == protocol and method not in ("random", "majority", "supervised")


def _join(evaluated: Mapping[Cell, Entry]) -> Judged:
    """Predictions in the order of one list of ids; a cell with other images is a bug."""
    first: Predictions | None = None
    predicted: dict[Cell, Ints] = {}
    for cell, entry in evaluated.items():
        predictions = Predictions.load(entry.folder)
        first = first or predictions
        if not np.array_equal(predictions.ids, first.ids):
            raise RuntimeError(
                f"{cell.label} was judged on other images than {next(iter(evaluated))}"
            )
        predicted[cell] = predictions.predicted
    assert first is not None
    learned = {cell: entry.info["chance"]["beats_chance"] for cell, entry in evaluated.items()}
    return Judged(first.y, None, predicted, learned)


def _family(run: Run, judged: Judged, arms: Sequence[str], fraction: float) -> list[Difference]:
    """One protocol at one fraction: each method against supervised, corrected together (Holm)."""
    pairs = [_Pair.of(run, judged, arm, fraction) for arm in arms]
    corrected = holm([pair.estimate.p for pair in pairs]) if pairs else []
    return [
        pair.row(run.study.compare.margin, float(p))
        for pair, p in zip(pairs, corrected, strict=True)
    ]


@dataclass(frozen=True)
class _Pair:
    """An arm against the baseline on the seeds that both have."""

    arm: str
    fraction: float
    seeds: int
    n: int
    estimate: Estimate
    needs: Needs
    learned: tuple[bool, bool]

    @classmethod
    def of(cls, run: Run, judged: Judged, arm: str, fraction: float) -> _Pair:
        ours, theirs = judged.seeds(arm, fraction), judged.seeds(BASELINE, fraction)
        seeds = [seed for seed in ours if seed in theirs]
        by_arm = [
            np.stack([judged.predicted[_cell(name, seed, fraction)] for seed in seeds])
            for name in (arm, BASELINE)
        ]
        predicted = np.stack(by_arm)[:, None]  # (2, 1, S, n)
        plan = Resampling(run.study.compare.replicates, seed=0, groups=judged.groups)
        curves = curve_replicates(judged.y, predicted, METRIC, plan)
        return cls(
            arm,
            fraction,
            len(seeds),
            len(judged.y),
            _difference(curves),
            _needs(judged.y, predicted[:, 0], run.study.compare.margin),
            tuple(_learned(judged, name, seeds, fraction) for name in (arm, BASELINE)),  # type: ignore[arg-type]
        )

    def row(self, margin: float, p_holm: float) -> Difference:
        """The comparison as one row, with its verdict and sentence."""
        e = self.estimate
        evidence = Evidence(
            arm_a=arm_label(self.arm),
            arm_b=arm_label(BASELINE),
            difference=e.difference,
            low=e.low,
            high=e.high,
            low90=e.low90,
            high90=e.high90,
            p_holm=p_holm,
            seeds=self.seeds,
            n=self.n,
            margin=margin,
            learned_a=self.learned[0],
            learned_b=self.learned[1],
            images_needed=self.needs.images,
            seeds_needed=self.needs.seeds,
        )
        verdict, sentence = judge(evidence)
        return Difference(
            arm_a=self.arm,
            arm_b=BASELINE,
            metric=METRIC,
            fraction=self.fraction,
            difference=e.difference,
            low=e.low,
            high=e.high,
            p=e.p,
            p_holm=p_holm,
            seeds=self.seeds,
            n=self.n,
            verdict=verdict,
            sentence=sentence,
        )


def _lost(cell: Cell, stopped: tuple[str, str], n: int) -> Difference:
    """The row of an arm that never became a classifier."""
    status, reason = stopped
    sentence = (
        f"No verdict. {arm_label(cell.arm)}: pretraining {status}; {reason.split('. ')[0]} "
        f"(seed {cell.seed})."
    )
    nothing = dict.fromkeys(("difference", "low", "high", "p", "p_holm"))
    return Difference(
        arm_a=cell.arm,
        arm_b=BASELINE,
        metric=METRIC,
        fraction=cell.fraction,
        **nothing,
        seeds=0,
        n=n,
        verdict="no verdict",
        sentence=sentence,
    )


def _cell(arm: str, seed: int, fraction: float) -> Cell:
    method, _, protocol = arm.partition("/")
    return Cell(method, protocol, seed, fraction)


def _needs(y: Ints, predicted: Ints, margin: float) -> Needs:
    """What would have shown the margin; one seed says nothing about other seeds."""
    gains = paired_scores(y, predicted[0], predicted[1])
    if len(gains) > 1:
        return needs(mrmc(gains), margin)
    return Needs(images_needed(margin, float(np.mean(gains**2))), None)


def _difference(curves: Curves) -> Estimate:
    ours, theirs = curves.replicates[:, :, 0]
    return estimate(ours - theirs, curves.per_seed[0, 0] - curves.per_seed[1, 0])


def _learned(judged: Judged, arm: str, seeds: Sequence[int], fraction: float) -> bool:
    """Whether an arm beats chance in most of its seeds."""
    beats = [judged.learned[_cell(arm, seed, fraction)] for seed in seeds]
    return sum(beats) * 2 > len(beats)
