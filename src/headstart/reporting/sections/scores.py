"""Every arm with its scores, the label curves, and every comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import validity, views
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("All scores")
def scores(results: Results, run: Path) -> Markup:
    """Every arm with its scores, the label curves, and every comparison."""
    return fragment(
        "scores",
        results,
        run,
        arms=views.arm_table(results),
        curves=validity.label_curves(results),
        comparisons=views.comparison_table(results),
        pairs=validity.method_pairs(results),
    )
