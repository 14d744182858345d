"""The arms in a few words, the images, and what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import views
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("What was compared", "What was compared, and on what")
def data(results: Results, run: Path) -> Markup:
    """The arms in a few words, the images, and what was left out."""
    return fragment("data", results, run, data=views.data_card(results))
