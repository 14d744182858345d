"""What a second process brings: one and two processes pretrain the same batches, in turns.

``python benchmarks/ranks.py`` prints the images a second of each, and ratios taken within a round.
SimCLR, ResNet-18 at 32 px, joint batches of 64, on made pixels; two cores and a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart import ranks
from headstart.config import EngineSettings
from headstart.data.batches import Images, Order, ViewPairs
from headstart.data.cache import PixelCache
from headstart.engine import Engine, Reading, Training
from headstart.methods import METHODS
from headstart.nn.encoder import build_encoder
from headstart.nn.optim import build_optimizer

SIZE, BATCH, COUNT, SEGMENT = 32, 64, 512, 4


@dataclass(frozen=True)
class Group:
    """So many processes with so many threads each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.threads} threads"


GROUPS = (Group(1, 1), Group(2, 1), Group(1, 2))


class Clock:
    """A watcher that takes the time between its first reading and its last."""

    read_every = SEGMENT

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, reading: Reading) -> str | None:
        """Note the time."""
        self.times.append(time.perf_counter())
        return None

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take back."""

    @property
    def images_per_s(self) -> float:
        """Of the joint batch; an image counts once, however many views it has."""
        return BATCH * SEGMENT * (len(self.times) - 1) / (self.times[-1] - self.times[0])


def training(segments: int) -> Training:
    """SimCLR by its recipe `small`."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 40, 40), dtype=np.uint8)
    nothing = ("",) * COUNT
    cache = PixelCache(pixels, np.ones(COUNT, np.float32), nothing, nothing)
    method, recipe = METHODS["simclr"], METHODS["simclr"].recipe("small", 100)
    encoder = build_encoder("resnet18", image_size=SIZE)
    network = method(encoder, SEGMENT * segments, **recipe.settings)
    images = Images(cache, np.arange(COUNT), SIZE, torch.device("cpu"))
    order = Order(COUNT, BATCH, seed=0, drop_last=True)
    return Training(
        network=network,
        optimizer=build_optimizer(network, recipe.optim, BATCH),
        batch=ViewPairs(images, order, recipe.view1, recipe.view2),
        lr_factor=lambda _: 0.1,
        steps=SEGMENT * segments,
        seed=0,
    )


def work(group: Group, segments: int, file: Path) -> None:
    """What each process does; the first writes how fast it was."""
    settings = EngineSettings(device="cpu", precision="32", threads=group.threads)
    with ranks.joined():
        engine, clock = Engine(settings), Clock()
        with engine.together():
            engine.fit(training(segments), clock)
        if not ranks.is_helper():
            file.write_text(json.dumps(clock.images_per_s))


def rate(group: Group, segments: int, folder: Path) -> float:
    """Images a second of a group of forks of this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": group.processes, "LOCAL_WORLD_SIZE": group.processes}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    forks = []
    for rank in range(group.processes):
        child = os.fork()
        if child == 0:
            own = common | {"RANK": rank, "LOCAL_RANK": rank}
            os.environ.update({name: str(value) for name, value in own.items()})
            work(group, segments, folder / "rate.json")
            os._exit(0)
        forks.append(child)
    codes = [os.waitpid(child, 0)[1] for child in forks]
    if any(codes):
        raise SystemExit(f"{group}: {codes}")
    return float(json.loads((folder / "rate.json").read_text()))


def main() -> None:
    """Time the groups in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--segments", type=int, default=3, help="of 4 steps; the first is untimed")
    asked = parser.parse_args()
    rates: dict[Group, list[float]] = {group: [] for group in GROUPS}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(asked.rounds):
            for group in GROUPS[turn % len(GROUPS) :] + GROUPS[: turn % len(GROUPS)]:
                rates[group].append(rate(group, asked.segments, Path(name)))
    for group, measured in rates.items():
        print(f"{group}: {np.median(measured):.1f} images/s")
    for over in (Group(1, 1), Group(1, 2)):
        ratios = np.array(rates[Group(2, 1)]) / np.array(rates[over])
        print(f"2 x 1 over {over}: {np.median(ratios):.2f} ({ratios.min():.2f}…{ratios.max():.2f})")


if __name__ == "__main__":
    main()
