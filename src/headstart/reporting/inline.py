"""Pictures made safe to stand inside the page: drawn SVG inline, small pictures as data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from markupsafe import Markup

LONGEST_SIDE = 160  # pixels; the gallery shows pictures at most 120 wide
LIGHT_ENOUGH = 6_000  # bytes; a picture below this is embedded as it is
ROOM = 1_700_000  # letters of data addresses in the gallery
SHEET_ROOM = 300_000  # letters of a sheet of small pictures
SHEET_QUALITIES = (60, 40, 20, 5)
SAMPLE = 24  # pictures that tell how large the others will be
GROWS, SHRINKS = 1.25, 0.85  # beyond these a figure stops growing, and scrolls

_ELEMENTS = re.compile(r"svg|g|path|rect|line|circle|text|tspan|defs|clipPath|linearGradient|stop")
_ATTRIBUTES = re.compile(
    r"id|d|transform|[xy][12]?|c[xy]|r|width|height|viewBox|offset|gradientUnits|clip-path"
    r"|opacity|(fill|stroke|stop)(-opacity|-color)?|text-anchor|font-(family|size|weight|style)"
    r"|stroke-(width|dasharray|dashoffset|miterlimit|linecap|linejoin)"
)
_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def inline_svg(svg: str, name: str, label: str) -> Markup:
    """The drawing as an ``<svg>`` for an HTML page, with ``label`` as its text alternative.

    Only drawing elements and attributes are kept, whatever the text holds: no script, no event
    handler, no address. What a mark tells of itself becomes its tooltip. Ids get ``name`` in
    front, because several drawings share one page, and are numbered by place, because the renderer
    counts on across drawings.
    """
    from markupsafe import Markup

    # The text is our own renderer's, and what is not on the two lists above is dropped.
    root = ElementTree.fromstring(svg)  # noqa: S314
    ids = {old: f"{name}-{i}" for i, old in enumerate(_ids(root))}
    for child in [c for c in root if _local(c.tag) == "rect"]:
        root.remove(child)  # the white ground; the page has its own
    clean = _clean(root, ids)
    width = float(root.get("width", "600"))
    clean.set("style", f"max-width:{GROWS * width:.0f}px;min-width:{SHRINKS * width:.0f}px")
    clean.set("role", "img")
    clean.set("aria-label", label)
    for attribute in ("width", "height"):
        clean.attrib.pop(attribute, None)
    return Markup(ElementTree.tostring(clean, encoding="unicode"))  # noqa: S704


@dataclass(frozen=True)
class Finish:
    """How small pictures are made: the longest side in pixels, and WebP's quality.

    Without a quality, small pictures stay as they are and large ones become JPEG.
    """

    side: int = LONGEST_SIDE
    quality: int | None = None


FINEST = Finish()
FINISHES = (FINEST, Finish(128, 75), Finish(104, 60), Finish(88, 45))
"""From the finest to the smallest that still shows where a map is red."""


def finish_for(run: Path, pictures: Sequence[str]) -> Finish:
    """The finest of ``FINISHES`` with which all these pictures fit the page, by a sample."""
    sample = pictures[:: max(1, len(pictures) // SAMPLE)]
    for finish in FINISHES[:-1]:
        sizes = [len(picture_uri(run, one, finish) or "") for one in sample]
        if sum(sizes) / max(1, len(sizes)) * len(pictures) <= ROOM:
            return finish
    return FINISHES[-1]


def picture_uri(run: Path, relative: str, finish: Finish = FINEST) -> str | None:
    """The picture as a ``data:`` address, shrunk if it is large; ``None`` if it cannot be shown.

    A path that leaves the run's folder, a missing file and a file that is no picture all give
    ``None``: a report must not fail, and must not embed what is not part of the run.
    """
    from PIL import Image

    path = (run / relative).resolve()
    if not path.is_relative_to(run.resolve()) or not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            media_type, content = _light(path.read_bytes(), finish)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning):
        return None
    except Image.DecompressionBombError:
        return None
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Tile:
    """Small pictures on a sheet: the side of each in pixels, and how many stand in a row."""

    side: int
    columns: int


def sheet_uri(run: Path, pictures: Sequence[str], tile: Tile) -> str | None:
    """All pictures on one sheet, row by row, as a ``data:`` address; ``None`` without any.

    One sheet weighs far less than as many files. A picture that cannot be shown leaves a gap. The
    quality is lowered until the address fits ``SHEET_ROOM``.
    """
    from PIL import Image

    uris = [picture_uri(run, one) for one in pictures]
    if not any(uris):
        return None
    rows = -(-len(uris) // tile.columns)
    sheet = Image.new("RGB", (tile.side * tile.columns, tile.side * rows), "white")
    for i, uri in enumerate(uris):
        if uri:
            content = base64.b64decode(uri.partition(",")[2])
            with Image.open(io.BytesIO(content)) as picture:
                small = picture.convert("RGB").resize((tile.side, tile.side))
            sheet.paste(small, (i % tile.columns * tile.side, i // tile.columns * tile.side))
    for quality in SHEET_QUALITIES:
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=quality, method=4)
        uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(uri) <= SHEET_ROOM:
            return uri
    return None


def _light(content: bytes, finish: Finish) -> tuple[str, bytes]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        enough = LIGHT_ENOUGH if finish.quality is None else 0
        small = max(picture.size) <= finish.side and len(content) <= enough
        if small and picture.format in _MEDIA_TYPES:
            return _MEDIA_TYPES[picture.format], content
        flat = picture.convert("RGBA")
        page = Image.new("RGBA", flat.size, "white")
        page.alpha_composite(flat)
        page.thumbnail((finish.side, finish.side))
        buffer = io.BytesIO()
        if finish.quality is None:
            page.convert("RGB").save(buffer, "JPEG", quality=85)
            return "image/jpeg", buffer.getvalue()
        page.convert("RGB").save(buffer, "WEBP", quality=finish.quality, method=4)
    return "image/webp", buffer.getvalue()


def _ids(root: ElementTree.Element) -> list[str]:
    return [element.attrib["id"] for element in root.iter() if "id" in element.attrib]


def _clean(element: ElementTree.Element, ids: dict[str, str]) -> ElementTree.Element:
    kept = ElementTree.Element(_local(element.tag))
    for attribute, value in element.attrib.items():
        value = _renamed(value, ids) if attribute != "id" else ids[value]
        if _ATTRIBUTES.fullmatch(attribute) and not _points_outside(value):
            kept.set(attribute, value)
    kept.text = element.text if kept.tag in ("text", "tspan") else None
    if _is_mark(element):
        ElementTree.SubElement(kept, "title").text = element.get("aria-label")
    for child in element:
        if isinstance(child.tag, str) and _ELEMENTS.fullmatch(_local(child.tag)):
            kept.append(_clean(child, ids))
    return kept


def _is_mark(element: ElementTree.Element) -> bool:
    """Whether it has something to tell that is not written beside it, as a title is."""
    symbol = element.get("role") == "graphics-symbol" and element.get("aria-label")
    return bool(symbol) and element.get("aria-roledescription") not in ("title", "subtitle")


def _renamed(value: str, ids: dict[str, str]) -> str:
    return re.sub(r"url\(#([^)]*)\)", lambda m: f"url(#{ids.get(m[1], m[1])})", value)


def _points_outside(value: str) -> bool:
    return "url(" in value and not value.startswith("url(#")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
