"""Named parts that can be added: a method, an attribution, a source, a section, an executor.

An entry of ours is a line ``name: "module:attribute"``. The module is imported when the entry is
asked for, so the names can be listed (in ``--help``, say) without importing PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
Added = TypeVar("Added")


def load(place: str) -> Any:
    """What stands at ``"module:attribute"``; the module is imported."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


class Registry(Mapping[str, T], Generic[T]):
    """Parts of one kind by name, in the order in which they are listed and shown.

    Args:
        kind: what an entry is, for error messages.
        entries: name -> the part, or where it stands as ``"module:attribute"``.
    """

    def __init__(self, kind: str, entries: Mapping[str, T | str]) -> None:
        self.kind = kind
        self.entries: dict[str, T | str] = dict(entries)

    def __getitem__(self, name: str) -> T:
        """The part.

        Raises:
            KeyError: there is none of that name; ``unknown`` has the sentence for a user.
        """
        entry = self.entries[name]
        if isinstance(entry, str):
            entry = cast(T, load(entry))
            self.entries[name] = entry
        return entry

    def __iter__(self) -> Iterator[str]:
        """The names, in order; nothing is imported."""
        return iter(self.entries)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        """Whether there is a part of that name; nothing is imported."""
        return name in self.entries

    def register(self, name: str) -> Callable[[Added], Added]:
        """A decorator that adds a part under ``name``, after those that are there.

        Raises:
            ValueError: the name is taken.
        """

        def add(part: Added) -> Added:
            if name in self.entries:
                raise ValueError(f"there is already a {self.kind} called '{name}'")
            self.entries[name] = cast(T, part)
            return part

        return add

    def unknown(self, name: str) -> str:
        """The end of an error line about a name that is not there: the known ones, the nearest."""
        near = get_close_matches(name, self.entries, n=1)
        known = ", ".join(f"'{entry}'" for entry in self.entries)
        return f"'{name}' is not one of {known}" + (f"; did you mean '{near[0]}'?" if near else "")
