"""Every method learns something of the generated bags that random weights do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_study
from headstart.config import build_study, demo
from headstart.data.synthetic import BagsSpec, generate
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start

MARGIN = 0.02
"""Of leave-one-out k-NN balanced accuracy. Fixed before this seed was tried, after seed 0 of the
demo had shown gains of 0.04 to 0.08."""
SEED = 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moco", "simclr", "simsiam", "byol"])
def test_knn_beats_random_weights_on_the_bags_of_the_demo(method: str, tmp_path: Path) -> None:
    spec = BagsSpec(
        pool=800,
        train_per_class=30,
        validation_per_class=2,
        test_per_class=2,
        size=64,
        shortcut=0.7,
        seed=SEED,
    )
    bags = generate(tmp_path / "bags", spec)
    data = {"unlabeled": str(bags / "unlabeled"), "labeled": str(bags / "labeled")}
    study = build_study(
        [("demo", demo()), ("here", {"data": data, "engine": {"device": "cpu", "threads": 1}})]
    )
    run = tiny_study.open_run(study, tmp_path / "run")
    images = index(run)
    begin = start(run, SEED, "random")
    info = pretrain(run, images, method, SEED, begin).info
    assert info["status"] == "ok", info["reason"]
    assert info["history"][-1]["knn"] > info["knn_random"] + MARGIN
