"""One page that holds the whole answer, and the same in Markdown.

``report.html`` needs nothing but itself: figures are inline SVG, pictures are data URIs, there is
no script, and its content security policy lets a browser load nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.files import write_bytes
from headstart.reporting import answer, explanations, figures, validity, views
from headstart.reporting.inline import inline_svg, picture_uri
from headstart.results import Results

if TYPE_CHECKING:
    from jinja2 import Environment


def write_report(results: Results, run: Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/*.{svg,png}`` into the run's folder.

    The pictures of the explained images are read from the run's folder. Every file is written
    whole and moved into place, the page last; the same results give the same bytes. Returns the
    path of the page.
    """
    drawn = _write_figures(results, run / "figures")
    view = _view(results, list(drawn))
    _embed_pictures(view["maps"], run)
    plain = _environment(markdown=True).get_template("report.md").render(view)
    write_bytes(run / "report.md", plain.encode())
    view["svg"] = {
        name: inline_svg(svg, name, view["captions"][name]["title"]) for name, svg in drawn.items()
    }
    page = _environment(markdown=False).get_template("report.html").render(view)
    path = run / "report.html"
    write_bytes(path, page.encode())
    return path


def _write_figures(results: Results, folder: Path) -> dict[str, str]:
    """Draw what there is to draw; take away what an earlier report drew and this one does not."""
    drawn = {}
    for name, draw in figures.FIGURES.items():
        chart = draw(results)
        if chart is not None:
            drawn[name] = figures.save(chart, folder, name)
            continue
        for suffix in (".svg", ".png"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    return drawn


def _view(results: Results, drawn: list[str]) -> dict[str, Any]:
    return {
        "title": results.title,
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


def _embed_pictures(maps: dict[str, Any] | None, run: Path) -> None:
    """Put each picture's data URI beside its path."""
    gallery, masks = (maps["gallery"], maps["masks"]) if maps else (None, None)
    for row in gallery["rows"] if gallery else []:
        row["photo_uri"] = picture_uri(run, row["photo"])
        for cell in filter(None, row["cells"]):
            cell["maps"] = [
                (*told, picture_uri(run, told[1]) if told[1] else None) for told in cell["maps"]
            ]
    if masks:
        masks["overlays"] = [(path, picture_uri(run, path)) for path in masks["overlays"]]


def _environment(*, markdown: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("headstart.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=not markdown,  # Markdown has its own marks to escape, and `finalize` does  # noqa: S701
        finalize=_markdown if markdown else None,
    )


def _markdown(value: Any) -> Any:
    """Text that Markdown shows as it is: no emphasis, table cell, link or tag can come of it."""
    if not isinstance(value, str) or hasattr(value, "__html__"):  # marked safe in the template
        return value
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_|":
        text = text.replace(mark, "\\" + mark)
    return text.replace("](", "]\\(").replace("\r", " ")
