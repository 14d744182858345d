"""An atlas from numbers: maps, answers and networks that are known, in the real containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

import tiny_study
from headstart.arms import UNTRAINED, Arm
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.explain.maps import OWN, TRUE, Atlas, Network
from headstart.store import Entry
from headstart.types import Attributions, Floats, Ints

SIDE = 32
MADE = "once"  # part of the key of the made maps: another word, other maps


@dataclass(frozen=True)
class Known(Network):
    """A network that is no artifact but a module at hand."""

    module: nn.Module | None = None

    def load(self, run: Run, data: Dataset) -> nn.Module:
        assert self.module is not None
        return self.module


def cell(arm: str | Arm, seed: int) -> Cell:
    return Cell(Arm.parse(str(arm)), seed, 1.0)


def open_data(
    folder: Path, held_out: int, classes: int = 3, **explain: object
) -> tuple[Run, Dataset]:
    """A run and made data with ``held_out`` test images of each class."""
    asked = tiny_study.study(explain={"attributions": ["saliency"], "replicates": 200, **explain})
    run = tiny_study.open_run(asked, folder)
    return run, tiny_study.made_data(run, pool=4, held_out=held_out, classes=classes)


def atlas(
    run: Run,
    data: Dataset,
    maps: Mapping[Cell, Floats],
    wrong: Mapping[Cell, Ints] | None = None,
    modules: Mapping[Cell, nn.Module] | None = None,
) -> Atlas:
    """All test images, explained by networks with the given saliency maps (M, H, W).

    Every network answers correctly but for the images ``wrong`` names by position; its own maps
    of these are the negative of the others.
    """
    positions = data.index.where("test")
    labels = data.index.labels[positions]
    classes = len(data.index.classes)
    networks, answers, stored = [], {}, {}
    for one, values in maps.items():
        source = _entry(run, one.label)
        networks.append(Known(one, source, source, (modules or {}).get(one)))
        missed = (wrong or {}).get(one, np.array([], dtype=np.int64))
        said = labels.copy()
        said[missed] = (said[missed] + 1) % classes
        answers[one] = np.eye(classes, dtype=np.float32)[said]
        for target, chosen in ((TRUE, np.arange(len(labels))), (OWN, missed)):
            entry = _entry(run, f"{one.label}-{target}")
            sign = np.float32(1 if target == TRUE else -1)
            ids = data.index.ids[positions[chosen]]
            Attributions(ids, sign * values[chosen], said[chosen]).save(entry.folder)
            entry.finish({"converged": [True] * len(chosen)}, 0.0)
            stored[one, "saliency", target] = entry
    return Atlas(run, data, positions, tuple(networks), answers, stored)


def untrained(count: int, seed: int = 90) -> dict[Cell, Floats]:
    """Two networks that learned nothing, whose maps are noise."""
    return {cell(UNTRAINED, s): noise(count, seed + s) for s in (0, 1)}


def noise(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).random((count, SIDE, SIDE)).astype(np.float32)


def blobs(count: int, seed: int) -> Floats:
    """A soft blob of its own place for each image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    at = rng.uniform(6, SIDE - 6, (count, 2, 1, 1))
    return np.exp(-((y - at[:, 0]) ** 2 + (x - at[:, 1]) ** 2) / 40).astype(np.float32)


def _entry(run: Run, label: str) -> Entry:
    return run.store.entry("explain", "made", {"label": label, "made": MADE})
