"""What many tests share: one set of generated bags, and one tiny study run to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_study
import torch

from headstart.data.synthetic import BagsSpec, generate
from headstart.pipeline import run_study
from headstart.stages.report import Outcome


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Many small operations: threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of small bags, and a pool; to be read only."""
    spec = BagsSpec(
        pool=120, train_per_class=8, validation_per_class=3, test_per_class=6, size=48, seed=1
    )
    return generate(tmp_path_factory.mktemp("images") / "bags", spec)


@pytest.fixture(scope="session")
def finished(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Every method at two label fractions, from two folders to the page; to be read only."""
    asked = tiny_study.study(bags, label_fractions=[0.5, 1.0])
    return run_study(asked, tmp_path_factory.mktemp("finished") / "run")
