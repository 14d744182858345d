"""A thread for each tracker: one that is slow or gone costs the study a line and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from headstart.trackers.base import Answer, Ending, Point, Tracker
from headstart.trackers.ledger import Ledger

PATIENCE = {"finished": 120.0, "stopped": 10.0, "failed": 10.0}
"""Seconds to wait at the end for what is still to be sent; a scheduler kills after a signal."""


@dataclass(frozen=True)
class _End:
    ending: Ending


Message = Point | Answer | _End


class Sender:
    """Passes on what it is told, in order, and never blocks but at its end."""

    def __init__(
        self, name: str, tracker: Tracker, ledger: Ledger, warn: Callable[[str], None]
    ) -> None:
        self.name, self.tracker, self.ledger, self.warn = name, tracker, ledger, warn
        self._waiting: SimpleQueue[Message] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=f"track-{name}", daemon=True)
        self._thread.start()

    def tell(self, message: Point | Answer) -> None:
        """Pass it on when its turn comes."""
        self._waiting.put(message)

    def close(self, ending: Ending) -> None:
        """Wait until all is sent, but not for ever."""
        self._waiting.put(_End(ending))
        self._thread.join(PATIENCE[ending])
        if self._thread.is_alive():
            self.warn(
                f"--track {self.name}: not all was sent within {PATIENCE[ending]:g} s; run the "
                "same command again to send the rest"
            )

    def _serve(self) -> None:
        try:
            while self._pass_on(self._take()):
                pass
        except Exception as error:  # noqa: BLE001 - whatever a library or a network does
            self.warn(
                f"--track {self.name}: {one_line(error)}; nothing more is sent, the study goes on; "
                "run the same command again to send the rest"
            )

    def _take(self) -> list[Message]:
        """What there is, at least one message."""
        taken = [self._waiting.get()]
        while not self._waiting.empty():
            taken.append(self._waiting.get())
        return taken

    def _pass_on(self, messages: list[Message]) -> bool:
        """Whether there may be more."""
        points = self.ledger.new(message for message in messages if isinstance(message, Point))
        if points:
            self.tracker.curves(points)
            self.ledger.write()
        for message in messages:
            if isinstance(message, Answer):
                self.tracker.answer(message)
            elif isinstance(message, _End):
                self.ledger.write(now=True)
                self.tracker.close(message.ending)
                return False
        return True


def one_line(error: Exception) -> str:
    """An error as the beginning of a line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
