"""Parts that installed packages bring, by the entry points in their metadata; imported when used.

A package names its parts in its ``pyproject.toml``:

    [project.entry-points."headstart.methods"]
    mine = "my_package:Mine"
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def load(place: str) -> Any:
    """What stands at ``"module:attribute"``; the module is imported."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class Group:
    """A group of entry points that a registry is open to."""

    name: str
    """Like ``headstart.methods``."""
    needs: tuple[str, ...]
    """Attributes that a part has; one without them is no part of this kind."""
    reserved: tuple[str, ...] = ()
    """Names that have a meaning of their own and cannot be given to a part."""


@dataclass(frozen=True)
class Extension:
    """A part that an installed package brings: its name, place ``"module:attribute"``, package."""

    kind: str
    name: str
    place: str
    package: str
    version: str

    @property
    def origin(self) -> str:
        """The package and its version."""
        return f"{self.package} {self.version}"

    def load(self, needs: tuple[str, ...]) -> Any:
        """The part, imported.

        Raises:
            StudyError: it cannot be imported or is no such part; the line names the package.
        """
        from headstart.config import StudyError

        about = f"{self.kind} '{self.name}' of the package {self.origin}"
        try:
            part = load(self.place)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise StudyError(
                f"{about} cannot be loaded ({why}); update the package or uninstall it"
            ) from error
        missing = [need for need in needs if not hasattr(part, need)]
        if missing:
            raise StudyError(
                f"{about}: {self.place} is no {self.kind}, as it has no '{missing[0]}'; update the "
                "package or uninstall it"
            )
        return part


@dataclass(frozen=True)
class Refused:
    """A part of a package that is not taken, and why."""

    extension: Extension
    why: str


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group; the metadata of all packages is read once in a process."""
    return tuple(entry_points(group=group))


def found(kind: str, group: Group) -> list[Extension]:
    """The parts of all installed packages, by name and package; nothing is imported."""
    parts = []
    for point in _installed(group.name):
        package = point.dist.metadata["Name"] if point.dist else "unknown"
        version = point.dist.version if point.dist else "?"
        parts.append(Extension(kind, point.name, point.value, package, version))
    return sorted(set(parts), key=lambda part: (part.name, part.package))


def accepted(
    parts: list[Extension], taken: set[str]
) -> tuple[dict[str, Extension], tuple[Refused, ...]]:
    """Which parts get their name, and which are refused: a name belongs to one part alone.

    A name that is ``taken`` stays with its owner. Of two packages that want the same name neither
    gets it, as the order in which they were installed would decide.
    """
    kept: dict[str, Extension] = {}
    refused = []
    for part in parts:
        others = [p.origin for p in parts if p.name == part.name and p.package != part.package]
        if part.name in taken:
            refused.append(Refused(part, "the name is taken"))
        elif others:
            refused.append(Refused(part, f"{others[0]} brings one of the same name"))
        elif not part.name.replace("_", "a").replace("-", "a").isalnum():
            refused.append(Refused(part, "a name has letters, digits, '_' and '-' only"))
        else:
            kept[part.name] = part
    return kept, tuple(refused)
