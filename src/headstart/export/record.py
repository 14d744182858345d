"""What ``export.json`` holds, as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headstart.export.check import Agreement
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

    ``decode`` and ``scale`` say in words how a file becomes pixels in [0, 1].

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
    decode: str
    scale: str

    @classmethod
    def of(cls, stored: Stored) -> Preprocessing:
        """That of the run."""
        size, by = stored.image_size, stored.normalisation
        decode, scale = "upright (EXIF), RGB, transparency over white", "0 … 255 to 0 … 1"
        if stored.bands:
            decode = f"all {stored.bands.channels} channels, in their order"
            low, high = stored.bands.value_range or ("the lowest", "the highest value of the type")
            scale = f"{low} … {high} to 0 … 1"
        sides = (stored.side, size, size)
        return cls(*sides, "bilinear", True, by.mean, by.std, decode, scale)


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
