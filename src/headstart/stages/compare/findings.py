"""The comparisons of a whole study, from predicted classes: which arms meet, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.arms import BASELINE, COMPARED, Arm, Role
from headstart.results import AreaDifference, Comparison, Comparisons, LabelSaving, LostArm
from headstart.stages.compare.baselines import baseline, chosen_from
from headstart.stages.compare.families import (
    METRIC,
    Judged,
    PairComparisons,
    Question,
    against,
    between,
)


def findings(judged: Judged, asked: Question, lost: Sequence[LostArm] = ()) -> Comparisons:
    """``comparisons``, ``method_pairs``, ``area_differences`` and ``label_saving`` of a study.

    ``comparisons``, all that the answer box shows, are one family: every protocol at every label
    fraction. Candidates meet the better of the supervised arms on validation at that fraction;
    over all fractions, the one that is better in the mean over them. Where no seed of an arm is
    left, the verdict of its comparison is "no verdict", and ``lost`` says why.
    """
    compared = PairComparisons(judged, asked)
    throughout = baseline(judged, judged.fractions)
    pairs = list[Comparison]()
    areas, savings = list[AreaDifference](), list[LabelSaving]()
    for protocol in COMPARED:
        arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
        methods = [arm for arm in arms if arm.role is not Role.FROZEN]
        areas += compared.areas(against(arms, throughout))
        savings += compared.savings(against(arms, throughout))
        for fraction in judged.fractions:
            pairs += compared.differences((pair, fraction) for pair in between(methods))
    arms = [arm for arm in judged.arms if arm.candidate and arm.protocol in COMPARED]
    asked_pairs = [
        (pair, fraction)
        for fraction in judged.fractions
        for pair in against(arms, baseline(judged, [fraction]))
    ]
    rows = [
        row.model_copy(update={"chosen_from": chosen_from(judged, [row.fraction])})
        for row in compared.differences(asked_pairs)
    ]
    return Comparisons(
        comparisons=tuple(_in_order(judged, rows, lost)),
        method_pairs=tuple(pairs),
        area_differences=tuple(areas),
        label_saving=tuple(savings),
    )


def _in_order(
    judged: Judged, rows: Sequence[Comparison], lost: Sequence[LostArm]
) -> Iterator[Comparison]:
    """Rows by label fraction and protocol, with those of arms that were lost."""
    for fraction in judged.fractions:
        gone = {one.arm: one for one in reversed(lost) if one.fraction == fraction}
        for protocol in COMPARED:
            arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
            mine = [r for r in rows if r.fraction == fraction and r.arm_a.protocol == protocol]
            yield from mine
            yield from _unjudged(arms, mine, gone, protocol, judged.y.size)


def _unjudged(
    arms: Sequence[Arm], rows: Sequence[Comparison], gone: dict[Arm, LostArm], protocol: str, n: int
) -> Iterator[Comparison]:
    """A row for each arm that was lost at a label fraction, or whose baseline was."""
    judged = {row.arm_a for row in rows}
    for arm in dict.fromkeys([*arms, *reversed(gone)]):
        why = gone.get(arm) or gone.get(BASELINE)
        if why and arm not in judged and arm.candidate and arm.protocol == protocol:
            yield _lost(arm, why, n)


def _lost(arm: Arm, why: LostArm, n: int) -> Comparison:
    """The row of an arm that never became a classifier, or has none to be compared with."""
    return Comparison(
        arm_a=arm,
        arm_b=BASELINE,
        metric=METRIC,
        fraction=why.fraction,
        difference=None,
        low=None,
        high=None,
        p=None,
        p_holm=None,
        seeds=0,
        n=n,
        verdict="no verdict",
        lost=why,
        discordant=None,
        p_mcnemar=None,
    )
