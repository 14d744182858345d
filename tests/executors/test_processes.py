"""Tasks in processes of their own: the same answers, and nothing lost with one that is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest

import tiny_study
from headstart.config import StudyError
from headstart.executors import EXECUTORS
from headstart.executors.processes import Processes
from headstart.pipeline import run_study


@pytest.mark.parametrize("name", sorted(EXECUTORS))
def test_every_executor_gives_the_answers_in_the_order_of_the_tasks(name: str) -> None:
    if name == "ray":
        pytest.importorskip("ray")
    executor = EXECUTORS[name](2, tiny_study.Spoken())
    assert list(executor.map(jobs.square, [3, 1, 2])) == [9, 1, 4]


def test_what_a_process_tells_is_passed_on_and_what_it_prints_is_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    tell = tiny_study.Spoken()
    assert list(Processes(1, tell).map(jobs.square, [5])) == [25]
    assert tell.lines == ["squaring 5"]
    assert tell.bars == [("squares", 5, 9)]
    assert tell.curves == [("squares", 5, {"root": 5.0, "none": None})]
    assert capfd.readouterr().out == ""


def test_a_users_mistake_comes_back_as_it_was_raised() -> None:
    with pytest.raises(StudyError, match=r"^7: not allowed$"):
        list(Processes(1, tiny_study.Spoken()).map(jobs.refuse, [7]))


def test_an_error_that_cannot_travel_is_told_by_its_text() -> None:
    with pytest.raises(RuntimeError, match="Odd: strange"):
        list(Processes(1, tiny_study.Spoken()).map(jobs.raise_odd, [7]))


def test_a_killed_process_is_started_once_more(tmp_path: Path) -> None:
    tell = tiny_study.Spoken()
    once = jobs.Killed(tmp_path / "once", 1)
    assert list(Processes(1, tell).map(once, [4])) == [4]
    assert tell.lines == ["4: its process ended early (signal 9); starting it once more"]
    with pytest.raises(StudyError, match="ended 2 times without an answer"):
        list(Processes(1, tell).map(jobs.Killed(tmp_path / "ever", 99), [4]))


@pytest.mark.slow
def test_no_process_is_left_behind_by_an_error(tmp_path: Path) -> None:
    place = tmp_path / "process"
    with pytest.raises(StudyError, match="stop"):
        list(Processes(2, tiny_study.Spoken()).map(jobs.Sleeper(place), [0, 1]))
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


def test_a_study_in_processes_is_the_study_in_series(
    found_by: Callable[[str, Path], Any], in_series: Any, tmp_path: Path
) -> None:
    assert found_by("processes", tmp_path / "run") == in_series


def test_an_unknown_executor_is_one_line(bags: Path, tmp_path: Path) -> None:
    study = tiny_study.study(bags, engine={"executor": "proceses"})
    with pytest.raises(StudyError, match="did you mean 'processes'"):
        run_study(study, tmp_path / "run")
