"""How much a difference varies from seed to seed, and from one draw of the labels to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import words
from headstart.reporting.sections.base import fragment, section
from headstart.results import Comparison, Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Seeds and labels", "How much depends on the seed and on the labels drawn")
def spread(results: Results, run: Path) -> Markup | None:
    """One row a comparison that has several seeds or draws; None where there is none."""
    rows = [row for row in results.comparisons if row.spread is not None]
    if not rows:
        return None
    apart = any(row.label_draws > 1 for row in rows)
    return fragment("spread", results, run, rows=[_row(row) for row in rows], apart=apart)


def _row(row: Comparison) -> dict[str, str]:
    """The differences of single trainings around their mean, in points."""
    found = row.spread
    return {
        "name": row.arm_a.label,
        "fraction": words.fraction_name(row.fraction),
        "difference": words.points(row.difference),
        "seeds": _size(found.seeds if found else None),
        "draws": _size(found.label_draws if found else None),
        "repeats": f"{row.seeds} × {row.label_draws}",
    }


def _size(value: float | None) -> str:
    return "—" if value is None else words.number(100 * value, 1)
