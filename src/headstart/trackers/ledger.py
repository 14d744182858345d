"""What a tracker was sent already, so that a study that is taken up again sends nothing twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from headstart.store import write_json
from headstart.trackers.base import Point

SECONDS = 2.0  # between two writings: after a kill no more than that is sent twice


class Ledger:
    """The last step of each series that one tracker was sent, in a small file.

    Other settings are another study: they get another id, and everything is sent again.
    """

    def __init__(self, path: Path, settings: str) -> None:
        """``settings`` is a hash of those that make a study another one."""
        self.path, self.settings = path, settings
        self.id, self.steps = self._read() or (uuid4().hex, {})
        self._written = 0.0

    def _read(self) -> tuple[str, dict[str, int]] | None:
        try:
            stored = json.loads(self.path.read_text(encoding="utf8"))
            steps = {str(series): int(step) for series, step in stored["steps"].items()}
            return (str(stored["id"]), steps) if stored["settings"] == self.settings else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None  # none yet, or a damaged one: everything is sent

    def forget(self) -> None:
        """Nothing was sent: the place does not know this study."""
        self.steps = {}

    def new(self, points: Iterable[Point]) -> list[Point]:
        """The points beyond what was sent, which from now on count as sent."""
        found = []
        for point in points:
            if point.step > self.steps.get(point.series, -1):
                self.steps[point.series] = point.step
                found.append(point)
        return found

    def write(self, *, now: bool = False) -> None:
        """Keep it; unless ``now``, at most every two seconds."""
        if not now and time.monotonic() < self._written + SECONDS:
            return
        self.path.parent.mkdir(exist_ok=True)
        write_json(self.path, {"id": self.id, "settings": self.settings, "steps": self.steps})
        self._written = time.monotonic()
