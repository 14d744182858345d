"""The answer: a headline with its picture, before anything else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting import answer as content
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section()
def answer(results: Results, run: Path) -> Markup:
    """The answer: a headline with its picture, before anything else."""
    return fragment(
        "answer",
        results,
        run,
        title=results.title,
        first=content.first_screen(results),
        verdict=content.verdict(results),
    )
