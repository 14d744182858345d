"""Two finished runs to be exported: of a backbone that timm alone has, and of a ResNet-18."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_study
from headstart.pipeline import run_study
from headstart.stages.report import Outcome


@pytest.fixture(scope="session")
def runs(
    finished: Outcome, bags: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """By backbone; to be read only."""
    study = tiny_study.study(
        bags,
        only=["simclr"],
        encoder={"backbone": "resnet18", "image_size": 32},
        classify={"protocols": ["finetune", "linear"]},
        explain={"images": 0},
    )
    resnet = run_study(study, tmp_path_factory.mktemp("resnet18") / "run")
    outcomes = {"test_resnet": finished, "resnet18": resnet}
    return {name: outcome.results_path.parent for name, outcome in outcomes.items()}
