"""Whether pretraining went well, run by run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import views
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Pretraining", "How pretraining went")
def pretraining(results: Results, run: Path) -> Markup | None:
    """Whether pretraining went well, run by run."""
    rows = views.pretraining(results)
    return fragment("pretraining", results, run, pretraining=rows) if rows["rows"] else None
