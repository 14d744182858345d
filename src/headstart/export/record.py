"""What ``export.json`` holds, as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headstart.export.check import Agreement
from headstart.reporting.model_card import Preprocessing, Source


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
