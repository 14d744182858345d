"""What many tests share: one set of generated bags, and one tiny study run to its end.

Heavy imports wait in the fixtures, so that a test of plain numbers starts at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from headstart.config import Study
    from headstart.stages.report import Outcome


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of small bags, and a pool; to be read only."""
    from headstart.data.synthetic import BagsSpec, generate

    spec = BagsSpec(
        pool=120, train_per_class=8, validation_per_class=3, test_per_class=6, size=48, seed=1
    )
    return generate(tmp_path_factory.mktemp("images") / "bags", spec)


@pytest.fixture(scope="session")
def joint_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ranks of groups of 1, 2 and 4 processes end with: see ``joint_job.py``."""
    folder = tmp_path_factory.mktemp("joint")
    several = [f"{task}:{n}" for task in ("train", "train exactly", "normalise") for n in (1, 2, 4)]
    resumed = ["whole:1", "stop:4", "resume:1", "resume:2", "study:1", "study:2"]
    job = str(Path(__file__).parent / "joint_job.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, job, str(folder), *several, *resumed],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="session")
def finished_study(bags: Path) -> Study:
    """What ``finished`` was asked: every method at two label fractions, with masks."""
    import tiny_study

    return tiny_study.study(bags, label_fractions=[0.5, 1.0], explain={"masks": str(bags)})


@pytest.fixture(scope="session")
def finished(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A whole tiny study, from two folders to the page; to be read only."""
    from headstart.pipeline import run_study

    return run_study(finished_study, tmp_path_factory.mktemp("finished") / "run")
