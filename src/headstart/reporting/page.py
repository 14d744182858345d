"""One page that holds the whole answer, and the same in Markdown.

``report.html`` needs nothing but itself: figures are inline SVG, pictures are data URIs, and its
content security policy lets a browser load nothing and run only the one script that it holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.files import write_bytes
from headstart.reporting import answer, explanations, figures, paper, safe, validity, views
from headstart.reporting.sections import SECTIONS
from headstart.reporting.sections.base import environment
from headstart.results import Results

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def write_report(results: Results, run: Path) -> Path:
    """Write ``report.html``, ``report.md``, figures, and what a paper needs into the run's folder.

    The pictures of the explained images are read from the run's folder. Every file is written
    whole and moved into place, the page last; the same results give the same bytes. Returns the
    path of the page.
    """
    from markupsafe import Markup

    drawn = _write_figures(results, run / "figures")
    paper.write_for_paper(results, run)
    plain = _markdown_environment().get_template("report.md").render(_view(results, drawn))
    write_bytes(run / "report.md", plain.encode())
    script = resources.files(__package__).joinpath("templates/report.js").read_text("utf8")
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=results.title,
            version=results.provenance.headstart,
            sections=list(_sections(results, run)),
            script=Markup(script),  # noqa: S704 - a file of ours
            script_hash=_hash(script),
        )
    )
    path = run / "report.html"
    write_bytes(path, page.encode())
    return path


def _hash(script: str) -> str:
    """As a content security policy names the one script that it lets run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@dataclass(frozen=True)
class _Written:
    """A section as the frame of the page takes it in."""

    anchor: str
    title: str
    heading: str
    body: Markup | str


def _sections(results: Results, run: Path) -> Iterator[_Written]:
    """Every section that has something to say."""
    for name, section in SECTIONS.items():
        body = section.write(results, run)
        if body is not None:
            yield _Written(name, section.title, section.heading or section.title, body)


def _write_figures(results: Results, folder: Path) -> list[str]:
    """Draw what there is to draw; take away what an earlier report drew and this one does not."""
    drawn = []
    for name, draw in figures.FIGURES.items():
        chart = draw(results)
        if chart is not None:
            figures.save(chart, folder, name)
            drawn.append(name)
            continue
        for suffix in figures.SUFFIXES:
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    return drawn


def _view(results: Results, drawn: list[str]) -> dict[str, Any]:
    """What the Markdown report is made of."""
    return {
        "title": results.title,
        "first": answer.first_screen(results),
        "verdict": answer.verdict(results),
        "limits": answer.limits(results),
        "gates": validity.gates(results),
        "curves": validity.label_curves(results),
        "pairs": validity.method_pairs(results),
        "data": views.data_card(results),
        "arms": views.arm_table(results),
        "comparisons": views.comparison_table(results),
        "classes": views.class_table(results),
        "pretraining": views.pretraining(results),
        "maps": explanations.explanations(results),
        "reproduce": views.reproduce(results),
        "captions": views.captions(results),
        "drawn": drawn,
    }


def _markdown_environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("headstart.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown has its own marks to escape; `finalize` does
        finalize=safe.markdown,
    )
