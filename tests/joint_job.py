"""Every method, trained for some steps by groups of processes.

``python joint_job.py FOLDER TASK:PROCESSES …`` writes what each rank ends with into a folder.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

import tiny_study
from headstart import pipeline, ranks
from headstart.config import EngineSettings
from headstart.data.batches import Images, Order, ViewPairs
from headstart.data.synthetic import BagsSpec, generate
from headstart.engine import Engine, Reading, Training
from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder, build_encoder
from headstart.nn.joint_norm import joint_norm
from headstart.nn.optim import build_optimizer, lr_factor
from joint_table import ENCODERS
from tiny_study import PowerCutError, killed_at

STEPS = 3
# Neither 2 nor 4 divides the first batch; MoCo's four groups are not the ranks' shares of it.
COUNT, BATCH = 34, 18
SETTINGS: dict[str, dict[str, Any]] = {"moco": {"queue": 50, "norm_group": 4}}
CPU = EngineSettings(device="cpu", precision="32", threads=1)


def encoder(kind: str) -> Encoder:
    if kind == "of blocks":
        return build_encoder("test_resnet", image_size=24)
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


def trained(name: str, kind: str, settings: EngineSettings = CPU) -> dict[str, Any]:
    """Losses, gradients and all that the network holds after three steps, of this rank."""
    network, training = pretraining(name, kind)
    losses = Losses(training)
    with ranks.together():
        assert Engine(settings).fit(training, losses) is None
    return {
        "losses": losses.losses,
        "gradients": losses.gradients,
        "network": dict(network.state_dict()),
    }


def stop(folder: Path) -> None:
    """The first three of six steps of every method, with checkpoints in a folder."""
    for name in METHODS:
        _, training = pretraining(name, steps=6)
        (folder / name).mkdir(parents=True, exist_ok=True)
        with ranks.together(), suppress(PowerCutError):
            cut = replace(training, batch=killed_at(3, training.batch))
            Engine(CPU).fit(cut, Losses(training), folder / name, 0)


def resume(folder: Path) -> dict[str, Any]:
    """All six steps, from the checkpoints in a folder where there are any."""
    ends = {}
    for name in METHODS:
        network, training = pretraining(name, steps=6)
        losses = Losses(training)
        with ranks.together():
            Engine(CPU).fit(training, losses, folder / name)
        ends[name] = {
            "losses": losses.losses,
            "gradients": losses.gradients,
            "network": dict(network.state_dict()),
        }
    return ends


def train_all(_: Path) -> dict[str, Any]:
    return {f"{name}, {kind}": trained(name, kind) for name in METHODS for kind in ENCODERS}


def recompute_all(_: Path) -> dict[str, Any]:
    """Every method with an encoder of blocks: activations kept, and computed again."""
    again = CPU.model_copy(update={"activation_checkpointing": True})
    ways = {"kept": CPU, "computed again": again}
    return {
        f"{name}, {way}": trained(name, "of blocks", settings)
        for name in METHODS
        for way, settings in ways.items()
    }


def exactly(task: Callable[[Path], dict[str, Any] | None]) -> Callable[[Path], Any]:
    """The task in float64 throughout, so that what differs is no rounding."""

    def work(folder: Path) -> Any:
        Tensor.float = Tensor.double  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float64)
        return task(folder)

    return work


def normalise(_: Path) -> dict[str, Any]:
    """BatchNorm of every kind on this rank's share of a batch of nine, forward and backward."""
    return {name: normalised(name) for name in NORMS}


NORMS: dict[str, Callable[[], nn.Module]] = {
    "images": lambda: nn.BatchNorm2d(3),
    "vectors": lambda: nn.BatchNorm1d(3),
    "no scale": lambda: nn.BatchNorm1d(3, affine=False),
    "no statistics kept": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "mean of all passes": lambda: nn.BatchNorm2d(3, momentum=None),
    "timm's": lambda: BatchNormAct2d(3),
    "bfloat16": lambda: nn.BatchNorm2d(3),
}
ROWS = 9  # 4 + 5, or 2 + 2 + 2 + 3


def normalised(name: str) -> dict[str, Tensor]:
    """Outputs, gradients and statistics after two passes, the outputs in evaluation too."""
    norm, images = NORMS[name](), name not in ("vectors", "no scale")
    shape = (ROWS, 3, 4, 4) if images else (ROWS, 3)
    draw = torch.Generator().manual_seed(1)
    joint = torch.randn(shape, generator=draw) * 3 + 100  # a mean that eats naive variances
    wanted = torch.randn(shape, generator=draw)
    for i, p in enumerate(norm.parameters()):
        nn.init.constant_(p, 0.5 + i)
    with ranks.together():
        kind = torch.bfloat16 if name == "bfloat16" else joint.dtype
        x = ranks.mine(joint).to(kind).requires_grad_()
        with joint_norm():
            norm(x * 0.5)
            y = norm(x)
        (ranks.gather(y) * wanted).sum().backward()
        results = {"y": ranks.gather(y.detach()), "x.grad": ranks.gather(x.grad) / ranks.world()}
        for key, p in norm.named_parameters():
            results[key] = ranks.total(p.grad) / ranks.world()
    with joint_norm():
        evaluated = norm.eval()(joint.to(kind)).detach()
    return results | {"evaluated": evaluated} | norm.state_dict()


def run_whole(folder: Path) -> dict[str, Any]:
    """A whole study on drawn bags in a folder; what each process wrote or moved outside of /dev."""
    bags = generate(folder / "bags", BagsSpec(40, 4, 2, 2, size=32))
    asked = tiny_study.study(
        bags,
        only=["simclr", "moco"],
        encoder={"image_size": 16},
        classify={"protocols": ["linear"]},
        pretrain={"epochs": 2, "batch_size": 16, "checkpoint_minutes": 0},
        explain={"images": 0},
        compare={"replicates": 100},
    )
    written: list[str] = []
    sys.addaudithook(partial(_note_writing, written))
    home = folder / f"run-of-{os.environ['WORLD_SIZE']}"
    if ranks.is_helper():
        pipeline.help_study(asked, home)
    else:
        with ranks.leading():
            pipeline.run_study(asked, home)
    return {"written": written}


def _note_writing(written: list[str], event: str, arguments: tuple[Any, ...]) -> None:
    """Keep the path of whatever a process opens to write, makes, moves or removes."""
    if event == "open":
        path, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) or any(c in (mode or "") for c in "wax+")
        if writes and not str(path).startswith("/dev/"):
            written.append(str(path))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"):
        written.append(str(arguments[0]))


TASKS: dict[str, Callable[[Path], Any]] = {
    "study": run_whole,
    "train": train_all,
    "train exactly": exactly(train_all),
    "recompute": exactly(recompute_all),
    "whole": exactly(lambda folder: resume(folder / "empty")),
    "stop": exactly(stop),
    "resume": exactly(resume),
    "normalise": normalise,
}


def one_rank(task: str, folder: Path) -> None:
    """What each process of a group does: the task, and a file of what came out."""
    with ranks.joined():
        ends = TASKS[task](folder)
        with ranks.together():
            name = f"{task}-{ranks.rank()}-of-{ranks.world()}.pt"
    if ends is not None:
        torch.save(ends, folder / name)


def group(task: str, folder: Path, world: int) -> None:
    """Do a task in a group of forks of this process: what was imported need not be again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            own = common | {"RANK": rank, "LOCAL_RANK": rank}
            os.environ.update({name: str(value) for name, value in own.items()})
            try:
                one_rank(task, folder)
            except BaseException:  # noqa: BLE001 - a fork never returns
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    if any(codes):
        sys.exit(f"{task} of {world}: {codes}")


def main(folder: Path, tasks: Sequence[str]) -> None:
    """Tasks like ``train:2``, one after the other."""
    torch.set_num_threads(1)
    for each in tasks:
        task, world = each.split(":")
        group(task, folder, int(world))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
