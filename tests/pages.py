"""The documents as data: their fenced blocks, the commands in them, their headings and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md")),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind its first fence, and what is between the two."""

    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, without comments; a backslash joins lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
        return [line for line in bare if line]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf8")


def blocks(page: str) -> list[Block]:
    return [Block(kind, inside) for kind, inside in FENCE.findall(text(page))]


def table_commands(page: str) -> list[str]:
    """The commands that stand alone in a cell of a table, several with ``<br>`` between them."""
    return _alone_in_cells(page, "headstart ")


def table_calls(page: str) -> list[str]:
    """The calls of Python that stand alone in a cell of a table."""
    return [call for call in _alone_in_cells(page, "headstart.") if call.endswith(")")]


def _alone_in_cells(page: str, beginning: str) -> list[str]:
    rows = re.findall(r"^\|(.*)\|$", FENCE.sub("", text(page)), re.MULTILINE)
    cells = (cell.strip() for row in rows for cell in row.split(" | "))
    spans = (span for cell in cells for span in cell.split("<br>"))
    return re.findall(rf"^`({re.escape(beginning)}[^`]+)`$", "\n".join(spans), re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        times = sum(re.fullmatch(re.escape(slug) + r"(-\d+)?", one) is not None for one in found)
        found.append(f"{slug}-{times}" if times else slug)
    return set(found)


def links(page: str) -> list[tuple[str, str]]:
    """Every relative link as (path, anchor); the path of a link within the page is empty."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text(page)))
    relative = (link for link in found if not re.match(r"[a-z]+:", link))
    return [(path, anchor) for path, _, anchor in (one.partition("#") for one in relative)]
