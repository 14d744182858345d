"""Named parts that can be added: a method, an attribution, a source, a section, an executor.

An entry of ours is a line ``name: "module:attribute"``. The module is imported when the entry is
asked for, so the names can be listed (in ``--help``, say) without importing PyTorch. A registry
that is open to a group of entry points also holds the parts that installed packages bring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Generic, TypeVar, cast

from headstart.extensions import Extension, Group, Refused, accepted, found, load

T = TypeVar("T")
Added = TypeVar("Added")


class Registry(Mapping[str, T], Generic[T]):
    """Parts of one kind by name, in the order in which they are listed and shown.

    Args:
        kind: what an entry is, for error messages.
        entries: name -> the part, or where it stands as ``"module:attribute"``.
        group: the entry points by which installed packages may bring more.
    """

    def __init__(
        self, kind: str, entries: Mapping[str, T | str], group: Group | None = None
    ) -> None:
        self.kind, self.group = kind, group
        self.entries: dict[str, T | str] = dict(entries)
        self._loaded: dict[str, T] = {}

    @cached_property
    def _found(self) -> tuple[dict[str, Extension], tuple[Refused, ...]]:
        """What installed packages bring, looked for when the registry is first read."""
        if self.group is None:
            return {}, ()
        return accepted(found(self.kind, self.group), {*self.entries, *self.group.reserved})

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Parts of installed packages that are not taken, and why."""
        return self._found[1]

    def extension(self, name: str) -> Extension | None:
        """The package's part of that name; None where the part is ours or registered by hand."""
        return None if name in self.entries else self._found[0].get(name)

    def made_by(self, name: str) -> dict[str, str]:
        """For the key of what a part computes: its package and version, nothing where it is ours.

        Another version may compute something else under the same settings.
        """
        extension = self.extension(name)
        return {"extension": extension.origin} if extension else {}

    def __getitem__(self, name: str) -> T:
        """The part.

        Raises:
            KeyError: there is none of that name; ``unknown`` has the sentence for a user.
            StudyError: the package that brings it is broken.
        """
        extension = self.extension(name)
        if extension is not None and self.group is not None:
            if name not in self._loaded:
                self._loaded[name] = cast(T, extension.load(self.group.needs))
            return self._loaded[name]
        entry = self.entries[name]
        if isinstance(entry, str):
            entry = cast(T, load(entry))
            self.entries[name] = entry
        return entry

    def usable(self, name: str) -> T | None:
        """The part; None where there is none of that name or its package is broken."""
        return self[name] if name in self and self.fault(name) is None else None

    def fault(self, name: str) -> str | None:
        """Why a part cannot be loaded, in one line; None where it can."""
        from headstart.config import StudyError

        try:
            self[name]
        except StudyError as error:
            return str(error)
        return None

    def whole(self) -> Iterator[str]:
        """The names of the parts that can be loaded: one broken package stops nobody else."""
        return (name for name in self if self.usable(name) is not None)

    def __iter__(self) -> Iterator[str]:
        """The names, in order; nothing is imported."""
        yield from self.entries
        yield from (name for name in self._found[0] if name not in self.entries)

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Whether there is a part of that name; nothing is imported."""
        return name in self.entries or name in self._found[0]

    def register(self, name: str) -> Callable[[Added], Added]:
        """A decorator that adds a part under ``name``, after those that are there.

        Raises:
            ValueError: the name is taken.
        """

        def add(part: Added) -> Added:
            if name in self or name in (self.group.reserved if self.group else ()):
                raise ValueError(f"there is already a {self.kind} called '{name}'")
            self.entries[name] = cast(T, part)
            return part

        return add

    def unknown(self, name: str) -> str:
        """The end of an error line about a name that is not there: the known ones, the nearest."""
        near = get_close_matches(name, list(self), n=1)
        known = ", ".join(f"'{entry}'" for entry in self)
        return f"'{name}' is not one of {known}" + (f"; did you mean '{near[0]}'?" if near else "")
