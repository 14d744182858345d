"""What a run leaves behind: valid, joined by id, and honest about what was lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor

import tiny_study
from headstart.arms import Arm
from headstart.config import Study
from headstart.methods import METHODS
from headstart.methods.simclr import SimCLR
from headstart.methods.simsiam import SimSiam
from headstart.pipeline import run_study
from headstart.reporting import schema
from headstart.results import Results
from headstart.runtime.run import Cell
from headstart.stages.report import Outcome
from tiny_study import HEADS, Reopened

torch.set_num_threads(1)


def errors(results: Results) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(results.to_json())]


def predictions(outcome: Outcome) -> list[dict[str, str]]:
    with (outcome.results_path.parent / "predictions.csv").open(encoding="utf8", newline="") as f:
        return list(csv.DictReader(f))


def by_cell(rows: list[dict[str, str]]) -> dict[tuple[str, ...], list[dict[str, str]]]:
    cells: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        key = (row["method"], row["protocol"], row["seed"], row["label_fraction"])
        cells.setdefault(key, []).append(row)
    return cells


# --- a whole study -------------------------------------------------------------------------------


def test_results_keep_the_contract(finished: Outcome) -> None:
    assert errors(finished.results) == []
    stored = json.loads(finished.results_path.read_text(encoding="utf8"))
    assert stored == json.loads(json.dumps(finished.results.to_json(), allow_nan=False))
    assert finished.report_path.stat().st_size > 10_000


def test_every_arm_is_there_at_every_fraction(finished: Outcome) -> None:
    arms = finished.results.to_json()["arms"]
    expected = {("majority", "majority"), ("supervised", "supervised")}
    expected |= {("random", "linear"), ("random", "knn")}
    expected |= {(m, p) for m in HEADS for p in ("linear", "knn", "finetune")}
    for fraction, labels in ((0.5, 36 + 9), (1.0, 72 + 18)):
        mine = [arm for arm in arms if arm["label_fraction"] == fraction]
        assert {(arm["method"], arm["protocol"]) for arm in mine} == expected
        assert len(mine) == len(expected)
        assert {arm["labels"] for arm in mine} == {labels}  # validation counts too
        assert {arm["status"] for arm in mine} == {"ok"}


def test_the_data_are_counted(finished: Outcome) -> None:
    data = finished.results.to_json()["data"]
    assert data["counts"] == {
        "pool": 120 + 72,
        "pool_from_train": 72,
        "train": 72,
        "validation": 27,
        "test": 54,
    }
    assert data["split"] == "given"
    assert len(data["classes"]) == 9
    assert (finished.results_path.parent / data["quarantine"]).is_file()


def test_pretraining_is_told_in_full(finished: Outcome) -> None:
    told = {row["method"]: row for row in finished.results.to_json()["pretraining"]}
    assert set(told) == set(HEADS)
    assert len({row["start"] for row in told.values()}) == 1
    for row in told.values():
        assert row["steps"] == 12
        assert row["images_seen"] == 12 * 32
        assert row["history"][-1]["step"] == 12
        rates = [moment["lr"] for moment in row["history"]]
        assert rates == sorted(rates, reverse=True)
        assert all(0 <= moment["knn"] <= 1 for moment in row["history"])
        assert 0 <= row["knn_random"] <= 1
    assert any("queue of 4096 cut to 96" in line for line in told["moco"]["warnings"])


def test_predictions_join_by_id(finished: Outcome, finished_study: Study) -> None:
    rows = predictions(finished)
    again = Reopened.of(finished_study, finished.results_path.parent)
    classes = [row["name"] for row in finished.results.to_json()["data"]["classes"]]
    index = again.data.index
    truth = {str(index.ids[i]): classes[index.labels[i]] for i in index.where("test")}
    cells = by_cell(rows)
    assert len(cells) == len(finished.results.to_json()["arms"])
    for (method, protocol, seed, fraction), mine in cells.items():
        assert {row["id"]: row["label"] for row in mine} == truth
        assert len(mine) == len(truth)
        stored = again.predictions(Cell(Arm(method, protocol), int(seed), float(fraction)))
        said = dict(zip(stored.ids.tolist(), stored.predicted.tolist(), strict=True))
        for row in mine:
            shares = np.array([float(row[f"p:{name}"]) for name in classes])
            assert shares.sum() == pytest.approx(1, abs=1e-4)
            assert row["prediction"] == classes[said[row["id"]]]
            assert shares[classes.index(row["prediction"])] == pytest.approx(shares.max())


def test_metrics_follow_from_the_table_of_predictions(finished: Outcome) -> None:
    cells = by_cell(predictions(finished))
    for arm in finished.results.to_json()["arms"]:
        key = (arm["method"], arm["protocol"], str(arm["seed"]), str(arm["label_fraction"]))
        right = [row["label"] == row["prediction"] for row in cells[key]]
        assert arm["metrics"]["accuracy"] == pytest.approx(np.mean(right))


def test_comparisons_follow_from_the_table_of_predictions(finished: Outcome) -> None:
    """Every method against supervised learning: the difference of two mean recalls."""
    cells = by_cell(predictions(finished))

    def recall(arm: str, fraction: float) -> float:
        rows = cells[(*arm.split("/"), "0", str(fraction))]
        names = {row["label"] for row in rows}
        hits = [
            np.mean([r["prediction"] == name for r in rows if r["label"] == name]) for name in names
        ]
        return float(np.mean(hits))

    rows = finished.results.to_json()["comparisons"]
    arms = {f"{m}/{p}" for m in HEADS for p in ("linear", "knn", "finetune")}
    assert {(row["arm_a"], row["fraction"]) for row in rows} == {
        (arm, fraction) for arm in arms for fraction in (0.5, 1.0)
    }
    for row in rows:
        assert row["arm_b"] == "supervised/supervised"
        expected = recall(row["arm_a"], row["fraction"]) - recall(row["arm_b"], row["fraction"])
        assert row["difference"] == pytest.approx(expected, abs=1e-9)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p"] <= row["p_holm"] <= 1
        assert (row["seeds"], row["n"]) == (1, 54)
        assert row["sentence"].endswith(".")


def test_provenance_names_what_was_run(finished: Outcome) -> None:
    provenance = finished.results.to_json()["provenance"]
    assert provenance["device"] == "cpu"
    assert provenance["versions"]["torch"] == torch.__version__.split("+")[0]
    assert all(seconds >= 0 for seconds in provenance["seconds"].values())
    assert any(name.startswith("pretrain/byol-seed0") for name in provenance["seconds"])


def test_nothing_half_written_is_left(finished: Outcome) -> None:
    folder = finished.results_path.parent
    left = [p for p in folder.rglob("*") if p.name.endswith(".part") or "checkpoint" in p.name]
    assert left == []


# --- methods that are lost -----------------------------------------------------------------------


class Flat(SimSiam):
    """Says the same of every image as soon as it is asked, while its loss looks well."""

    def embed(self, x: Tensor) -> Tensor:
        z = super().embed(x)
        return z if self.training else torch.ones_like(z)


class Overflows(SimCLR):
    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        return super().loss(x1, x2) * float("inf")


def test_lost_methods_say_so_and_the_others_go_on(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simsiam", Flat)
    monkeypatch.setitem(METHODS.entries, "simclr", Overflows)
    asked = tiny_study.study(
        bags,
        only=["simsiam", "simclr", "byol"],
        seeds=[0, 1],
        encoder={"image_size": 16},
        pretrain={"epochs": 6, "batch_size": 64},
        classify={"protocols": ["linear", "finetune"]},
        explain={"images": 0},
    )
    outcome = run_study(asked, tmp_path / "run")
    assert errors(outcome.results) == []
    results = outcome.results.to_json()
    status = {(row["method"], row["seed"]): row["status"] for row in results["pretraining"]}
    assert status == {
        ("simsiam", 0): "collapsed",
        ("simsiam", 1): "collapsed",
        ("simclr", 0): "failed",
        ("simclr", 1): "failed",
        ("byol", 0): "ok",
        ("byol", 1): "ok",
    }
    for arm in results["arms"]:
        lost = arm["method"] in ("simsiam", "simclr")
        assert (arm["metrics"] is None) == (arm["confusion_matrix"] is None) == lost
        assert (arm["reason"] is not None) == lost
        assert arm["labels"] == 90
        if lost:
            assert arm["status"] == status[arm["method"], arm["seed"]]
    rows = {row["arm_a"]: row for row in results["comparisons"]}
    assert len(rows) == len(results["comparisons"]) == 6  # one row an arm, whatever its seeds
    for arm, row in rows.items():
        if arm.startswith("byol/"):
            assert row["seeds"] == 2
            assert row["difference"] is not None
        else:
            assert row["verdict"] == "no verdict"
            assert row["sentence"].startswith("No verdict. ")
            assert "\n" not in row["sentence"]
            assert row["difference"] is row["p_holm"] is None
    assert "collapsed" in rows["simsiam/linear"]["sentence"]
    assert "failed" in rows["simclr/finetune"]["sentence"]
    kept = {row["method"] for row in predictions(outcome)}
    assert kept == {"majority", "random", "supervised", "byol"}
    page = outcome.report_path.read_text(encoding="utf8")
    assert "collapsed" in page


def test_only_finetuning_leaves_no_hole(bags: Path, tmp_path: Path) -> None:
    """Random weights have no arm then, and a study without self-supervision is still a study."""
    asked = tiny_study.study(
        bags,
        only=["simclr"],
        encoder={"image_size": 16},
        pretrain={"epochs": 1},
        classify={"protocols": ["finetune"]},
        explain={"images": 0},
    )
    found = run_study(asked, tmp_path / "run").results
    assert errors(found) == []
    results = found.to_json()
    assert {(arm["method"], arm["protocol"]) for arm in results["arms"]} == {
        ("majority", "majority"),
        ("supervised", "supervised"),
        ("simclr", "finetune"),
    }
