"""What ``export.json`` holds, as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headstart.export.check import Agreement
from headstart.nn.encoder import MEAN, STD
from headstart.runtime.stored import Stored


@dataclass(frozen=True)
class Source:
    """Where the weights come from.

    ``protocol`` and ``label_fraction`` are those of a classifier. ``artifacts`` names what they
    were stored as in the run, each with a hash of its content; ``further_weights`` is the SHA-256
    of given weights that the method began with.
    """

    network: str
    method: str
    protocol: str | None
    seed: int
    label_fraction: float | None
    backbone: str
    stem: str
    artifacts: Mapping[str, str]
    further_weights: str | None


@dataclass(frozen=True)
class Preprocessing:
    """The run's evaluation transform: pixels in [0, 1], then ``(pixel - mean) / std``.

    ``resize`` is the short side in pixels, ``crop`` the side of the square in the middle;
    ``stored`` is the side of the square that the run squashes a whole picture to before that.
    """

    stored: int
    resize: int
    crop: int
    interpolation: str
    antialias: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, stored: Stored) -> Preprocessing:
        """That of the run."""
        size = stored.image_size
        return cls(stored.side, size, size, "bilinear", True, MEAN, STD)


@dataclass(frozen=True)
class Record:
    """One export: what it is, how its images are prepared, and how it was checked."""

    format: str
    source: Source
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    """Of the run, in the order of a classifier's logits."""
    agreement: Agreement
    versions: Mapping[str, str]
    files: Mapping[str, str]
    """SHA-256 of every file but ``export.json``, by name."""
