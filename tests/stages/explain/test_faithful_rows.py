"""A map that points at what moves its network's answer beats a random order; any other does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_atlas import SIDE, atlas, cell, noise, open_data
from torch import Tensor, nn

from headstart.reporting.sentences import with_sentences
from headstart.stages.explain.faithfulness import faithfulness_rows
from headstart.types import Floats

COUNT = 12
A, NULL = "supervised/supervised", "random/linear"


class Corner(nn.Module):
    """Reads contrast in the upper left quarter, and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, :, : SIDE // 2, : SIDE // 2]
        score = 12 * part.std(dim=(1, 2, 3))
        return torch.stack([score, score, score], dim=1) * torch.tensor([1.0, 0.0, 0.0])


def rows_of(folder: Path, maps: Floats, **explain: object) -> list[dict[str, Any]]:
    run, data = open_data(folder, held_out=COUNT, classes=1, **explain)
    cells = [cell(A, 0), cell(NULL, 0), cell(NULL, 1)]
    given = {c: maps if str(c.arm) == A else noise(COUNT, c.seed) for c in cells}
    rows = faithfulness_rows(atlas(run, data, given, modules=dict.fromkeys(cells, Corner())))
    return [row.model_dump(mode="json") for row in with_sentences(rows)]


def test_the_part_that_counts_beats_random_and_the_rest_does_not(tmp_path: Path) -> None:
    corner = np.zeros((COUNT, SIDE, SIDE), np.float32)
    corner[:, : SIDE // 2, : SIDE // 2] = 1 + noise(COUNT, 1)[:, : SIDE // 2, : SIDE // 2]
    good, null = rows_of(tmp_path / "good", corner, faithfulness_images=COUNT)
    (bad, _) = rows_of(tmp_path / "bad", 3 - corner, faithfulness_images=COUNT)
    assert (good["arm"], null["arm"]) == (A, NULL)
    assert good["deletion"]["low"] > 0
    assert good["insertion"]["low"] > 0
    assert good["sentence"].endswith("better than a random order")
    assert bad["deletion"]["high"] < 0
    assert bad["insertion"]["high"] < 0
    assert bad["sentence"].endswith("no better than a random order")
    assert good["images"] == COUNT


def test_no_map_is_not_measured_and_none_may_be_asked(tmp_path: Path) -> None:
    nothing = np.zeros((COUNT, SIDE, SIDE), np.float32)
    row, _ = rows_of(tmp_path / "none", nothing, faithfulness_images=4)
    assert row["images"] == 0
    assert row["deletion"]["value"] is None
    assert "not measured" in row["sentence"]
    assert rows_of(tmp_path / "off", nothing, faithfulness_images=0) == []
