"""The values that flow between the verbs.

Row ``i`` of every array belongs to ``ids[i]``, so comparing two cells is a join and every test
can be paired. Each value is frozen and knows how to ``save(folder)`` and ``load(folder)``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from headstart.files import write_bytes

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]

SPLITS = ("pool", "train", "validation", "test")


class _Arrays:
    """Save and load a frozen dataclass of arrays as one ``.npz`` without pickles."""

    def save(self, folder: Path) -> None:
        """Write ``<folder>/<ClassName>.npz`` in lower case."""
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(folder / f"{type(self).__name__.lower()}.npz", content.getbuffer())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        with np.load(folder / f"{cls.__name__.lower()}.npz", allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class DatasetIndex(_Arrays):
    """Every usable image of a study, and the part it plays.

    Shapes: ``ids, paths, labels, splits, groups, rows`` are (N,); ``classes`` is (C,).
    ``labels`` are class numbers, −1 for unlabelled; ``splits`` are one of ``SPLITS``;
    ``groups`` number the images that must stay together (identical ones share a number);
    ``rows`` say where the image stands in the pixel cache; ``digest`` is a SHA-256 over all of it.
    """

    ids: Strings
    paths: Strings
    labels: Ints
    splits: Strings
    groups: Ints
    rows: Ints
    classes: Strings
    digest: npt.NDArray[np.str_]

    def where(self, *splits: str) -> Ints:
        """Positions of the images in any of the given splits, in index order."""
        return np.flatnonzero(np.isin(self.splits, splits)).astype(np.int64)


@dataclass(frozen=True)
class Features(_Arrays):
    """What a frozen encoder makes of each image: ``ids`` (N,), ``x`` (N, D), ``y`` (N,)."""

    ids: Strings
    x: Floats
    y: Ints

    def take(self, ids: Strings) -> Features:
        """The rows of the given ids, in the given order. Raises ``KeyError`` for an unknown id."""
        place = {identity: i for i, identity in enumerate(self.ids.tolist())}
        rows = np.array([place[identity] for identity in ids.tolist()], dtype=np.int64)
        return Features(self.ids[rows], self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Predictions(_Arrays):
    """A classifier's answers: ``ids`` (N,), ``logits`` (N, C) float32, ``y`` (N,) true classes."""

    ids: Strings
    logits: Floats
    y: Ints

    @property
    def predicted(self) -> Ints:
        """The class with the largest logit, (N,)."""
        predicted: Ints = self.logits.argmax(axis=1).astype(np.int64)
        return predicted


@dataclass(frozen=True)
class Attributions(_Arrays):
    """Signed attribution maps, never pictures of them.

    ``ids`` (M,), ``maps`` (M, H, W) float32, ``target`` (M,) the explained class.
    """

    ids: Strings
    maps: Floats
    target: Ints
