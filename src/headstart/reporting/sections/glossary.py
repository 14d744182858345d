"""The terms of the report, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Terms", "The terms, in plain words")
def glossary(results: Results, run: Path) -> Markup:
    """The terms of the report, in plain words."""
    from headstart.reporting.sentences.glossary import TERMS, anchor

    entries = [(anchor(name), name, text) for name, text in TERMS.items()]
    return fragment("glossary", results, run, entries=entries)
