"""What ``engine.activation_checkpointing`` saves in memory and costs in time, on one processor.

``python benchmarks/recompute.py`` prints the table of ``docs/scale.md``: for each network the most
bytes that the tensors made in a training step took at any moment, and processor time, with the
activations computed again over with them kept, in turns. One thread, float32; some minutes.
"""

from __future__ import annotations

import argparse
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headstart.methods import METHODS
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import build_encoder
from headstart.nn.recompute import recomputing


@dataclass(frozen=True)
class Case:
    """A network that is trained, with SimCLR where ``labels`` is false, else end to end."""

    backbone: str
    side: int
    batch: int
    labels: bool = False

    def __str__(self) -> str:
        how = "on labels" if self.labels else "SimCLR"
        return f"{self.backbone} at {self.side} px | {how}, batch {self.batch}"


CASES = (
    Case("resnet18", 64, 64),
    Case("resnet50", 128, 16),
    Case("resnet50", 128, 32, labels=True),
    Case("convnext_tiny", 128, 16),
    Case("vit_small_patch16_224", 128, 16),
    Case("vit_small_patch16_224", 224, 16),
)


class Live(TorchDispatchMode):
    """Counts the bytes of the memories that operations make, until nothing holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Run the operation, and count what it made."""
        given = {a.untyped_storage()._cdata for a in tree_leaves(args) if isinstance(a, Tensor)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                self._count(tensor.untyped_storage())
        return made

    def _count(self, memory: torch.UntypedStorage) -> None:
        key, size = memory._cdata, memory.nbytes()
        if key in self.seen:
            return

        def gone(_: object) -> None:
            del self.seen[key]
            self.now -= size

        self.seen[key] = weakref.ref(memory, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


class Step:
    """Steps of a case, on the same made images."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        encoder = build_encoder(case.backbone, image_size=case.side)
        images = torch.rand(2, case.batch, 3, case.side, case.side)
        self.network: nn.Module
        if case.labels:
            self.network = Supervised(encoder, 10)
            self.batch = images[0], torch.arange(case.batch) % 10
        else:
            recipe = METHODS["simclr"].recipe("small", 100)
            self.network = METHODS["simclr"](encoder, 1, **recipe.settings)
            self.batch = images[0], images[1]
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)

    def __call__(self, again: bool) -> None:
        """One step."""
        with recomputing(self.network) if again else nullcontext():
            self.network.loss(*self.batch).backward()  # type: ignore[operator]
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def peak(self, again: bool) -> int:
        """The most bytes at a time of what a step makes: activations and gradients."""
        with Live() as live:
            self(again)
        return live.peak


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Processor time of the block."""
    begun = time.process_time()
    yield
    into.append(time.process_time() - begun)


def row(case: Case, rounds: int) -> str:
    """A line of the table."""
    step = Step(case)
    for again in (False, True):
        step(again)  # the optimiser's memory is made, and the libraries are warm
    kept, computed = (step.peak(again) for again in (False, True))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(rounds):
        for again in (False, True) if turn % 2 else (True, False):
            with timed(seconds[again]):
                step(again)
    ratios = np.array(seconds[True]) / np.array(seconds[False])
    spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    return (
        f"| {case} | {kept / 1e6:,.0f} | {computed / 1e6:,.0f} | {computed / kept:.2f} | {spread} |"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | training | kept, MB | computed again, MB | ratio | time |")
    print("|---|---|---:|---:|---:|---:|")
    for case in CASES:
        print(row(case, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
