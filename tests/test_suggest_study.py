"""The study of suggestions: its script plays labelling, its page shows what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from examples import study_script
from headstart.stages.suggest.trial import Budget

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
PAGE = (STUDIES / "suggest.md").read_text(encoding="utf8")
ROWS: list[Mapping[str, Any]] = json.loads((STUDIES / "suggest.json").read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return study_script("suggest")


def test_the_page_shows_every_row_as_it_was_measured(study: ModuleType) -> None:
    for line in study.table(ROWS):
        assert line.strip() in PAGE


def test_the_page_counts_what_the_rows_say() -> None:
    said = {row["verdict"] for row in ROWS}
    assert said <= {"better", "worse", "not shown"}
    for row in ROWS:
        shown = row["low"] > 0, row["high"] < 0
        assert row["verdict"] == {(True, False): "better", (False, True): "worse"}.get(
            shown, "not shown"
        )
        assert row["draws"] >= 30
        assert row["encoders"] == 3


def test_labelling_is_played(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rare classes that are groups of their own: the choice finds them, chance does not."""
    monkeypatch.setattr(study, "BUDGETS", (Budget(0, 10),))
    monkeypatch.setattr(study, "DRAWS", 3)
    rng = np.random.default_rng(0)
    y = np.concatenate([np.repeat(np.arange(6), [90, 90, 8, 8, 8, 8]), np.tile(np.arange(6), 20)])
    split = np.array(["train"] * 212 + ["validation"] * 60 + ["test"] * 60)
    for seed in range(2):
        x = np.eye(6, 12, dtype=np.float32)[y]
        x += 0.05 * rng.standard_normal(x.shape).astype(np.float32)
        np.savez(tmp_path / f"given-seed{seed}.npz", x=x, y=y, split=split)
    (row,) = study.judge(tmp_path)
    assert row["encoders"] == 2
    assert row["draws"] == 6
    assert row["test"] == 60
    assert row["knn"] > 0.9
    assert row["suggested"] > row["random"]
    assert row["difference"] == pytest.approx(row["suggested"] - row["random"], abs=2e-4)
    assert "| given |" in "\n".join(study.table([row]))
