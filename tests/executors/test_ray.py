"""Tasks on a Ray cluster: the same answers, and nothing lost with a worker that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest

import tiny_study
from headstart.config import StudyError
from headstart.executors.ray import Ray

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of two cores that somebody else started, named by ``RAY_ADDRESS``."""
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    options = ["--node-ip-address", "127.0.0.1", "--num-cpus", "2", "--include-dashboard", "false"]
    start = [*ray, "start", "--head", "--port", "0", "--disable-usage-stats", *options]
    with pytest.MonkeyPatch.context() as patch:
        begun = subprocess.run(start, env={**os.environ, **quiet}, capture_output=True, text=True)
        assert begun.returncode == 0, begun.stderr
        patch.setenv("RAY_ADDRESS", "auto")
        yield "auto"
        subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True)


def test_what_a_task_tells_is_passed_on(cluster: str) -> None:
    tell = tiny_study.Spoken()
    assert list(Ray(1, tell).map(jobs.square, [5])) == [25]
    assert tell.lines == ["squaring 5"]
    assert tell.bars == [("squares", 5, 9)]
    assert tell.curves == [("squares", 5, {"root": 5.0, "none": None})]


@pytest.mark.slow
def test_errors_come_back_as_they_were_raised(cluster: str) -> None:
    with pytest.raises(StudyError, match=r"^7: not allowed$"):
        list(Ray(1, tiny_study.Spoken()).map(jobs.refuse, [7]))
    with pytest.raises(RuntimeError, match="Odd: strange"):
        list(Ray(1, tiny_study.Spoken()).map(jobs.raise_odd, [7]))


def test_the_task_of_a_killed_worker_is_tried_once_more(cluster: str, tmp_path: Path) -> None:
    once = jobs.Killed(tmp_path / "once", 1)
    assert list(Ray(1, tiny_study.Spoken()).map(once, [4])) == [4]
    assert (tmp_path / "once").read_text() == "xx"
    with pytest.raises(StudyError, match="ended 2 times without an answer"):
        list(Ray(1, tiny_study.Spoken()).map(jobs.Killed(tmp_path / "ever", 99), [4]))


def test_a_study_on_ray_is_the_study_in_series(
    cluster: str, found_by: Callable[[str, Path], Any], in_series: Any, tmp_path: Path
) -> None:
    assert found_by("ray", tmp_path / "run") == in_series


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(StudyError, match=r"^Ray cluster 127\.0\.0\.1:9: "):
        list(Ray(1, tiny_study.Spoken()).map(jobs.square, [5]))


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'headstart\[ray\]'"):
        list(Ray(1, tiny_study.Spoken()).map(jobs.square, [5]))
