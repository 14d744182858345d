"""May this be believed: the checks of the comparison itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import validity as checks
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Checks", "Can you trust it?")
def validity(results: Results, run: Path) -> Markup | None:
    """May this be believed: the checks of the comparison itself."""
    gates = checks.gates(results)
    return fragment("validity", results, run, gates=gates) if gates else None
