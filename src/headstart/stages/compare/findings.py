"""The comparisons of a whole study, from predicted classes: which arms meet, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart.arms import BASELINE, COMPARED, Arm, Role
from headstart.results import AreaDifference, Comparison, Comparisons, LabelSaving
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

    ``comparisons``, all that the answer box shows, are one family: every protocol at every label
    fraction. Where no seed of an arm is left, its comparison says "no verdict" and why.
    """
    bench = Bench(judged, asked)
    pairs = list[Comparison]()
    areas, savings = list[AreaDifference](), list[LabelSaving]()
    for protocol in COMPARED:
        arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
        methods = [arm for arm in arms if arm.role is Role.PRETRAINED]
        areas += bench.areas(against(arms, BASELINE))
        savings += bench.savings(against(arms, BASELINE))
        for fraction in judged.fractions:
            pairs += bench.differences((pair, fraction) for pair in between(methods))
    arms = [arm for arm in judged.arms if arm.candidate and arm.protocol in COMPARED]
    box = [(pair, f) for f in judged.fractions for pair in against(arms, BASELINE)]
    rows = bench.differences(box)
    return Comparisons(
        comparisons=tuple(_in_order(judged, rows, lost)),
        method_pairs=tuple(pairs),
        area_differences=tuple(areas),
        label_saving=tuple(savings),
    )


def _in_order(
    judged: Judged, rows: Sequence[Comparison], lost: Sequence[Lost]
) -> Iterator[Comparison]:
    """Rows by label fraction and protocol, with those of arms that were lost."""
    for fraction in judged.fractions:
        gone = {one[0]: one for one in reversed(lost) if one[1] == fraction}
        for protocol in COMPARED:
            arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
            mine = [r for r in rows if r.fraction == fraction and r.arm_a.protocol == protocol]
            yield from mine
            yield from _unjudged(arms, mine, gone, protocol, judged.y.size)


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
