"""Where the networks look, with the pictures of the explained images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.attributions import ATTRIBUTIONS, is_signed, title
from headstart.reporting import explanations
from headstart.reporting.inline import ROOM, finish_for, picture_uri
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
    signed = ", ".join(title(name) for name in ATTRIBUTIONS.whole() if is_signed(name))
    return fragment("maps", results, run, maps=view, signed=signed)


def _embed_pictures(view: dict[str, Any], run: Path) -> None:
    """Put each picture's data URI beside its path; what finds no room is counted, not shown."""
    gallery, masks = view["gallery"], view["masks"]
    rows = gallery["rows"] if gallery else []
    overlays = masks["overlays"] if masks else []
    finish = finish_for(run, [*overlays, *(path for row in rows for path in _paths(row))])
    room = ROOM
    if masks:
        masks["overlays"] = [(path, picture_uri(run, path, finish)) for path in overlays]
    for shown, row in enumerate(rows):
        row["photo_uri"] = picture_uri(run, row["photo"], finish)
        room -= len(row["photo_uri"] or "")
        for cell in filter(None, row["cells"]):
            cell["maps"] = [
                (*drawn, picture_uri(run, drawn[1], finish) if drawn[1] else None)
                for drawn in cell["maps"]
            ]
            room -= sum(len(uri or "") for *_, uri in cell["maps"])
        if room < 0:
            gallery["more"] = len(rows) - shown
            gallery["rows"] = rows[:shown]
            break


def _paths(row: dict[str, Any]) -> list[str]:
    """The pictures of one image: itself, and its maps."""
    maps = [drawn[1] for cell in filter(None, row["cells"]) for drawn in cell["maps"]]
    return [row["photo"], *filter(None, maps)]
