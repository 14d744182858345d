"""What a tracker is told: a study's settings, its curves while it runs, and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from headstart.reporting.answer import first_screen
from headstart.reporting.tables import against_supervised
from headstart.results import Results

Ending = Literal["finished", "stopped", "failed"]
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Tracked:
    """The study that a tracker is told of."""

    id: str
    """The same whenever the run folder is taken up again under the same settings."""
    title: str
    """The name of the run folder."""
    folder: Path
    settings: Mapping[str, Setting]
    """Every setting by its dotted name; a list is JSON."""


@dataclass(frozen=True)
class Point:
    """Readings of one training at one step; all of them are finite."""

    series: str
    """``pretrain/<method>-seed<n>``, or ``classify/<cell>-<setting>`` of one trial."""
    step: int
    values: Mapping[str, float]

    @property
    def kind(self) -> str:
        """``pretrain`` or ``classify``."""
        return self.series.partition("/")[0]

    @property
    def training(self) -> str:
        """What is left of the series without its kind."""
        return self.series.partition("/")[2]


@dataclass(frozen=True)
class Score:
    """The scores of one classifier on the test images, by metric: shares, kappa from -1 to 1."""

    arm: str
    seed: int
    fraction: float
    draw: int
    labels: int
    metrics: Mapping[str, float]

    @property
    def name(self) -> str:
        """A name that no other classifier of the study has."""
        draw = f"-draw{self.draw}" if self.draw else ""
        return f"{self.arm}/labels{self.fraction:g}{draw}/seed{self.seed}"


@dataclass(frozen=True)
class Finding:
    """What the study says of one arm against supervised training; differences are shares."""

    arm: str
    baseline: str
    fraction: float
    difference: float | None
    low: float | None
    high: float | None
    verdict: str
    sentence: str

    @property
    def name(self) -> str:
        """A name that no other finding of the study has."""
        return f"{self.arm}/labels{self.fraction:g}"


@dataclass(frozen=True)
class Answer:
    """What a study came to, and the files that say it."""

    headline: str
    scores: tuple[Score, ...]
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]

    @classmethod
    def of(cls, results: Results, files: Sequence[Path]) -> Answer:
        """The answer that the results hold."""
        headline = str(first_screen(results)["headline"])
        return cls(headline, tuple(_scores(results)), tuple(_findings(results)), tuple(files))


class Tracker(Protocol):
    """Passes a study on to another program; all but ``__init__`` is called in one other thread.

    What it raises there ends the tracking with a warning, never the study.
    """

    @property
    def place(self) -> str:
        """Where it sends to, for a line to the user; "" where that goes without saying."""

    @property
    def known(self) -> bool:
        """Whether the place may hold curves of this study from an earlier start."""

    def __init__(self, tracked: Tracked) -> None:
        """Begin, or go on with what was begun under the same id; the settings are passed on.

        Raises:
            StudyError: a library is missing or the place cannot be reached, in one line.
        """

    def curves(self, points: Sequence[Point]) -> None:
        """Pass on new points, each once; the steps of a series rise."""

    def answer(self, answer: Answer) -> None:
        """Pass on the answer; where the study is run again, once more."""

    def close(self, ending: Ending) -> None:
        """End: nothing more is passed on."""


def _scores(results: Results) -> Iterator[Score]:
    for row in results.arms:
        if row.metrics is not None:
            found = row.metrics.model_dump()
            known = {name: value for name, value in found.items() if value is not None}
            arm, fraction = str(row.arm), row.label_fraction
            yield Score(arm, row.seed, fraction, row.label_draw, row.labels, known)


def _findings(results: Results) -> Iterator[Finding]:
    for row in against_supervised(results):
        yield Finding(
            arm=str(row.arm_a),
            baseline=str(row.arm_b),
            fraction=row.fraction,
            difference=row.difference,
            low=row.low,
            high=row.high,
            verdict=row.verdict,
            sentence=row.sentence,
        )
