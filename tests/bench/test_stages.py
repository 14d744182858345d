"""What bench times of the stages, against what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny_study
from headstart.bench import stages
from headstart.data.cache import PixelCache
from headstart.recipes import resolve_recipe
from headstart.stages.pretrain import Job


def test_classes_are_of_one_size_and_follow_the_brightness() -> None:
    rng = np.random.default_rng(0)
    bright = rng.permutation(40)
    pixels = np.broadcast_to(bright[:, None, None, None], (40, 3, 8, 8)).astype(np.uint8)
    nothing = ("",) * 40
    cache = PixelCache(pixels, np.ones(40, np.float32), nothing, nothing)
    found = stages.brightness_classes(cache, np.arange(40)[::-1])
    assert found.tolist() == (bright[::-1] * stages.CLASSES // 40).tolist()


def test_every_kind_of_work_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "REPEATS", 1)
    monkeypatch.setattr(stages, "STEP_SECONDS", 0.01)
    monkeypatch.setattr(stages, "SCORED", (30, 60))
    monkeypatch.setattr(stages, "CLASSES", 3)
    run = tiny_study.open_run(tiny_study.study(only=["simclr"]), tmp_path)
    data = tiny_study.made_data(run, pool=40, train=30, held_out=8)
    recipe = resolve_recipe(run.study, "simclr")
    job = Job(run, data, "simclr", 0, recipe, data.pool(train_joins=True))
    found = stages.stages_cost(job)
    batch = run.study.classify.finetune.batch_size
    train = len(data.index.where("train"))
    assert sorted(found["labelled_step_s"]) == [min(batch, train) // 4, min(batch, train)]
    assert sorted(found["head_s"]) == [train // 4, train]
    assert found["look_images"] == len(job.pool) + train
    assert sorted(found["score_s"]) == [30, 60]
    seconds = [found["look_s"], *found["labelled_step_s"].values(), *found["head_s"].values()]
    assert all(0 < one < 60 for one in seconds)
    assert found["judged_images_per_s"] > 0
