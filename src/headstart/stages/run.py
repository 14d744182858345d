"""What every stage is handed: the study, where it is kept, where it runs, and who is watching."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headstart.config import Study
from headstart.data.batches import Images
from headstart.data.cache import PixelCache
from headstart.engine import Engine
from headstart.store import Entry, Store
from headstart.types import DatasetIndex, Ints


class Tell(Protocol):
    """How a run speaks to the person who waits for it."""

    def line(self, text: str) -> None:
        """A line that stays."""

    def progress(self, what: str, done: int, total: int) -> None:
        """How far something long has come; ``done == total`` ends it."""


class Silence:
    """Says nothing: for use as a library."""

    def line(self, text: str) -> None:
        """Drop it."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Run:
    """One study on its way through the verbs."""

    study: Study
    folder: Path
    store: Store
    engine: Engine
    tell: Tell


@dataclass(frozen=True)
class Dataset:
    """The indexed images and their decoded pixels."""

    entry: Entry
    index: DatasetIndex
    cache: PixelCache
    size: int
    engine: Engine

    def images(self, positions: Ints) -> Images:
        """The images at some positions of the index."""
        rows, engine = self.index.rows[positions], self.engine
        return Images(self.cache, rows, self.size, engine.device, engine.dtype)

    def pool(self, train_joins: bool) -> Ints:
        """Positions of the images to pretrain on; never validation or test."""
        return self.index.where(*(("pool", "train") if train_joins else ("pool",)))


@dataclass(frozen=True)
class Cell:
    """One classifier: a method's encoder under a protocol, with one seed and one label budget."""

    method: str
    protocol: str
    seed: int
    fraction: float

    @property
    def arm(self) -> str:
        """The name that all seeds and fractions of it share."""
        return f"{self.method}/{self.protocol}"

    @property
    def label(self) -> str:
        """A name for folders and progress lines."""
        return f"{self.method}-{self.protocol}-seed{self.seed}-{self.fraction:g}"


@dataclass(frozen=True)
class Grid:
    """What the cells came to, gathered for explaining, comparing and reporting."""

    pretrained: dict[tuple[str, int], Entry] = field(default_factory=dict)
    extracted: dict[tuple[str, int], Entry] = field(default_factory=dict)
    """Features by method and seed."""
    classifiers: dict[Cell, tuple[Entry, Entry]] = field(default_factory=dict)
    """Cell -> its encoder's and its classifier's entries."""
    evaluated: dict[Cell, Entry] = field(default_factory=dict)
    stopped: dict[Cell, tuple[str, str]] = field(default_factory=dict)
    """Cells that could not be judged, with status and reason."""
