"""The same training as lightly's documentation writes it: its transform, loss, heads and loop.

The examples' numerics are kept (float32, memory as it comes), the loader has as many workers as
there are cores, and the files, the backbone, the image size and the batch are the study's. The
transforms have their default strengths. Its MoCo takes one view as the query and the other as the
key, where the recipe ``small`` here takes each once as either.
"""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from headstart.bench.timed import wait
from headstart.config import StudyError
from headstart.cores import usable_cores
from headstart.extensions import load
from headstart.methods import METHODS
from headstart.nn.encoder import Encoder

PEERS = ("lightly",)
LR = 0.06


class Peer:
    """One of lightly's loops; its workers are paused while others are timed."""

    name = "peer"

    def __init__(
        self, method: str, encoder: Encoder, folder: Path, size: int, batch_size: int
    ) -> None:
        self.device = encoder.mean.device
        body = copy.deepcopy(encoder.body).to(memory_format=torch.contiguous_format)
        kind = load(check_peer(PEERS[0], method))
        model = kind(body, encoder.num_features)
        self.model = model.to(self.device).train()
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=LR)
        self.batches = self._batches(folder, kind.transform(size), batch_size)

    def run(self, steps: int) -> None:
        """So many steps of the documented loop."""
        self._signal(signal.SIGCONT)
        for _ in range(steps):
            x0, x1 = next(self.batches)[0]
            loss = self.model.loss(x0.to(self.device), x1.to(self.device))
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        wait(self.device)
        self._signal(signal.SIGSTOP)

    def workers(self) -> list[int]:
        """Numbers of the processes that load its images."""
        return [worker.pid for worker in getattr(self.batches, "_workers", ())]

    def close(self) -> None:
        """Let the workers end."""
        self._signal(signal.SIGCONT)
        self.batches = iter(())

    def _batches(self, folder: Path, transform: Any, batch_size: int) -> Iterator[Any]:
        from lightly.data import LightlyDataset
        from torch.utils.data import DataLoader, RandomSampler

        dataset = LightlyDataset(str(folder), transform=transform)
        # One endless epoch: on a small folder the start of an epoch would count too often.
        endless = RandomSampler(dataset, replacement=True, num_samples=10**9)
        loader = DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=endless,
            drop_last=True,
            num_workers=usable_cores(),
        )
        return iter(loader)

    def _signal(self, number: int) -> None:
        for worker in self.workers():
            os.kill(worker, number)


def check_peer(name: str, method: str) -> str:
    """The peer's class for a method, as ``"module:attribute"``.

    Raises:
        StudyError: a peer that is not known, not installed, or without the method; in one line.
    """
    if name not in PEERS:
        raise StudyError(f"--peer {name}: the known peer is lightly")
    if find_spec(name) is None:
        raise StudyError(f"--peer {name}: not installed; pip install {name}")
    peer = METHODS[method].peer
    if peer is None:
        raise StudyError(f"--peer {name}: it has no {METHODS[method].title} to time")
    return peer
