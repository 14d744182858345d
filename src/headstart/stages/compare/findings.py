"""The comparisons of a whole study, from predicted classes: which arms meet, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.arms import BASELINE, COMPARED, Arm, Role
from headstart.results import AreaDifference, Comparison, Comparisons, LabelSaving
from headstart.stages.compare.baselines import available, baseline, named
from headstart.stages.compare.families import (
    METRIC,
    Bench,
    Judged,
    Question,
    against,
    between,
)

Lost = tuple[Arm, float, int, str, str]
"""An arm that was never judged: arm, label fraction, seed, status and reason."""


def findings(judged: Judged, asked: Question, lost: Sequence[Lost] = ()) -> Comparisons:
    """``comparisons``, ``method_pairs``, ``area_differences`` and ``label_saving`` of a study.

    Each protocol is a family of its own at each label fraction. Candidates meet the better of the
    supervised arms on validation at that fraction; over all fractions, the one that is better in
    the mean over them. Where no seed of an arm is left,
    its comparison says "no verdict" and why.
    """
    bench = Bench(judged, asked)
    throughout = baseline(judged, judged.fractions)
    comparisons, pairs = list[Comparison](), list[Comparison]()
    areas, savings = list[AreaDifference](), list[LabelSaving]()
    for protocol in COMPARED:
        arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
        methods = [arm for arm in arms if arm.role is Role.PRETRAINED]
        areas += bench.areas(against(arms, throughout))
        savings += bench.savings(against(arms, throughout))
        for fraction in judged.fractions:
            pairs += bench.differences(between(methods), fraction)
    for fraction in judged.fractions:
        gone = {one[0]: one for one in reversed(lost) if one[1] == fraction}
        chosen, choice = baseline(judged, [fraction]), available(judged, [fraction])
        for protocol in COMPARED:
            arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
            rows = bench.differences(against(arms, chosen), fraction)
            rows = [named(row, choice) for row in rows]
            comparisons += [*rows, *_unjudged(arms, rows, gone, protocol, judged.y.size)]
    return Comparisons(
        comparisons=tuple(comparisons),
        method_pairs=tuple(pairs),
        area_differences=tuple(areas),
        label_saving=tuple(savings),
    )


def _unjudged(
    arms: Sequence[Arm], rows: Sequence[Comparison], gone: dict[Arm, Lost], protocol: str, n: int
) -> Iterator[Comparison]:
    """A row for each arm that was lost at a label fraction, or whose baseline was."""
    judged = {row.arm_a for row in rows}
    for arm in dict.fromkeys([*arms, *reversed(gone)]):
        why = gone.get(arm) or gone.get(BASELINE)
        if why and arm not in judged and arm.candidate and arm.protocol == protocol:
            yield _lost(arm, why, n)


def _lost(arm: Arm, why: Lost, n: int) -> Comparison:
    """The row of an arm that never became a classifier, or has none to be compared with."""
    gone, fraction, seed, status, reason = why
    first = reason.split(". ")[0]
    told = first if first.startswith(f"training {status}") else f"pretraining {status}; {first}"
    alone = "" if gone == arm else f"nothing to compare it with. {gone.label}: "
    sentence = f"No verdict. {arm.label}: {alone}{told} (seed {seed})."
    return Comparison(
        arm_a=arm,
        arm_b=BASELINE,
        metric=METRIC,
        fraction=fraction,
        difference=None,
        low=None,
        high=None,
        p=None,
        p_holm=None,
        seeds=0,
        n=n,
        verdict="no verdict",
        sentence=sentence,
        discordant=None,
        p_mcnemar=None,
    )
