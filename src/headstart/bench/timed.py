"""What is timed in turns: the bare network, the real training, and a matrix product."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from headstart.engine import Engine, Reading, Training
from headstart.runtime.memory import peak_memory

Clock = Callable[[], float]  # seconds since some beginning


class Timed(Protocol):
    """Something that is timed in turns."""

    name: str

    def run(self, steps: int) -> None:
        """Do so many steps, and wait for the device."""


class Floor:
    """Forward, backward and optimiser on tensors already on the device: an upper bound."""

    name = "floor"

    def __init__(self, engine: Engine, training: Training) -> None:
        self.engine, self.training = engine, training
        self.views: tuple[Tensor, ...] = training.batch(0)
        network: Any = training.network
        self.loss = torch.compile(network.loss) if engine.compile else network.loss
        network.train()

    def run(self, steps: int) -> None:
        """So many steps on the same two views."""
        with self.engine.saving_memory(self.training.network):
            for _ in range(steps):
                with self.engine.forward():
                    loss = self.loss(*self.views)
                loss.backward()
                self.training.optimizer.step()
                self.training.optimizer.zero_grad(set_to_none=True)
        wait(self.engine.device)

    def flops(self) -> int:
        """Floating-point operations of a step in products and convolutions, as PyTorch counts."""
        from torch.utils.flop_counter import FlopCounterMode

        network: Any = self.training.network
        with (
            FlopCounterMode(display=False) as counter,
            self.engine.saving_memory(network),
            self.engine.forward(),
        ):
            network.loss(*self.views).backward()
        self.training.optimizer.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())


class Product:
    """A large square matrix product in the training's precision: what the processor can do."""

    name = "product"
    flops = 2 * 2048**3

    def __init__(self, engine: Engine) -> None:
        self.device = engine.device
        self.a = torch.randn(2048, 2048, device=engine.device).to(engine.dtype)

    def run(self, steps: int) -> None:
        """So many products."""
        for _ in range(steps):
            self.a @ self.a
        wait(self.device)


class Turns:
    """A watcher that lets the others run between two segments of the real training.

    Every round has a segment of the training, then one of each other, the first of them
    another in each round; so a machine that grows slower or faster does so for all of them.
    ``seconds`` holds everyone's segments, ``peak_rss`` and ``peak_gpu`` the most bytes that were
    held after the training's first segment, before a peer's first.
    """

    def __init__(
        self,
        engine: Engine,
        others: Sequence[Timed],
        steps: int,
        rounds: int,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.device, self.others, self.clock = engine.device, others, clock
        self.read_every, self.rounds = steps, rounds
        self.seconds: dict[str, list[float]] = {"train": []}
        self.peak_rss, self.peak_gpu = 0, 0
        self.since = self.clock()

    def __call__(self, reading: Reading) -> str | None:
        """Note how long the training took, and time the others."""
        wait(self.device)
        self.seconds["train"].append(self.clock() - self.since)
        done = len(self.seconds["train"])
        if done == 1:
            self.peak_rss = peak_memory()
            if self.device.type == "cuda":
                self.peak_gpu = torch.cuda.max_memory_allocated(self.device)
        first = done % max(1, len(self.others))
        for other in (*self.others[first:], *self.others[:first]):
            begun = self.clock()
            other.run(self.read_every)
            self.seconds.setdefault(other.name, []).append(self.clock() - begun)
        self.since = self.clock()
        return "timed long enough" if done == self.rounds else None

    def state(self) -> dict[str, Any]:
        """Nothing: it never resumes."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def core_seconds(others: Sequence[int] = ()) -> float:
    """Seconds that processors gave to this process and, on Linux, to others, by their numbers."""
    ticks = 0
    for number in others:
        # The name, in brackets, may hold spaces; user and system time are fields 14 and 15.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")
