"""A study's trackers: begun before anything is computed, told while it runs, ended with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from headstart.config import Study, StudyError
from headstart.interrupt import Interrupted
from headstart.results import Results
from headstart.runtime.run import Tell
from headstart.trackers import TRACKERS
from headstart.trackers.base import Answer, Ending, Point, Setting, Tracked
from headstart.trackers.ledger import Ledger
from headstart.trackers.sender import Sender, one_line


class Tracking:
    """Who is told of progress, and the trackers beside."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.senders: list[Sender] = []

    def line(self, text: str) -> None:
        """A line that stays; it is not tracked."""
        self.tell.line(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """How far it is; it is not tracked."""
        self.tell.progress(what, done, total)

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        """Readings for the trackers, without what was not measured."""
        self.tell.curve(series, step, values)
        known = {k: v for k, v in values.items() if v is not None and isfinite(v)}
        for sender in self.senders:
            sender.tell(Point(series, step, known))

    def answer(self, results: Results, files: Sequence[Path]) -> None:
        """What the study came to."""
        if self.senders:
            said = Answer.of(results, files)
            for sender in self.senders:
                sender.tell(said)


@contextmanager
def tracking(study: Study, folder: Path, tell: Tell) -> Iterator[Tracking]:
    """The trackers of a study (``engine.track``) while it runs in ``folder``.

    Raises:
        StudyError: a library that is missing, a server that does not answer.
    """
    told = Tracking(tell)
    ending: Ending = "failed"
    try:
        for name in study.engine.track:
            told.senders.append(_begun(name, study, folder, tell))
        yield told
        ending = "finished"
    except (Interrupted, KeyboardInterrupt):
        ending = "stopped"
        raise
    finally:
        for sender in told.senders:
            sender.close(ending)


def _begun(name: str, study: Study, folder: Path, tell: Tell) -> Sender:
    """One tracker, which has taken up the study."""
    settings = study.model_dump(mode="json", exclude={"engine"})
    asked = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    ledger = Ledger(folder / "tracked" / f"{name}.json", asked)
    title = folder.resolve().name
    try:
        flat = dict(_flat(study.model_dump(mode="json")))
        tracker = TRACKERS[name](Tracked(ledger.id, title, folder, flat))
    except StudyError:
        raise
    except Exception as error:
        raise StudyError(f"--track {name}: {one_line(error)}") from error
    if not tracker.known:
        ledger.forget()
    if tracker.place:
        tell.line(f"--track {name}: {tracker.place}")
    return Sender(name, tracker, ledger, tell.line)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Setting]]:
    """Nested settings by dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            plain = isinstance(value, str | int | float | bool | None)
            yield f"{above}{name}", value if plain else json.dumps(value)
