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
        data={"limit": 24},
        encoder={"backbone": "resnet18", "image_size": 32},
        pretrain={"epochs": 1},
        classify={"protocols": ["finetune", "linear"], "finetune": {"epochs": 1, "min_steps": 2}},
        explain={"images": 0},
    )
    with pytest.MonkeyPatch.context() as patch:  # what is exported needs no page
        patch.setattr("headstart.stages.report.write_report", lambda _, folder: folder)
        resnet = run_study(study, tmp_path_factory.mktemp("resnet18") / "run")
    outcomes = {"test_resnet": finished, "resnet18": resnet}
    return {name: outcome.results_path.parent for name, outcome in outcomes.items()}
