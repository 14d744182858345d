"""Pictures made safe to stand inside the page: drawn SVG inline, small pictures as data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from markupsafe import Markup

LONGEST_SIDE = 160  # pixels; the gallery shows pictures at most 120 wide
LIGHT_ENOUGH = 6_000  # bytes; a picture below this is embedded as it is
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
    handler, no address. Ids get ``name`` in front, because several drawings share one page, and
    are numbered by place, because the renderer counts on across drawings.
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


def picture_uri(run: Path, relative: str) -> str | None:
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
            media_type, content = _light(path.read_bytes())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning):
        return None
    except Image.DecompressionBombError:
        return None
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _light(content: bytes) -> tuple[str, bytes]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        small = max(picture.size) <= LONGEST_SIDE and len(content) <= LIGHT_ENOUGH
        if small and picture.format in _MEDIA_TYPES:
            return _MEDIA_TYPES[picture.format], content
        flat = picture.convert("RGBA")
        page = Image.new("RGBA", flat.size, "white")
        page.alpha_composite(flat)
        page.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        buffer = io.BytesIO()
        page.convert("RGB").save(buffer, "JPEG", quality=85)
    return "image/jpeg", buffer.getvalue()


def _ids(root: ElementTree.Element) -> list[str]:
    return [element.attrib["id"] for element in root.iter() if "id" in element.attrib]


def _clean(element: ElementTree.Element, ids: dict[str, str]) -> ElementTree.Element:
    kept = ElementTree.Element(_local(element.tag))
    for attribute, value in element.attrib.items():
        value = _renamed(value, ids) if attribute != "id" else ids[value]
        if _ATTRIBUTES.fullmatch(attribute) and not _points_outside(value):
            kept.set(attribute, value)
    kept.text = element.text if kept.tag in ("text", "tspan") else None
    for child in element:
        if isinstance(child.tag, str) and _ELEMENTS.fullmatch(_local(child.tag)):
            kept.append(_clean(child, ids))
    return kept


def _renamed(value: str, ids: dict[str, str]) -> str:
    return re.sub(r"url\(#([^)]*)\)", lambda m: f"url(#{ids.get(m[1], m[1])})", value)


def _points_outside(value: str) -> bool:
    return "url(" in value and not value.startswith("url(#")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
