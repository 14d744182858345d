"""The comparisons of a whole study, from predicted classes: which arms meet, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from headstart.arms import BASELINE, COMPARED, Arm, Role
from headstart.stages.compare.families import (
    METRIC,
    Bench,
    Judged,
    Question,
    Row,
    against,
    between,
    plain,
)
from headstart.types import Difference

Lost = tuple[Arm, float, int, str, str]
"""An arm that was never judged: arm, label fraction, seed, status and reason."""


def findings(judged: Judged, asked: Question, lost: Sequence[Lost] = ()) -> dict[str, Any]:
    """``comparisons``, ``method_pairs``, ``area_differences`` and ``label_saving`` of a study.

    Each protocol is a family of its own at each label fraction. Where no seed of an arm is left,
    its comparison says "no verdict" and why.
    """
    bench = Bench(judged, asked)
    found: dict[str, list[Any]] = {
        name: [] for name in ("comparisons", "method_pairs", "area_differences", "label_saving")
    }
    for protocol in COMPARED:
        arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
        methods = [arm for arm in arms if arm.role is Role.PRETRAINED]
        pairs = against(arms, BASELINE)
        found["area_differences"] += bench.areas(pairs)
        found["label_saving"] += bench.savings(pairs)
        for fraction in judged.fractions:
            found["method_pairs"] += bench.differences(between(methods), fraction)
    for fraction in judged.fractions:
        gone = {one[0]: one for one in reversed(lost) if one[1] == fraction}
        for protocol in COMPARED:
            arms = [arm for arm in judged.arms if arm.candidate and arm.protocol == protocol]
            rows = bench.differences(against(arms, BASELINE), fraction)
            found["comparisons"] += [*rows, *_unjudged(arms, rows, gone, protocol, judged.y.size)]
    return {name: [plain(row) for row in rows] for name, rows in found.items()}


def _unjudged(
    arms: Sequence[Arm], rows: Sequence[Row], gone: dict[Arm, Lost], protocol: str, n: int
) -> Iterator[dict[str, Any]]:
    """A row for each arm that was lost at a label fraction, or whose baseline was."""
    judged = {Arm.parse(row.arm_a) for row in rows}
    for arm in dict.fromkeys([*arms, *reversed(gone)]):
        why = gone.get(arm) or gone.get(BASELINE)
        if why and arm not in judged and arm.candidate and arm.protocol == protocol:
            yield _lost(arm, why, n)


def _lost(arm: Arm, why: Lost, n: int) -> dict[str, Any]:
    """The row of an arm that never became a classifier, or has none to be compared with."""
    gone, fraction, seed, status, reason = why
    first = reason.split(". ")[0]
    told = first if first.startswith(f"training {status}") else f"pretraining {status}; {first}"
    alone = "" if gone == arm else f"nothing to compare it with. {gone.label}: "
    sentence = f"No verdict. {arm.label}: {alone}{told} (seed {seed})."
    nothing = dict.fromkeys(("difference", "low", "high", "p", "p_holm"))
    row = Difference(
        arm_a=str(arm),
        arm_b=str(BASELINE),
        metric=METRIC,
        fraction=fraction,
        **nothing,
        seeds=0,
        n=n,
        verdict="no verdict",
        sentence=sentence,
    )
    return {**asdict(row), "discordant": None, "p_mcnemar": None}
