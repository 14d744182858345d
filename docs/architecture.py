"""Draw ``architecture.svg``: the rooms of the package on their floors, and the values that flow.

python docs/architecture.py

The rooms, their floors and their imports are read as the tests read them, so the picture cannot
show what the source does not hold.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from rooms import FLOORS, SOURCE, modules  # noqa: E402

PURPOSE = {
    "cli": "parses, calls, prints",
    "commands": "the commands beside run",
    "api": "the same from Python",
    "cluster": "cells on other machines",
    "plugins": "add a part of your own",
    "terminal": "progress for a person",
    "faults": "a machine's faults in one line",
    "launcher": "several processes for a run",
    "finished": "asking a run folder later",
    "cost": "what a study will take",
    "plan": "the cost on other machines",
    "pipeline": "READ FIRST: the verbs in order",
    "bench": "timing in turns",
    "export": "networks for other libraries",
    "features": "an encoder for scikit-learn",
    "stages": "one file or folder a verb",
    "executors": "where cells are computed",
    "trackers": "curves and answers sent on",
    "runtime": "what the verbs share",
    "engine": "training loop; knows Fabric",
    "store": "artifacts by what made them",
    "reporting": "sections, figures, sentences",
    "layers": "preset < file < --set < flag",
    "recipes": "settings of each method",
    "arms": "what is compared, and its name",
    "stats": "intervals, tests, verdicts",
    "results": "the types of results.json",
    "methods": "one paper a file",
    "attributions": "one method a file",
    "nn": "encoder, losses, heads",
    "data": "sources, pixels, splits, views",
    "config": "a study and its settings",
    "types": "arrays that flow",
    "files": "whole files or none",
    "interrupt": "signals",
    "cores": "what a container allows",
    "ranks": "processes that train together",
    "registry": "named parts, listed unopened",
    "extensions": "parts of installed packages",
}
VALUES = (
    ("index", "DatasetIndex"),
    ("pretrain", "Encoder"),
    ("extract", "Features"),
    ("classify", "classifier"),
    ("evaluate", "Predictions"),
    ("explain", "Attributions"),
    ("compare", "verdicts, numbers"),
    ("report", "Results"),
)
WIDE, HIGH, GAP, LEFT, TOP = 178, 46, 14, 120, 150
INK, QUIET, LINE, FILL = "#1F2328", "#57606A", "#8C959F", "#F6F8FA"


def text(x: float, y: float, words: str, size: int = 12, **more: str) -> str:
    """A line of text, centred."""
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="middle"{extra}>'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, wide: float, name: str, about: str) -> str:
    """A room with its purpose."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{HIGH}" rx="5" fill="{FILL}" '
        f'stroke="{LINE}"/>'
        + text(x + wide / 2, y + 19, name, 13, font_weight="bold")
        + text(x + wide / 2, y + 36, about, 11, fill=QUIET)
    )


def flow(width: float) -> list[str]:
    """The verbs in order, and the value that each hands on."""
    step = (width - 40) / len(VALUES)
    drawn = [text(width / 2, 26, "Eight verbs, and the value each hands to the next", 15)]
    for i, (verb, value) in enumerate(VALUES):
        x = 20 + i * step
        drawn.append(box(x, 44, step - 22, verb, value))
        if i < len(VALUES) - 1:
            drawn.append(
                f'<path d="M{x + step - 20:g} 67 h16 m-5 -4 l5 4 l-5 4" fill="none" '
                f'stroke="{INK}"/>'
            )
    return drawn


def floors(width: float) -> tuple[list[str], float]:
    """Every room on its floor: what stands above may import what stands below."""
    there = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()}
    drawn = [text(width / 2, TOP - 14, "Rooms: a room imports only from floors below its own", 15)]
    y = float(TOP)
    for rooms in reversed(FLOORS):
        names = sorted(rooms & there)
        if not names:
            continue
        x = (width - len(names) * (WIDE + GAP) + GAP) / 2
        for name in names:
            drawn.append(box(x, y, WIDE, name, PURPOSE[name]))
            x += WIDE + GAP
        y += HIGH + GAP + 8
    return drawn, y


def picture() -> str:
    """The whole SVG."""
    width = LEFT + 5 * (WIDE + GAP) + 40
    drawn, height = floors(width)
    foot = text(
        width / 2,
        height + 6,
        "Drawn from the source by docs/architecture.py; a test holds that no import points upward",
        11,
        fill=QUIET,
    )
    body = "\n".join([*flow(width), *drawn, foot])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + 20:g}" '
        f'font-family="Liberation Sans, Arial, Helvetica, sans-serif" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    (HERE / "architecture.svg").write_text(picture(), encoding="utf8")
