"""What a section of the page is: a title, and a function that writes its part of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.reporting import figures, views
from headstart.reporting.inline import inline_svg
from headstart.results import Results

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

Write = Callable[[Results, Path], "Markup | str | None"]


@dataclass(frozen=True)
class Section:
    """A part of ``report.html``; its name in ``SECTIONS`` is its anchor.

    ``write`` is given the results and the run's folder. It returns a piece of HTML (what ``html``
    makes), a plain text, which is escaped, or None where there is nothing to say: then neither the
    heading nor the entry in the table of contents is written. By then ``figures/`` in the run's
    folder holds what could be drawn of these results.
    """

    write: Write
    title: str = ""
    """In the table of contents; a section without a title stands above it."""
    heading: str = ""
    """Over the section, where that is longer than the title."""


def section(title: str = "", heading: str = "") -> Callable[[Write], Section]:
    """A decorator that makes a section of a function."""
    return lambda write: Section(write, title, heading)


def html(text: str, **values: Any) -> Markup:
    """A Jinja template with its values, every one of them escaped unless it is HTML already."""
    return _markup(environment().from_string(text), values)


def fragment(name: str, results: Results, run: Path, **values: Any) -> Markup:
    """``templates/sections/<name>.html`` with its values and the figures of the run."""
    captions = views.captions(results)

    def place(figure: str) -> Path:
        return run / "figures" / f"{figure}.svg"

    def svg(figure: str) -> Markup:
        text = place(figure).read_text(encoding="utf8")
        return inline_svg(text, figure, captions[figure]["alternative"])

    drawn = [figure for figure in figures.FIGURES if place(figure).is_file()]
    shared = {"captions": captions, "drawn": drawn, "svg": svg, "terms": term_links()}
    return _markup(environment().get_template(f"sections/{name}.html"), shared | values)


def term_links() -> Callable[[str], Markup]:
    """Writes texts, escaped; where a known term first stands, it leads to the glossary."""
    from markupsafe import Markup, escape

    from headstart.reporting.sentences.glossary import TERMS, anchor

    known = {name.lower(): name for name in TERMS}
    names = "|".join(re.escape(str(escape(name))) for name in sorted(TERMS, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({names})(?=s?(?![\w-]))", re.IGNORECASE)
    met: set[str] = set()

    def link(found: re.Match[str]) -> str:
        term = known.get(found[0].lower(), "")
        if not term or term in met:
            return found[0]
        met.add(term)
        meaning = escape(TERMS[term])
        return f'<a class="term" href="#{anchor(term)}" title="{meaning}">{found[0]}</a>'

    return lambda text: Markup(pattern.sub(link, str(escape(text))))  # noqa: S704


@cache
def environment() -> Environment:
    """Templates whose values are escaped for HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("headstart.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )


def _markup(template: Template, values: dict[str, Any]) -> Markup:
    from markupsafe import Markup

    return Markup(template.render(values))  # noqa: S704 - autoescape is on
