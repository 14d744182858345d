"""Where each encoder puts the test images, with a picture of each image on pointing at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.reporting.inline import Tile, sheet_uri
from headstart.reporting.sections.base import fragment, section
from headstart.results import Results

if TYPE_CHECKING:
    from markupsafe import Markup

TILE = Tile(side=48, columns=20)


@section("Features", "Where the encoders put the test images")
def features(results: Results, run: Path) -> Markup | None:
    """One figure, and one sheet of small pictures for its marks; None where nothing is known."""
    shown = results.shown
    if shown is None or not shown.maps or not shown.maps[0].points:
        return None
    photos = [shown.images[number].photo for number in shown.maps[0].shown]
    return fragment("features", results, run, sheet=sheet_uri(run, photos, TILE), tile=TILE)
