"""Which classes are found, and which are taken for which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import views
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Where it fails")
def classes(results: Results, run: Path) -> Markup:
    """Which classes are found, and which are taken for which."""
    return fragment("classes", results, run, classes=views.class_table(results))
