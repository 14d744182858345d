"""What every stage gets: the study, its folder, the engine, and where progress is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from headstart.arms import Arm
from headstart.config import Study
from headstart.data.bands import Bands
from headstart.data.batches import Images
from headstart.data.cache import PixelCache
from headstart.data.channels import Normalisation, shown
from headstart.data.splits import LabelBudget, label_budget
from headstart.engine import Engine
from headstart.nn.encoder import MEAN, STD
from headstart.results import ExplainedImage, Explanations, Similarity, Status
from headstart.store import Entry, Store
from headstart.types import DatasetIndex, Floats, Ints

RGB_NORMALISATION = Normalisation(MEAN, STD)
"""Of colour photographs, whatever they show: ImageNet's."""


class Tell(Protocol):
    """Where a run reports its progress."""

    def line(self, text: str) -> None:
        """A line that stays."""

    def progress(self, what: str, done: int, total: int) -> None:
        """How many of ``total`` are done; ``done == total`` ends the bar."""

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        """Readings of a training for those who draw them: trackers, see ``trackers.base.Point``."""


class Silence:
    """Prints nothing: for use as a library."""

    def line(self, text: str) -> None:
        """Drop it."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Drop it."""

    def curve(self, series: str, step: int, values: Mapping[str, float | None]) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Run:
    """One study while its stages run."""

    study: Study
    folder: Path
    store: Store
    engine: Engine
    tell: Tell
    further_weights: Mapping[str, str] = field(default_factory=dict)
    """What each of the study's further weights holds, by name: the SHA-256 of the file."""

    @property
    def cache(self) -> Path:
        """The folder of decoded pixels and of copies of shards, which runs may share."""
        return self.study.data.cache or self.folder.parent / ".headstart-cache"


def pool_parts(train_joins: bool) -> tuple[str, ...]:
    """The parts whose images are pretrained on; never validation or test."""
    return ("pool", "train") if train_joins else ("pool",)


@dataclass(frozen=True)
class Dataset:
    """The indexed images and their decoded pixels."""

    entry: Entry
    index: DatasetIndex
    cache: PixelCache
    size: int
    engine: Engine
    bands: Bands | None = None
    """What the study says of channels that are no colours; None for colour photographs."""
    shards: Ints | None = None
    """The shard (N,) that each row of the cache lies in where some lie in shards elsewhere, −1 for
    the others."""

    @cached_property
    def normalisation(self) -> Normalisation:
        """What the encoders subtract from each channel and divide it by."""
        if self.bands is None:
            return RGB_NORMALISATION
        return Normalisation(**self.entry.info["normalisation"])

    def shown(self, photos: Floats) -> Floats:
        """Images (…, C, T, T) in [0, 1] as people see them, (…, 3, T, T): colours as they are,
        other channels as the grey picture of ``data.channels.shown``.
        """
        return shown(photos) if self.bands else photos

    def images(self, positions: Ints) -> Images:
        """The images at some positions of the index."""
        rows, engine = self.index.rows[positions], self.engine
        return Images(self.cache, rows, self.size, engine.device, engine.dtype)

    def pool(self, train_joins: bool) -> Ints:
        """Positions of the images to pretrain on; never validation or test."""
        return self.index.where(*pool_parts(train_joins))

    def shards_of(self, positions: Ints) -> Ints | None:
        """The shard of each image (n,), −1 of one in none; None where no shards lie elsewhere."""
        return None if self.shards is None else self.shards[self.index.rows[positions]]

    def budget(self, cell: Cell) -> LabelBudget:
        """The labelled images that a cell may learn and tune on."""
        return label_budget(self.index, cell.fraction, cell.seed, cell.draw)


@dataclass(frozen=True)
class Cell:
    """One classifier: an arm with one seed and one share of the labels."""

    arm: Arm
    seed: int
    fraction: float
    draw: int = 0
    """Which of the seed's draws of so many labels."""

    @property
    def method(self) -> str:
        """The method whose encoder it has."""
        return self.arm.method

    @property
    def protocol(self) -> str:
        """The protocol that made a classifier of it, by name."""
        return self.arm.protocol

    @property
    def label(self) -> str:
        """A name for folders and progress lines."""
        draw = f"-draw{self.draw}" if self.draw else ""
        return f"{self.method}-{self.protocol}-seed{self.seed}-{self.fraction:g}{draw}"


Classifiers = Mapping[Cell, tuple[Entry, Entry]]
"""Cell -> its encoder's and its classifier's entries."""


@dataclass(frozen=True)
class CellResult:
    """The result of one cell: its classifier and predictions, or why there are none."""

    cell: Cell
    status: Status
    reason: str | None = None
    classifier: Entry | None = None
    evaluated: Entry | None = None


@dataclass(frozen=True)
class Branch:
    """One encoder of one seed with all its cells; an executor runs it as one piece."""

    method: str
    seed: int
    encoder: Entry | None
    """None only of a run that is not finished."""
    features: Entry | None
    cells: tuple[CellResult, ...]


@dataclass(frozen=True)
class Grid:
    """All branches of a study, for explaining, comparing and reporting."""

    branches: tuple[Branch, ...]

    @cached_property
    def encoders(self) -> Mapping[tuple[str, int], Entry]:
        """By method and seed."""
        entries = ((branch.method, branch.seed, branch.encoder) for branch in self.branches)
        return {(method, seed): entry for method, seed, entry in entries if entry}

    @cached_property
    def features(self) -> Mapping[tuple[str, int], Entry]:
        """By method and seed, of the encoders that can be used."""
        entries = ((branch.method, branch.seed, branch.features) for branch in self.branches)
        return {(method, seed): entry for method, seed, entry in entries if entry}

    @cached_property
    def classifiers(self) -> Classifiers:
        """Of the cells that have one."""
        return {
            cell.cell: (branch.encoder, cell.classifier)
            for branch in self.branches
            for cell in branch.cells
            if branch.encoder and cell.classifier
        }

    @cached_property
    def evaluated(self) -> Mapping[Cell, Entry]:
        """Predictions and scores of the cells that could be judged."""
        entries = ((cell.cell, cell.evaluated) for branch in self.branches for cell in branch.cells)
        return {cell: entry for cell, entry in entries if entry}

    @cached_property
    def stopped(self) -> Mapping[Cell, tuple[Status, str]]:
        """Cells that could not be judged, with status and reason."""
        return {
            cell.cell: (cell.status, cell.reason or "")
            for branch in self.branches
            for cell in branch.cells
            if cell.status != "ok"
        }


@dataclass(frozen=True)
class Explained:
    """What ``results.json`` holds of explanations, its sentences not yet written."""

    similarity: tuple[Similarity, ...] = ()
    images: tuple[ExplainedImage, ...] = ()
    findings: Explanations | None = None
