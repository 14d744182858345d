"""Every method trained for three steps on this rank's share of the joint batch.

``python joint_job.py OUT`` is one process of a group, or alone; rank zero writes ``OUT``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tiny_study
from headstart import ranks
from headstart.config import EngineSettings
from headstart.data.batches import Images, Order, ViewPairs
from headstart.engine import Engine, Reading, Training
from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.optim import build_optimizer, lr_factor

STEPS = 3
# Neither 2 nor 4 divides the first batch; MoCo's four groups are not the ranks' shares of it.
COUNT, BATCH = 34, 18
SETTINGS: dict[str, dict[str, Any]] = {"moco": {"queue": 50, "norm_group": 4}}
ENCODERS = ("with BatchNorm", "without BatchNorm")
CPU = EngineSettings(device="cpu", precision="32", threads=1)


def encoder(kind: str) -> Encoder:
    if kind == "with BatchNorm":
        return tiny_study.small_encoder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    return Encoder(body, 8)


def pretraining(name: str, kind: str = ENCODERS[0], steps: int = STEPS) -> tuple[Method, Training]:
    """A method around a small encoder, on made images; batches of 18 and 16."""
    recipe = METHODS[name].recipe("small", 2)
    heads = dict(METHODS[name].tiny) | SETTINGS.get(name, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = METHODS[name](encoder(kind), steps, **(recipe.settings | heads))
    images = Images(tiny_study.pixels(COUNT), np.arange(COUNT), 24, torch.device("cpu"))
    order = Order(COUNT, BATCH, seed=3, drop_last=False)
    optim = recipe.optim.model_copy(update={"warmup_epochs": 0})
    return network, Training(
        network=network,
        optimizer=build_optimizer(network, optim, BATCH),
        batch=ViewPairs(images, order, recipe.view1, recipe.view2),
        lr_factor=lambda step: lr_factor(optim, step, steps, order.steps_per_epoch),
        steps=steps,
        seed=3,
    )


class Losses:
    """A watcher that keeps the loss of every step, and the gradients that the optimiser gets."""

    read_every = 1

    def __init__(self, training: Training) -> None:
        self.losses: list[float] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.network = training.network
        training.optimizer.register_step_pre_hook(self._keep)

    def _keep(self, *_: object) -> None:
        named = self.network.named_parameters()
        kept = {name: p.grad.clone() for name, p in named if p.grad is not None}
        self.gradients.append(kept)

    def __call__(self, reading: Reading) -> str | None:
        self.losses.append(reading.loss)
        return None

    def state(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def restore(self, state: dict[str, Any]) -> None:
        self.losses = state["losses"]


def trained(name: str, kind: str) -> dict[str, Any]:
    """Losses, gradients and all that the network holds after three steps, of this rank."""
    network, training = pretraining(name, kind)
    losses = Losses(training)
    with ranks.together():
        assert Engine(CPU).fit(training, losses) is None
    return {
        "losses": losses.losses,
        "gradients": losses.gradients,
        "network": dict(network.state_dict()),
    }


def stopped(folder: Path, steps: int) -> None:
    """The beginning of a training of six steps, with a checkpoint after ``steps`` of them."""
    for name in METHODS:
        _, training = pretraining(name, steps=6)
        (folder / name).mkdir(parents=True, exist_ok=True)
        losses = Losses(training)
        with ranks.together():
            Engine(CPU).fit(replace(training, steps=steps), losses, folder / name, 0)


def resumed(folder: Path) -> dict[str, Any]:
    """All six steps, from the checkpoints in a folder where there are any."""
    ends = {}
    for name in METHODS:
        network, training = pretraining(name, steps=6)
        losses = Losses(training)
        with ranks.together():
            Engine(CPU).fit(training, losses, folder / name)
        steps_here = len(losses.gradients)
        ends[name] = {"losses": losses.losses, "network": dict(network.state_dict())}
        ends[name]["steps here"] = steps_here
    return ends


def main(task: str, out: Path) -> None:
    """Rank zero writes what it has; the others whether theirs is the same."""
    torch.set_num_threads(1)
    with ranks.joined(gpu=False):
        if task == "stop":
            stopped(out, 3)
            return
        if task == "resume":
            ends = resumed(out)
        else:
            ends = {f"{n}, {k}": trained(n, k) for n in METHODS for k in ENCODERS}
        with ranks.together():
            place, world = ranks.rank(), ranks.world()
    torch.save(ends, out / f"{task}-{place}-of-{world}.pt")


def launch(command: Sequence[str], world: int, seconds: float = 120) -> None:
    """Run a command as every rank of a group on this machine, and wait for all of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(world):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        paths = os.pathsep.join(path for path in sys.path if path)
        env = os.environ | {k: str(v) for k, v in (own | group).items()} | {"PYTHONPATH": paths}
        running.append(subprocess.Popen([sys.executable, *command], env=env))
    try:
        codes = [process.wait(seconds) for process in running]
    finally:
        for process in running:
            process.kill()
    assert codes == [0] * world, codes


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
