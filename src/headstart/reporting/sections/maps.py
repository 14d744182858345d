"""Where the networks look, with the pictures of the explained images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.attributions import ATTRIBUTIONS, is_signed, title
from headstart.reporting import explanations
from headstart.reporting.inline import picture_uri
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup


@section("Where they look", "Where the networks look")
def maps(results: Results, run: Path) -> Markup | None:
    """Where the networks look, with the pictures of the explained images."""
    view = explanations.explanations(results)
    if not view:
        return None
    _embed_pictures(view, run)
    signed = ", ".join(title(name) for name in ATTRIBUTIONS if is_signed(name))
    return fragment("maps", results, run, maps=view, signed=signed)


def _embed_pictures(view: dict[str, Any], run: Path) -> None:
    """Put each picture's data URI beside its path."""
    gallery, masks = view["gallery"], view["masks"]
    for row in gallery["rows"] if gallery else []:
        row["photo_uri"] = picture_uri(run, row["photo"])
        for cell in filter(None, row["cells"]):
            cell["maps"] = [
                (*drawn, picture_uri(run, drawn[1]) if drawn[1] else None) for drawn in cell["maps"]
            ]
    if masks:
        masks["overlays"] = [(path, picture_uri(run, path)) for path in masks["overlays"]]
