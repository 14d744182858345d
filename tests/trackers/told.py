"""What the tests tell a tracker."""

from __future__ import annotations

from pathlib import Path

from headstart.trackers.base import Answer, Finding, Point, Tracked, Tracker

SERIES = "pretrain/simclr@mine-seed0"


def begun(made: type[Tracker], folder: Path) -> Tracker:
    """A tracker that was told the settings; more of them than one request may hold."""
    many = {f"methods.simclr.s{i}": i for i in range(150)}
    settings = {"pretrain.epochs": 2, "data.labeled": "bags", "encoder.stem": None, **many}
    return made(Tracked("abc123", "bags", folder, settings))


def points(*steps: int) -> list[Point]:
    """Readings of a pretraining, and of a trial beside it."""
    known = [Point(SERIES, step, {"loss": 1 / step, "rankme": 7.0 * step}) for step in steps]
    return [*known, Point("classify/trial", steps[0], {"loss": 5.0})]


def answer(folder: Path) -> Answer:
    """One arm that helps, and a page that says it."""
    from headstart.trackers.base import Score

    page = folder / "report.html"
    page.write_text("<p>It helps.", encoding="utf8")
    metrics = {"accuracy": 0.5, "kappa": -0.25}
    scores = (Score("simclr/linear", 3, 0.5, 1, 45, metrics),)
    found = Finding("simclr/linear", "supervised/x", 0.5, 0.1, 0.05, 0.2, "better", "It is better.")
    return Answer("SimCLR helps.", scores, (found,), (page,))
