"""The watch over pretraining, replayed on what was measured in real runs, healthy and sick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from examples import study_script
from headstart.data.synthetic import BagsSpec, generate

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
RUNS: list[Mapping[str, Any]] = json.loads((STUDIES / "alarms.json").read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def alarms() -> ModuleType:
    return study_script("alarms")


def learned(run: Mapping[str, Any]) -> bool:
    """Whether k-NN ended at least a tenth of the way from random weights to 1."""
    last, before = run["checks"][-1][-1], run["knn_random"]
    return bool(last > before + 0.1 * (1 - before))


def test_runs_whose_knn_rises_are_left_alone(alarms: ModuleType) -> None:
    healthy = [run for run in RUNS if learned(run)]
    assert len(healthy) >= 7
    assert [alarms.warned(run) for run in healthy] == ["healthy"] * len(healthy)
    assert sum(map(alarms.warned_before, healthy)) >= 4  # what the rules were changed for


def test_long_runs_that_taught_knn_nothing_are_warned_of(alarms: ModuleType) -> None:
    long = [run for run in RUNS if run["steps"] > 1500]
    sick = [run for run in long if not learned(run) and not run["spoilt"]]
    assert len(sick) >= 3
    assert all(alarms.warned(run) != "healthy" for run in sick)


def test_short_runs_are_warned_of_less_often_and_only_where_knn_has_hardly_risen(
    alarms: ModuleType,
) -> None:
    """The plan of four methods, three data sets and three seeds: 1,200 steps each."""
    short = [run for run in RUNS if run["steps"] < 1500 and not run["spoilt"]]
    assert len(short) == 36
    warned = [run for run in short if alarms.warned(run) != "healthy"]
    assert sum(map(alarms.warned_before, short)) == 36
    assert len(warned) == 26
    assert not any(map(learned, warned))


def test_what_was_spoilt_is_seen_but_for_views_that_are_the_same(alarms: ModuleType) -> None:
    said = [(run["spoilt"], alarms.warned(run)) for run in RUNS if run["spoilt"]]
    assert len(said) == 7
    for spoilt, verdict in said:  # the views that are the same are a known gap: alarms.md says so
        assert (verdict == "healthy") == (spoilt == "the same picture twice")


def test_the_page_holds_the_table_of_the_script(alarms: ModuleType) -> None:
    assert alarms.table(RUNS) in (STUDIES / "alarms.md").read_text(encoding="utf8")


def test_a_run_of_the_script_is_one_that_can_be_judged(
    alarms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command on few images: two epochs, far too short for a warning."""
    bags = generate(tmp_path / "bags", BagsSpec(pool=64, test_per_class=2, size=32))
    pretrain = {"epochs": 2, "batch_size": 32, "on_collapse": "warn"}
    monkeypatch.setitem(alarms.SETTINGS, "pretrain", pretrain)
    monkeypatch.setattr(alarms, "METHODS", ("simclr",))
    monkeypatch.setattr(alarms, "SPOILT", {})
    place = f"{bags / 'unlabeled'}:{bags / 'labeled'}"
    (run,) = alarms.train(tmp_path / "runs", {"bags": place}, [0])
    again = json.loads(json.dumps(run))
    assert len(list(alarms.checks(again))) == 2
    assert alarms.warned(again) == "healthy"
    assert "| bags | simclr |" in alarms.table([again])
    head, _, scores = alarms.heads(tmp_path / "runs", {"bags": place}, [0]).splitlines()
    assert head == "| data | random weights | simclr |"
    assert all(0 <= float(score) <= 100 for score in scores.split("|")[2:4])


@pytest.mark.slow
def test_healthy_runs_are_left_alone(alarms: ModuleType, tmp_path: Path) -> None:
    """SimCLR on generated bags for 1,200 steps, two seeds: no warning at the end."""
    bags = generate(
        tmp_path / "bags", BagsSpec(pool=2000, train_per_class=40, size=48, balanced=True, seed=401)
    )
    place = f"{bags / 'unlabeled'}:{bags / 'labeled'}"
    recipe = {"temperature": 0.2, "optim": {"lr": 1.0}}
    for seed in (0, 1):
        info = alarms._pretrained(tmp_path / "runs", place, "simclr", seed, recipe)
        assert not [line for line in info["warnings"] if "dimensional" in line]
