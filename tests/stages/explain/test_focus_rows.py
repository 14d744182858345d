"""Maps against masks: more than area, a blob in the middle and an untrained network would give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made_atlas import SIDE, atlas, cell, noise, open_data, untrained

from headstart.reporting.sentences import with_sentences
from headstart.stages.explain.focus import focus_rows
from headstart.types import Floats, Ints

COUNT = 18
A, B = "supervised/supervised", "simclr/finetune"
MASK = np.zeros((SIDE, SIDE), dtype=bool)
MASK[4:16, 4:16] = True  # not in the middle
AREA = float(MASK.mean())


@dataclass(frozen=True)
class Same:
    """The same mask on every image."""

    mask: npt.NDArray[np.bool_]
    key: str = "same"

    def at(self, positions: Ints) -> npt.NDArray[np.bool_]:
        return np.repeat(self.mask[None], len(positions), axis=0)


def rows_of(
    folder: Path, maps: dict[Any, Floats], wrong: dict[Any, Ints] | None = None, mask: Any = MASK
) -> dict[tuple[str, str], dict[str, Any]]:
    run, data = open_data(folder, held_out=COUNT // 3)
    given = {cell(arm, 0): values for arm, values in maps.items()} | untrained(COUNT)
    rows = focus_rows(atlas(run, data, given, wrong), Same(mask))  # type: ignore[arg-type]
    said = [row.model_dump(mode="json") for row in with_sentences(rows)]
    return {(row["arm"], row["answers"]): row for row in said}


def test_on_the_object_off_it_and_anywhere(tmp_path: Path) -> None:
    on, off = noise(COUNT, 1) * MASK, noise(COUNT, 2) * ~MASK
    rows = rows_of(tmp_path, {A: on, B: off, "moco/finetune": noise(COUNT, 3)})
    assert rows[A, "all"]["rma"]["value"] == pytest.approx(1)
    assert rows[A, "all"]["lift"]["value"] == pytest.approx(1 / AREA)
    assert rows[A, "all"]["verdict"] == "more"
    assert "looks at the object more than an untrained network does" in rows[A, "all"]["sentence"]
    assert rows[B, "all"]["background"]["value"] == pytest.approx(1)
    assert rows[B, "all"]["verdict"] == "less"
    assert rows["moco/finetune", "all"]["verdict"] == "no more"
    assert rows["moco/finetune", "all"]["lift"]["value"] == pytest.approx(1, abs=0.1)


def test_the_nulls_stand_beside(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {A: noise(COUNT, 1)})
    for (_, answers), row in rows.items():
        if answers == "wrong":  # no network is, so nothing stands beside
            nothing = (row["images"], row["centre_lift"], row["untrained_lift"])
            assert nothing == (0, None, None)
            continue
        assert row["area"]["value"] == pytest.approx(AREA)
        assert row["centre_lift"] > 1  # a blob in the middle scores without any network
        assert row["untrained_lift"] == pytest.approx(1, abs=0.1)
    null = rows["random/linear", "all"]
    assert (null["verdict"], null["against_untrained"], null["sentence"]) == (None, None, None)


def test_images_answered_correctly_stand_apart(tmp_path: Path) -> None:
    wrong = np.arange(6)
    maps = noise(COUNT, 1) * MASK
    maps[wrong] = noise(6, 2) * ~MASK
    rows = rows_of(tmp_path, {A: maps}, {cell(A, 0): wrong})
    assert rows[A, "all"]["images"] == COUNT
    assert rows[A, "right"]["images"] == COUNT - 6
    assert rows[A, "right"]["rma"]["value"] == pytest.approx(1)
    assert rows[A, "wrong"]["images"] == 6
    assert rows[A, "wrong"]["rma"]["value"] == pytest.approx(0)
    assert rows[A, "all"]["rma"]["value"] == pytest.approx(12 / 18)


def test_no_map_and_no_mask_are_not_measured(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "map", {A: np.zeros((COUNT, SIDE, SIDE), np.float32)})
    assert rows[A, "all"]["verdict"] == "not measured"
    assert rows[A, "all"]["lift"] == {"value": None, "low": None, "high": None}
    assert rows[A, "all"]["images"] == 0
    rows = rows_of(tmp_path / "mask", {A: noise(COUNT, 1)}, mask=np.zeros_like(MASK))
    assert rows[A, "all"]["verdict"] == "not measured"
