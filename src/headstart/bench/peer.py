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
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.bench.rivals import wait
from headstart.config import StudyError
from headstart.data.workers import usable_cores
from headstart.nn.encoder import Encoder

PEERS = ("lightly",)
LR = 0.06


class Peer:
    """One of lightly's loops; its workers rest while others are timed."""

    name = "peer"

    def __init__(
        self, method: str, encoder: Encoder, folder: Path, size: int, batch_size: int
    ) -> None:
        self.device = encoder.mean.device
        body = copy.deepcopy(encoder.body).to(memory_format=torch.contiguous_format)
        model = MODELS[method](body, encoder.num_features)
        self.model = model.to(self.device).train()
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=LR)
        self.batches = self._batches(folder, _transform(method, size), batch_size)

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

    def close(self) -> None:
        """Let the workers go."""
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
        for worker in getattr(self.batches, "_workers", ()):
            os.kill(worker.pid, number)


def check_peer(name: str) -> None:
    """Refuse a peer that is not known or not installed.

    Raises:
        StudyError: in one line, with what to do.
    """
    if name not in PEERS:
        raise StudyError(f"--peer {name}: the known peer is lightly")
    if find_spec(name) is None:
        raise StudyError(f"--peer {name}: not installed; pip install {name}")


def _transform(method: str, size: int) -> Any:
    from lightly import transforms
    from lightly.transforms import byol_transform as byol

    if method == "byol":
        view1, view2 = byol.BYOLView1Transform(size), byol.BYOLView2Transform(size)
        return byol.BYOLTransform(view_1_transform=view1, view_2_transform=view2)
    names = {"simclr": "SimCLRTransform", "moco": "MoCoV2Transform", "simsiam": "SimSiamTransform"}
    return getattr(transforms, names[method])(input_size=size)


class _SimCLR(nn.Module):
    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.backbone, self.projection_head = body, SimCLRProjectionHead(d, d, 128)
        self.criterion = NTXentLoss()

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        loss: Tensor = self.criterion(self(x0), self(x1))
        return loss


class _MoCo(nn.Module):
    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        self.backbone, self.projection_head = body, MoCoProjectionHead(d, d, 128)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NTXentLoss(memory_bank_size=(4096, 128))

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.backbone, self.backbone_momentum, m=0.996)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.996)
        query = self.projection_head(self.backbone(x0).flatten(start_dim=1))
        key = self.backbone_momentum(x1).flatten(start_dim=1)
        key = self.projection_head_momentum(key).detach()
        loss: Tensor = self.criterion(query, key)
        return loss


class _BYOL(nn.Module):
    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        self.backbone, self.projection_head = body, BYOLProjectionHead(d, 1024, 256)
        self.prediction_head = BYOLPredictionHead(256, 1024, 256)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.projection_head(self.backbone(x).flatten(start_dim=1))
        p: Tensor = self.prediction_head(y)
        return p

    def _target(self, x: Tensor) -> Tensor:
        y = self.backbone_momentum(x).flatten(start_dim=1)
        z: Tensor = self.projection_head_momentum(y).detach()
        return z

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.backbone, self.backbone_momentum, m=0.996)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.996)
        p0, z0, p1, z1 = self(x0), self._target(x0), self(x1), self._target(x1)
        loss: Tensor = 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))
        return loss


class _SimSiam(nn.Module):
    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead

        self.backbone, self.projection_head = body, SimSiamProjectionHead(d, 512, 128)
        self.prediction_head = SimSiamPredictionHead(128, 64, 128)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z.detach(), self.prediction_head(z)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        (z0, p0), (z1, p1) = self(x0), self(x1)
        loss: Tensor = 0.5 * (self.criterion(z0, p1) + self.criterion(z1, p0))
        return loss


MODELS: dict[str, Callable[[nn.Module, int], Any]] = {
    "simclr": _SimCLR,
    "moco": _MoCo,
    "byol": _BYOL,
    "simsiam": _SimSiam,
}
