"""Artifacts on disk, named after what went into them.

``<run>/<verb>/<label>-<key>/`` holds one artifact; ``done.json`` is written last, so its presence
means that the rest is whole. The key is a hash over the verb, its version, its settings and the
keys of its inputs: finished work is found again, changed work gets a folder of its own, and running
the same command again is how a study is resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Raised by one when a stage comes to compute something else from the same settings.
VERSIONS = {
    "index": 2,
    "pretrain": 1,
    "extract": 1,
    "classify": 1,
    "evaluate": 1,
    "explain": 2,
    "gates": 1,
    "compare": 2,
}


@dataclass(frozen=True)
class Entry:
    """One artifact: where it lies and the key it is known by."""

    folder: Path
    key: str

    @property
    def done(self) -> bool:
        """Whether the artifact is whole."""
        return (self.folder / "done.json").exists()

    @property
    def info(self) -> dict[str, Any]:
        """What the stage had to say of it when it finished."""
        stored = json.loads((self.folder / "done.json").read_text(encoding="utf8"))
        info: dict[str, Any] = stored["info"]
        return info

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that making it took."""
        stored = json.loads((self.folder / "done.json").read_text(encoding="utf8"))
        return float(stored["seconds"])

    def finish(self, info: Mapping[str, Any], started: float) -> None:
        """Mark the artifact whole; ``started`` is the ``time.perf_counter`` at its beginning."""
        seconds = time.perf_counter() - started
        write_json(self.folder / "done.json", {"key": self.key, "info": info, "seconds": seconds})


class Store:
    """The artifacts of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(
        self, verb: str, label: str, settings: Mapping[str, Any], inputs: Sequence[Entry] = ()
    ) -> Entry:
        """The place of the artifact that ``verb`` makes of ``inputs`` under ``settings``.

        ``label`` is for people and is no part of the key.
        """
        entry = self._place(verb, label, settings, inputs)
        entry.folder.mkdir(parents=True, exist_ok=True)
        return entry

    def _place(
        self, verb: str, label: str, settings: Mapping[str, Any], inputs: Sequence[Entry]
    ) -> Entry:
        content = {
            "verb": verb,
            "version": VERSIONS[verb],
            "settings": settings,
            "inputs": [entry.key for entry in inputs],
        }
        text = json.dumps(content, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Entry(self.root / verb / f"{label}-{key}", key)


class FinishedStore(Store):
    """The artifacts of a run that is over: they are found, and nothing new comes to be."""

    def entry(
        self, verb: str, label: str, settings: Mapping[str, Any], inputs: Sequence[Entry] = ()
    ) -> Entry:
        """The whole artifact.

        Raises:
            UnfinishedError: it is not there, or not whole.
        """
        entry = self._place(verb, label, settings, inputs)
        if not entry.done:
            raise UnfinishedError(verb, label)
        return entry


class UnfinishedError(LookupError):
    """An artifact that a finished run would have."""

    def __init__(self, verb: str, label: str) -> None:
        super().__init__(f"{verb}/{label}")
        self.verb = verb


def write_json(path: Path, value: Any) -> None:
    """Write to a temporary name and move into place; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name and move into place: there is no half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf8")
    os.replace(part, path)
