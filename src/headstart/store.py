"""Artifacts on disk, named after what went into them.

``<run>/<verb>/<label>-<key>/`` holds one artifact; ``done.json`` is written last, so its presence
means that the rest is whole. The key is a hash over the verb, its version, its settings and the
keys of its inputs: finished work is found again, changed work gets a new folder, and running the
same command again resumes a study.

``done.json`` also holds the SHA-256 of every file of the artifact and of what its inputs held. They
are compared when a process first asks for an artifact: one that was cut off, changed, or made from
something that is no longer there is named, and made anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart import interrupt
from headstart.files import digest, lock, write_bytes

# Add one when a stage computes something else from the same settings.
VERSIONS = {
    "index": 3,
    "pretrain": 3,
    "extract": 1,
    "classify": 7,
    "evaluate": 2,
    "explain": 6,
    "gates": 3,
    "compare": 6,
}
DONE = "done.json"
CARD = "README.md"
APART = (".", "checkpoint", DONE, CARD)  # files that begin so are no part of an artifact


def _silent(_: str) -> None:
    """Print nothing."""


@dataclass(frozen=True)
class Entry:
    """One artifact: where it lies, the key it is known by, and what it is made from."""

    folder: Path
    key: str
    inputs: tuple[Entry, ...] = field(default=(), repr=False, compare=False)

    @property
    def done(self) -> bool:
        """Whether the artifact is whole."""
        return (self.folder / DONE).exists()

    @property
    def info(self) -> dict[str, Any]:
        """What the stage stored about it when it finished."""
        info: dict[str, Any] = self._stored()["info"]
        return info

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that making it took."""
        return float(self._stored()["seconds"])

    @property
    def content(self) -> str:
        """A hash over what it holds, "" while unfinished; made twice alike it is the same."""
        stored = self._stored() if self.done else {}
        return _hash([stored["files"], stored["info"]]) if stored else ""

    def finish(self, info: Mapping[str, Any], started: float) -> None:
        """Mark the artifact whole; ``started`` is the ``time.perf_counter`` at its beginning."""
        stored = {
            "key": self.key,
            "info": info,
            "files": {name: digest(path) for name, path in self._files().items()},
            "inputs": {entry.key: entry.content for entry in self.inputs},
            "seconds": time.perf_counter() - started,
        }
        stored["digest"] = _hash(json.loads(json.dumps(stored, allow_nan=False)))
        write_json(self.folder / DONE, stored)

    def make(self, work: Callable[[], Mapping[str, Any]]) -> Entry:
        """Make the artifact, unless it is whole.

        Args:
            work: writes the files into ``folder``, and returns what becomes ``info``.

        Returns:
            This entry, now done.
        """
        if not self.done:
            started = time.perf_counter()
            self.finish(work(), started)
        return self

    def write(self, work: Callable[[], object]) -> Entry:
        """The same for work that has nothing to say beside the files that it writes."""

        def silent() -> dict[str, Any]:
            work()
            return {}

        return self.make(silent)

    def fault(self) -> str | None:
        """Why a finished artifact cannot be used; None where nothing has changed."""
        try:
            stored = self._stored()
            written = stored.pop("digest")
            files, inputs = stored["files"], stored["inputs"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return f"{DONE} is damaged"
        if written != _hash(stored) or stored["key"] != self.key:
            return f"{DONE} is damaged"
        present = self._files()  # names that lead elsewhere are not followed
        for name, known in files.items():
            if name not in present:
                return f"{name} is missing"
            if digest(present[name]) != known:
                return f"{name} is damaged"
        for entry in self.inputs:
            if entry.content != inputs.get(entry.key):
                return f"it was made from another {entry.folder.parent.name}/{entry.folder.name}"
        return None

    def _files(self) -> dict[str, Path]:
        """The files of the artifact by their names below its folder."""
        return {
            path.relative_to(self.folder).as_posix(): path
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.startswith(APART)
        }

    def _stored(self) -> dict[str, Any]:
        stored: dict[str, Any] = json.loads((self.folder / DONE).read_text(encoding="utf8"))
        return stored


class Store:
    """The artifacts of one run folder; ``tell`` is called for each that is damaged."""

    def __init__(self, root: Path, tell: Callable[[str], None] = _silent) -> None:
        self.root, self.tell = root, tell
        self._sound: set[Path] = set()

    def entry(
        self, verb: str, label: str, settings: Mapping[str, Any], inputs: Sequence[Entry] = ()
    ) -> Entry:
        """The place of the artifact that ``verb`` makes of ``inputs`` under ``settings``.

        ``label`` is for people and is no part of the key. A damaged artifact is unfinished again.
        """
        entry = self._place(verb, label, settings, inputs)
        entry.folder.mkdir(parents=True, exist_ok=True)
        if entry.done and (fault := self._fault(entry)):
            self.tell(f"{entry.folder.parent.name}/{entry.folder.name}: {fault}; making it anew")
            (entry.folder / DONE).unlink()
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
        interrupt.check()  # a signal may have come where an exception is lost
        return Entry(self.root / verb / f"{label}-{key}", key, tuple(inputs))

    def _fault(self, entry: Entry) -> str | None:
        """What is wrong with an artifact, looked for once in a process."""
        fault = None if entry.folder in self._sound else entry.fault()
        if fault is None:
            self._sound.add(entry.folder)
        return fault


class FinishedStore(Store):
    """The artifacts of a finished run; it makes no new ones."""

    def entry(
        self, verb: str, label: str, settings: Mapping[str, Any], inputs: Sequence[Entry] = ()
    ) -> Entry:
        """The whole artifact.

        Raises:
            UnfinishedError: it is not there, not whole, or damaged.
        """
        entry = self._place(verb, label, settings, inputs)
        if not entry.done or self._fault(entry):
            raise UnfinishedError(verb, label)
        return entry


class UnfinishedError(LookupError):
    """An artifact that a finished run would have."""

    def __init__(self, verb: str, label: str) -> None:
        super().__init__(f"{verb}/{label}")
        self.verb = verb


@contextmanager
def locked(root: Path, tell: Callable[[str], None] = _silent) -> Iterator[None]:
    """Let one process at a time work in a run folder; a second one says so and waits."""

    def waiting() -> None:
        tell(f"{root}: another run is at work in this folder; waiting for it to end")

    with ExitStack() as stack:
        try:
            stack.enter_context(lock(root / ".lock", waiting))
        except OSError as error:
            if error.filename is not None:  # the file cannot be opened at all
                raise
            # Some network file systems have no locks.
            tell(f"{root}: cannot be locked ({error.strerror}); start no second run in this folder")
        yield


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write to a temporary name and move into place; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name and move into place: there is no half a file."""
    write_bytes(path, text.encode())
