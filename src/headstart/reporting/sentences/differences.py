"""The verdict on a difference between two arms, in one sentence.

A difference is in points, 1 point = 0.01 of the metric. No sentence holds a p-value, and none
claims more than was compared: one seed speaks of two sets of weights, not of the methods.
"""

from __future__ import annotations

from collections.abc import Callable

from headstart.reporting.words import points
from headstart.results import AreaDifference, Comparison, LostArm
from headstart.stats.verdict import Verdict

FIRM_SEEDS = 5
"""Fewer seeds than this are marked as low power."""
OVER = "Over all label counts. "

Row = Comparison | AreaDifference


def difference(row: Row) -> str:
    """The verdict of a comparison or of an area between label curves, with its scope."""
    if isinstance(row, Comparison) and row.lost is not None:
        return _lost(row, row.lost)
    start = OVER if isinstance(row, AreaDifference) else ""
    return f"{start}{_SENTENCES[row.verdict](row)} ({_scope(row)}).{_choice(row)}"


def _choice(row: Row) -> str:
    """That the baseline was chosen, where it was."""
    if isinstance(row, AreaDifference) or not row.chosen_from:
        return ""
    return f" The baseline, {row.arm_b.label}, is the better of the two on validation."


def _lost(row: Comparison, lost: LostArm) -> str:
    first = lost.reason.split(". ")[0]
    if not first.startswith(f"training {lost.status}"):
        first = f"pretraining {lost.status}; {first}"
    alone = "" if lost.arm == row.arm_a else f"nothing to compare it with. {lost.arm.label}: "
    return f"No verdict. {row.arm_a.label}: {alone}{first} (seed {lost.seed})."


def _scope(row: Row) -> str:
    seeds = f"{row.seeds} seed" + ("s" if row.seeds > 1 else "")
    low = " (low power)" if 1 < row.seeds < FIRM_SEEDS else ""
    images = f"{row.n:,} test image" + ("s" if row.n > 1 else "")
    return f"for {row.scope}, {seeds}{low}, {images}"


def _names(row: Row) -> tuple[str, str]:
    a, b = row.arm_a.label, row.arm_b.label
    if row.seeds == 1:
        return f"these weights ({a})", f"these weights ({b})"
    return a, b


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("the row lacks a number that its sentence needs")
    return value


def _size(row: Row) -> str:
    """Whether the whole interval lies beyond the margin or inside it, for either sign."""
    low, high, margin = _known(row.low), _known(row.high), _known(row.margin)
    nearest, farthest = (low, high) if _known(row.difference) > 0 else (-high, -low)
    if nearest > margin:
        return ", by a margin you said matters"
    return ", but less than you said matters" if farthest < margin else ""


def _decided(row: Row) -> str:
    a, b = _names(row)
    word = "better" if _known(row.difference) > 0 else "worse"
    interval = f"(95 % CI {points(row.low)} to {points(row.high)})"
    gap = f"{points(row.difference)} points {interval}{_size(row)}"
    return f"{_capital(a)}: {word} than {b}, {gap}"


def _equivalent(row: Row) -> str:
    a, b = _names(row)
    interval = f"(90 % CI {points(row.low90)} to {points(row.high90)})"
    return (
        f"No difference that matters between {a} and {b}: {points(row.difference)} points "
        f"{interval}, inside the {100 * _known(row.margin):g} points you said matter"
    )


def _undecided(row: Row) -> str:
    a, b = _names(row)
    start = f"{_capital(a)} against {b}: can't tell. "
    fit = f"The data fit anything from {points(row.low)} to {points(row.high)} points"
    if _known(row.low) > 0 or _known(row.high) < 0:
        fit += ", but with several comparisons at once that is not enough"
    ways = _ways(row)
    if not ways:
        return start + fit
    see = f"To see a {100 * _known(row.margin):g}-point difference you would need about"
    return f"{start}{fit}. {see} {' or '.join(ways)}"


def _ways(row: Row) -> list[str]:
    """What would show the margin.

    A number below what the study had would be read as a contradiction; it is left out.
    """
    ways = []
    if row.images_needed is not None and row.images_needed > row.n:
        ways.append(f"{row.images_needed:,} test images")
    if row.seeds_needed is not None and row.seeds_needed > row.seeds:
        ways.append(f"{row.seeds_needed:,} seeds")
    return ways


def _neither(row: Row) -> str:
    a, b = _names(row)
    return f"Neither {a} nor {b} learned the task"


def _invalid(row: Row) -> str:
    reasons = "; ".join(reason.rstrip(".") for reason in row.reasons)
    return f"No verdict. This comparison is not valid because {reasons}"


_SENTENCES: dict[Verdict, Callable[[Row], str]] = {
    "better": _decided,
    "worse": _decided,
    "no difference that matters": _equivalent,
    "can't tell": _undecided,
    "neither learned": _neither,
    "no verdict": _invalid,
}
