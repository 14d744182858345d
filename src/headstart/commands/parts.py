"""Which parts there are to choose from, ours and those of installed packages, as lines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from headstart.attributions import ATTRIBUTIONS
from headstart.data.sources import SOURCES
from headstart.methods import METHODS
from headstart.registry import Registry
from headstart.trackers import TRACKERS

OPEN: dict[str, Registry[Any]] = {
    "Methods (--methods)": METHODS,
    "Attributions (headstart explain --attributions)": ATTRIBUTIONS,
    "Sources of images (--unlabeled, --labeled)": SOURCES,
    "Trackers (--track)": TRACKERS,
}
"""The registries that packages may bring parts for, by what a reader calls them."""


def part_lines() -> Iterator[str]:
    """Each part with what it does and where it comes from; broken and refused ones say why."""
    for number, (title, registry) in enumerate(OPEN.items()):
        yield from ("", title) if number else (title,)
        for name in registry:
            extension = registry.extension(name)
            origin = extension.origin if extension else "built in"
            yield f"  {name}: {registry.fault(name) or _about(registry[name])} [{origin}]"
        for refused in registry.refused:
            extension = refused.extension
            yield f"  {extension.name}: not taken, as {refused.why} [{extension.origin}]"


def _about(part: Any) -> str:
    """The first sentence of its docstring, with its title where it has one."""
    said = (inspect.getdoc(part) or "no description").partition("\n\n")[0]
    title = getattr(part, "title", "")
    said = re.split(r"(?<=\\.) ", " ".join(said.replace("``", "'").split()))[0]
    return f"{title}. {said}" if title else said
