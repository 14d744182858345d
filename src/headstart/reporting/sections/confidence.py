"""How far each arm's probabilities can be trusted, and what it gets right when it may abstain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from headstart.reporting import tables, words
from headstart.reporting.sections.base import fragment, section
from headstart.results import Confidence, Interval, Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Probabilities", "How far to trust its probabilities")
def confidence(results: Results, run: Path) -> Markup | None:
    """Calibration and accuracy by coverage, means over seeds; None where no arm holds any."""
    groups = _groups(results)
    if not groups:
        return None
    several = len(tables.seeds(results)) > 1
    return fragment("confidence", results, run, groups=groups, several=several)


def _groups(results: Results) -> list[dict[str, Any]]:
    """One table a label fraction: its name, its coverages, and a row an arm."""
    groups: dict[float, dict[str, Any]] = {}
    for arm in tables.summaries(results):
        known = [cell.confidence for cell in arm.cells if cell.confidence]
        if known:
            shares = [words.percent(c.coverage, "{:g}") for c in known[0].accuracy]
            group = groups.setdefault(
                arm.fraction,
                {"name": words.fraction_name(arm.fraction), "coverages": shares, "rows": []},
            )
            group["rows"].append(_row(arm, known))
    return list(groups.values())


def _row(arm: tables.ArmSummary, known: Sequence[Confidence]) -> dict[str, Any]:
    by_coverage = zip(*([c.accuracy for c in one.accuracy] for one in known), strict=True)
    return {
        "name": arm.arm.label,
        "before": _cell([one.before for one in known]),
        "after": _cell([one.after for one in known]),
        "by_chance": words.percent(fmean(one.after.by_chance for one in known)),
        "temperature": words.number(fmean(one.temperature for one in known)),
        "accuracy": [_cell(values) for values in by_coverage],
    }


def _cell(values: Sequence[Interval]) -> tuple[str, str]:
    """The mean over seeds, and the mean of the ends of the intervals."""
    value, low, high = (
        fmean(found) if (found := [v for one in values if (v := getattr(one, key)) is not None])
        else None
        for key in ("value", "low", "high")
    )  # fmt: skip
    return words.percent(value), words.bracket((low, high))
