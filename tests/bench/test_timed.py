from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_study
from headstart.bench.timed import Floor, Product, Turns, core_seconds
from headstart.engine import Engine, Reading
from headstart.nn.encoder import build_encoder
from headstart.recipes import resolve_recipe
from headstart.stages.pretrain.job import Job


class Sleeper:
    """A rival that takes a known time for a step."""

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls

    def run(self, steps: int) -> None:
        self.calls.append(self.name)
        time.sleep(steps * self.seconds)


@pytest.fixture
def job(bags: Path, tmp_path: Path) -> Job:
    asked = tiny_study.study(bags, only=["simclr"])
    run = tiny_study.open_run(asked, tmp_path)
    data = tiny_study.index(run)
    return Job(
        run, data, "simclr", 0, resolve_recipe(asked, "simclr"), data.pool(train_joins=False)
    )


def test_each_round_times_everyone_once_and_begins_with_another() -> None:
    calls: list[str] = []
    others = [Sleeper("slow", 0.02, calls), Sleeper("fast", 0.001, calls)]
    turns = Turns(Engine(tiny_study.study().engine), others, steps=3, rounds=4)
    for expected in (None, None, None, "timed long enough"):
        time.sleep(0.01)
        assert turns(Reading(3, 1.0, 0.1, 1.0)) == expected
    assert calls == ["fast", "slow", "slow", "fast", "fast", "slow", "slow", "fast"]
    assert {name: len(times) for name, times in turns.seconds.items()} == {
        "train": 4,
        "slow": 4,
        "fast": 4,
    }
    assert np.median(turns.seconds["slow"]) >= 0.06
    # What the others took is not counted as training.
    assert np.median(turns.seconds["train"]) < np.median(turns.seconds["slow"])
    assert turns.peak_rss > 20e6


def test_the_floor_does_the_arithmetic_of_a_training_step(job: Job) -> None:
    """One step of each from the same weights on the same views ends in the same weights."""

    engine = job.run.engine
    trained, training = job.training(build_encoder("test_resnet", image_size=32))
    engine.fit(replace(training, lr_factor=lambda step: 1.0), Turns(engine, [], steps=1, rounds=1))
    bare, same = job.training(build_encoder("test_resnet", image_size=32))
    before = [p.detach().clone() for p in bare.parameters()]
    Floor(engine, same).run(1)
    pairs = list(zip(bare.parameters(), trained.parameters(), before, strict=True))
    for a, b, start in pairs:
        torch.testing.assert_close(a, b)
        assert a.shape == start.shape
    assert any(not torch.equal(a, start) for a, _, start in pairs)


def test_flops_of_a_step_are_those_of_its_products(job: Job) -> None:
    """Twice the images in a step are twice the work; counting trains nothing."""
    network, training = job.training(build_encoder("test_resnet", image_size=32))
    floor = Floor(job.run.engine, training)
    whole = floor.flops()
    floor.views = tuple(view[:16] for view in floor.views)
    # NT-Xent's product of all pairs grows with the square, and is small.
    assert whole / floor.flops() == pytest.approx(2, rel=0.02)
    assert all(p.grad is None for p in network.parameters())


def test_a_product_has_the_flops_it_says() -> None:
    product = Product(Engine(tiny_study.study().engine))
    product.run(1)
    n, k = product.a.shape
    assert product.flops == 2 * n * k * n


def test_core_seconds_are_those_of_this_process_and_the_others() -> None:
    """One that computes counts, one that sleeps does not, and waiting does not."""
    python = [sys.executable, "-c"]
    with (
        subprocess.Popen([*python, "import time; time.sleep(60)"]) as idle,
        subprocess.Popen([*python, "while True: pass"]) as works,
    ):
        try:
            begun, alone = core_seconds([idle.pid, works.pid]), core_seconds([idle.pid])
            while core_seconds([works.pid]) - core_seconds() < 0.2:
                time.sleep(0.02)
            assert core_seconds([idle.pid, works.pid]) - begun >= 0.15
            assert core_seconds([idle.pid]) - alone < 0.15
        finally:
            works.kill()
            idle.kill()
