"""What many tests share: one set of generated bags, and one tiny study run to its end.

Heavy imports wait in the fixtures, so that a test of plain numbers starts at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from headstart.config import Study
    from headstart.stages.report import Outcome

# Files that take longest begin first, so that none of them is alone at the end.
LONGEST = (
    "test_docs_blocks.py",
    "test_export.py",
    "test_kills.py",
    "test_pipeline.py",
    "test_pretrain.py",
    "test_notebooks.py",
    "test_terminal.py",
    "test_faults.py",
    "test_processes.py",
    "test_ray.py",
    "test_ranks.py",
    "test_launcher.py",
    "test_extensions.py",
    "test_mlflow.py",
    "test_page_in_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


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
    """What the ranks of groups of 1, 2 and 4 processes end with: see ``joint_job.py``.

    Made once for all processes of the test run.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "joint"
    with FileLock(f"{folder}.lock"):
        if (folder / "done").exists():
            return folder
        folder.mkdir(exist_ok=True)  # where an attempt has failed
        _run_joint_jobs(folder)
        (folder / "done").touch()
    return folder


def _run_joint_jobs(folder: Path) -> None:
    from joint_table import TASKS, run_jobs

    norms = [f"normalise:{n}" for n in (1, 2, 4)]
    resumed = ["whole:1", "stop:4", "resume:1", "resume:2"]
    run_jobs(folder, [*TASKS, *norms, *resumed, "recompute:2", "study:1", "study:2"])


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
