"""How to get these numbers again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import views
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Reproduce")
def reproduce(results: Results, run: Path) -> Markup:
    """How to get these numbers again."""
    return fragment("reproduce", results, run, reproduce=views.reproduce(results))
