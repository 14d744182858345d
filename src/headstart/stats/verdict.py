"""What may be said about a comparison: a fixed list of verdicts, each with one sentence.

A difference is in points, 1 point = 0.01 of the metric. No sentence holds a p-value, and none
claims more than was compared: one seed speaks of two sets of weights, never of how they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "better", "worse", "no difference that matters", "can't tell", "neither learned", "no verdict"
]
LEVEL = 0.05
FIRM_SEEDS = 5
"""Fewer seeds than this are marked as low power."""


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on; differences are arm_a − arm_b, as shares (0.01 = one point).

    ``low``/``high`` are the 95 % and ``low90``/``high90`` the 90 % limits of the crossed
    bootstrap; ``p_holm`` its p after Holm's correction; ``margin`` δ the smallest difference that
    matters; ``learned_*`` whether each arm beats chance; ``failed_gates`` the reasons, as clauses,
    why the comparison is not valid; ``images_needed`` and ``seeds_needed`` what would show a
    difference of δ, None if unknown or out of reach. ``n`` counts test images; ``scope`` says
    what else the answer holds for.
    Raises ``ValueError`` for a limit out of order, a margin ≤ 0, or no seed or image.
    """

    arm_a: str
    arm_b: str
    difference: float
    low: float
    high: float
    low90: float
    high90: float
    p_holm: float
    seeds: int
    n: int
    margin: float = 0.02
    learned_a: bool = True
    learned_b: bool = True
    failed_gates: tuple[str, ...] = ()
    images_needed: int | None = None
    seeds_needed: int | None = None
    scope: str = "this dataset, this backbone"

    def __post_init__(self) -> None:
        if not self.low <= self.low90 <= self.high90 <= self.high:
            raise ValueError("the 90 % interval must lie inside the 95 % interval")
        if not 0 < self.p_holm <= 1:
            raise ValueError(f"p_holm must lie in (0, 1], not {self.p_holm}")
        if self.margin <= 0 or self.seeds < 1 or self.n < 1:
            raise ValueError("margin, seeds and n must be positive")


def judge(evidence: Evidence) -> tuple[Verdict, str]:
    """The verdict, a ``Verdict``, and the sentence that says it, with its scope."""
    verdict = _verdict(evidence)
    return verdict, f"{_SENTENCES[verdict](evidence)} ({_scope(evidence)})."


def _verdict(e: Evidence) -> Verdict:
    if e.failed_gates:
        return "no verdict"
    if not (e.learned_a or e.learned_b):
        return "neither learned"
    if e.p_holm < LEVEL and e.difference != 0:
        return "better" if e.difference > 0 else "worse"
    if -e.margin < e.low90 and e.high90 < e.margin:
        return "no difference that matters"
    return "can't tell"


def points(share: float) -> str:
    """A difference in points with its sign, to one decimal: 0.041 → "+4.1"."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _scope(e: Evidence) -> str:
    seeds = f"{e.seeds} seed" + ("s" if e.seeds > 1 else "")
    low = " (low power)" if 1 < e.seeds < FIRM_SEEDS else ""
    images = f"{e.n:,} test image" + ("s" if e.n > 1 else "")
    return f"for {e.scope}, {seeds}{low}, {images}"


def _names(e: Evidence) -> tuple[str, str]:
    if e.seeds == 1:
        return f"these weights ({e.arm_a})", f"these weights ({e.arm_b})"
    return e.arm_a, e.arm_b


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _size(e: Evidence) -> str:
    """How the whole interval stands to the margin, whichever sign the difference has."""
    nearest, farthest = (e.low, e.high) if e.difference > 0 else (-e.high, -e.low)
    if nearest > e.margin:
        return ", by a margin you said matters"
    return ", but less than you said matters" if farthest < e.margin else ""


def _decided(e: Evidence) -> str:
    a, b = _names(e)
    word = "better" if e.difference > 0 else "worse"
    interval = f"(95 % CI {points(e.low)} to {points(e.high)})"
    return f"{_capital(a)}: {word} than {b}, {points(e.difference)} points {interval}{_size(e)}"


def _equivalent(e: Evidence) -> str:
    a, b = _names(e)
    interval = f"(90 % CI {points(e.low90)} to {points(e.high90)})"
    return (
        f"No difference that matters between {a} and {b}: {points(e.difference)} points "
        f"{interval}, inside the {100 * e.margin:g} points you said matter"
    )


def _undecided(e: Evidence) -> str:
    a, b = _names(e)
    start = f"{_capital(a)} against {b}: can't tell. "
    fit = f"The data fit anything from {points(e.low)} to {points(e.high)} points"
    if e.low > 0 or e.high < 0:
        fit += ", but with several comparisons at once that is not enough"
    ways = []
    # A number below what the study had would be read as a contradiction; it is left out.
    if e.images_needed is not None and e.images_needed > e.n:
        ways.append(f"{e.images_needed:,} test images")
    if e.seeds_needed is not None and e.seeds_needed > e.seeds:
        ways.append(f"{e.seeds_needed:,} seeds")
    if not ways:
        return start + fit
    see = f"To see a {100 * e.margin:g}-point difference you would need about {' or '.join(ways)}"
    return f"{start}{fit}. {see}"


def _neither(e: Evidence) -> str:
    a, b = _names(e)
    return f"Neither {a} nor {b} learned the task"


def _invalid(e: Evidence) -> str:
    reasons = "; ".join(reason.rstrip(".") for reason in e.failed_gates)
    return f"No verdict. This comparison is not valid because {reasons}"


_SENTENCES: dict[str, Callable[[Evidence], str]] = {
    "better": _decided,
    "worse": _decided,
    "no difference that matters": _equivalent,
    "can't tell": _undecided,
    "neither learned": _neither,
    "no verdict": _invalid,
}
