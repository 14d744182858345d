"""One small study, by any executor: what it made, and what it found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_study
from headstart.pipeline import run_study

Found = tuple[set[str], dict[str, Any]]


@pytest.fixture(scope="session")
def found_by(bags: Path) -> Callable[[str, Path], Found]:
    """Runs the study in a folder: the names of its artifacts, and its findings."""

    def run(executor: str, folder: Path) -> Found:
        engine = {"device": "cpu", "precision": "32", "threads": 1, "workers": 2}
        study = tiny_study.study(
            bags,
            only=["simclr", "byol"],
            data={"limit": 40},
            encoder={"image_size": 16},
            classify={"protocols": ["linear", "finetune"]},
            explain={"images": 0},
            engine={**engine, "executor": executor},
        )
        with pytest.MonkeyPatch.context() as patch:  # drawing takes longer than the study
            patch.setattr("headstart.stages.report.write_report", lambda _, into: into)
            outcome = run_study(study, folder)
        results = json.loads(outcome.results_path.read_text(encoding="utf8"))
        made = {path.parent.name for path in folder.rglob("done.json")}
        return made, {k: results[k] for k in ("arms", "pretraining", "comparisons", "gates")}

    return run


@pytest.fixture(scope="session")
def in_series(
    found_by: Callable[[str, Path], Found], tmp_path_factory: pytest.TempPathFactory
) -> Found:
    return found_by("serial", tmp_path_factory.mktemp("series") / "run")
