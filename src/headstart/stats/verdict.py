"""The verdict on a comparison: one of a fixed list, from intervals and a corrected p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "better", "worse", "no difference that matters", "can't tell", "neither learned", "no verdict"
]
LEVEL = 0.05


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on; differences are arm_a − arm_b, as shares (0.01 = one point).

    ``low``/``high`` are the 95 % and ``low90``/``high90`` the 90 % limits of the crossed
    bootstrap; ``p_holm`` its p after Holm's correction; ``margin`` δ the smallest difference that
    matters; ``learned_*`` whether each arm beats chance; ``failed_gates`` the reasons, as clauses,
    why the comparison is not valid.
    Raises ``ValueError`` for a limit out of order, or a margin ≤ 0.
    """

    difference: float
    low: float
    high: float
    low90: float
    high90: float
    p_holm: float
    margin: float = 0.02
    learned_a: bool = True
    learned_b: bool = True
    failed_gates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.low90 <= self.high90 <= self.high:
            raise ValueError("the 90 % interval must lie inside the 95 % interval")
        if not 0 < self.p_holm <= 1:
            raise ValueError(f"p_holm must lie in (0, 1], not {self.p_holm}")
        if self.margin <= 0:
            raise ValueError(f"margin must be positive, not {self.margin}")


def judge(evidence: Evidence) -> Verdict:
    """The verdict that the evidence allows."""
    e = evidence
    if e.failed_gates:
        return "no verdict"
    if not (e.learned_a or e.learned_b):
        return "neither learned"
    if e.p_holm < LEVEL and e.difference != 0:
        return "better" if e.difference > 0 else "worse"
    if -e.margin < e.low90 and e.high90 < e.margin:
        return "no difference that matters"
    return "can't tell"
