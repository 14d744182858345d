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
"""Of leave-one-out k-NN balanced accuracy. Fixed before these seeds were tried, after seed 0 of the
demo had shown gains of 0.04 to 0.08."""

# Epochs and seed. BYOL gained 0.0185 in 16 epochs with seed 1 and missed the margin; its slow
# target wants a longer run, which was then tried on a new seed.
SETTINGS = {"moco": (16, 1), "simclr": (16, 1), "simsiam": (16, 1), "byol": (40, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("method", list(SETTINGS))
def test_knn_beats_random_weights_on_the_bags_of_the_demo(method: str, tmp_path: Path) -> None:
    epochs, seed = SETTINGS[method]
    spec = BagsSpec(
        pool=800,
        train_per_class=30,
        validation_per_class=2,
        test_per_class=2,
        size=64,
        shortcut=0.7,
        seed=seed,
    )
    bags = generate(tmp_path / "bags", spec)
    data = {"unlabeled": str(bags / "unlabeled"), "labeled": str(bags / "labeled")}
    here = {"data": data, "engine": {"device": "cpu", "threads": 1}, "pretrain": {"epochs": epochs}}
    study = build_study([("demo", demo()), ("here", here)])
    run = tiny_study.open_run(study, tmp_path / "run")
    images = index(run)
    begin = start(run, seed, "random")
    info = pretrain(run, images, method, seed, begin).info
    assert info["status"] == "ok", info["reason"]
    assert info["history"][-1]["knn"] > info["knn_random"] + MARGIN
