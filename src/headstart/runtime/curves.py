"""What is told of a pretraining's history, live and when it is found finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headstart.runtime.run import Tell

Moment = Mapping[str, float | None]
"""``step``, ``epoch`` and what was measured; see ``results.Moment``."""


def tell_moments(tell: Tell, method: str, seed: int, history: Iterable[Moment]) -> None:
    """Tell of readings by their steps; whoever listens knows those that it had before."""
    for moment in history:
        values = {name: value for name, value in moment.items() if name != "step"}
        tell.curve(f"pretrain/{method}-seed{seed}", int(moment["step"] or 0), values)
