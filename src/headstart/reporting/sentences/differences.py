"""The verdict on a difference between two arms, in one sentence.

A difference is in points, 1 point = 0.01 of the metric. No sentence holds a p-value, and none
claims more than was compared: one seed speaks of these two models, not of the methods.
"""

from __future__ import annotations

from collections.abc import Callable

from headstart.reporting.sentences import names
from headstart.reporting.words import capital, listed, plural, points
from headstart.results import AreaDifference, Comparison, LostArm
from headstart.stats.verdict import Verdict

FIRM_SEEDS = 5
"""Fewer seeds than this are said to be few."""
OVER = "Over all amounts of labels, "

Row = Comparison | AreaDifference


def difference(row: Row) -> str:
    """The verdict of a comparison or of an area between label curves, with its scope."""
    if isinstance(row, Comparison) and row.lost is not None:
        return _lost(row, row.lost)
    start = OVER if isinstance(row, AreaDifference) else ""
    return f"{capital(start + _SENTENCES[row.verdict](row))}. {_scope(row)}{_choice(row)}"


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
    few = " (few)" if 1 < row.seeds < FIRM_SEEDS else ""
    parts = [*filter(None, (row.scope or "").split(", "))]
    parts += [plural(row.seeds, "seed") + few, f"{row.n:,} test image{'s' * (row.n != 1)}"]
    asked = "It was asked of" if row.verdict == "no verdict" else "This holds for"
    return f"{asked} {listed(parts)}."


def _names(row: Row) -> tuple[str, str]:
    return names.arm(row.arm_a, row.seeds), names.arm(row.arm_b, row.seeds)


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("the row lacks a number that its sentence needs")
    return value


def _margin(row: Row) -> str:
    return f"{100 * _known(row.margin):g} points you said matter"


def _size(row: Row) -> str:
    """Whether the whole interval lies beyond the margin or inside it, for either sign."""
    low, high, margin = _known(row.low), _known(row.high), _known(row.margin)
    nearest, farthest = (low, high) if _known(row.difference) > 0 else (-high, -low)
    if nearest > margin:
        return f", more than the {_margin(row)}"
    return f", less than the {_margin(row)}" if farthest < margin else ""


def _decided(row: Row) -> str:
    a, b = _names(row)
    verb = "beats" if _known(row.difference) > 0 else "does worse than"
    interval = f"(95 % interval {points(row.low)} to {points(row.high)})"
    return f"{a} {verb} {b}: {points(row.difference)} points {interval}{_size(row)}"


def _equivalent(row: Row) -> str:
    a, b = _names(row)
    interval = f"(90 % interval {points(row.low90)} to {points(row.high90)})"
    return (
        f"no difference that matters between {a} and {b}: {points(row.difference)} points "
        f"{interval}, within the {_margin(row)}"
    )


def _undecided(row: Row) -> str:
    a, b = _names(row)
    fit = f"too close to call: {a} could be anything from {_span(row)} {b}"
    if _known(row.low) > 0 or _known(row.high) < 0:
        fit += ". By itself that would decide it, but not among so many comparisons"
    ways = _ways(row)
    if not ways:
        return fit
    return f"{fit}. {capital(' or '.join(ways))} would show {100 * _known(row.margin):g} points"


def _span(row: Row) -> str:
    """``2.0 points worse to 5.1 points better than``."""
    low, high = 100 * _known(row.low), 100 * _known(row.high)
    if low >= 0:
        return f"{low:.1f} to {high:.1f} points better than"
    if high <= 0:
        return f"{-low:.1f} to {-high:.1f} points worse than"
    return f"{-low:.1f} points worse to {high:.1f} points better than"


def _ways(row: Row) -> list[str]:
    """What would show the margin.

    A number below what the study had would be read as a contradiction; it is left out.
    """
    ways = []
    if row.images_needed is not None and row.images_needed > row.n:
        ways.append(f"about {row.images_needed:,} test images")
    if row.seeds_needed is not None and row.seeds_needed > row.seeds:
        ways.append(f"about {row.seeds_needed:,} seeds")
    return ways


def _neither(row: Row) -> str:
    a, b = _names(row)
    return f"neither {a} nor {b} learned the task: both are no better than guessing"


def _invalid(row: Row) -> str:
    reasons = "; ".join(reason.rstrip(".") for reason in row.reasons)
    return f"no verdict. This comparison is not valid: {reasons}"


_SENTENCES: dict[Verdict, Callable[[Row], str]] = {
    "better": _decided,
    "worse": _decided,
    "no difference that matters": _equivalent,
    "can't tell": _undecided,
    "neither learned": _neither,
    "no verdict": _invalid,
}
