"""What the results cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import answer
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("What this does not show")
def limits(results: Results, run: Path) -> Markup:
    """What the results cannot show."""
    return fragment("limits", results, run, limits=answer.limits(results))
