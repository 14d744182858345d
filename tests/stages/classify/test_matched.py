"""The compute-matched arm: supervised training that sees as many images as pretraining did."""

from __future__ import annotations

from pathlib import Path

import tiny_study
from headstart.arms import Arm
from headstart.data.splits import label_budget
from headstart.pipeline import run_study
from headstart.runtime.run import Cell
from headstart.stages.classify.job import FinetuneJob
from headstart.stages.index import index
from headstart.stages.pretrain import start


def test_a_matched_arm_sees_as_many_images_as_pretraining(bags: Path, tmp_path: Path) -> None:
    asked = tiny_study.study(bags, pretrain={"epochs": 9, "batch_size": 32})
    run = tiny_study.open_run(asked, tmp_path)
    data = index(run)
    begin = start(run, 0, "random")
    budget = label_budget(data.index, 1.0, 0)
    arms = {
        protocol: FinetuneJob(run, data, Cell(Arm("supervised", protocol), 0, 1.0), budget, begin)
        for protocol in ("supervised", "matched")
    }
    order = arms["matched"].order
    pretrained = len(data.pool(True)) * asked.pretrain.epochs
    batch = min(order.batch_size, order.count)
    assert abs(arms["matched"].steps(order) * batch - pretrained) <= batch
    assert arms["matched"].steps(order) > 3 * arms["supervised"].steps(order)


def test_the_matched_arm_stands_in_the_results(bags: Path, tmp_path: Path) -> None:
    asked = tiny_study.study(
        bags,
        only=["simclr"],
        classify={"protocols": ["finetune"], "compute_matched": True},
        explain={"images": 0},
    )
    results = run_study(asked, tmp_path / "run").results.to_json()
    arms = {f"{arm['method']}/{arm['protocol']}": arm for arm in results["arms"]}
    matched = arms["supervised/matched"]
    assert matched["status"] == "ok"
    assert matched["metrics"]["balanced_accuracy"] >= 0
    assert (
        matched["compute"]["train_images"]
        > arms["supervised/supervised"]["compute"]["train_images"]
    )
