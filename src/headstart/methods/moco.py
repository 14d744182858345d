"""MoCo v2: He et al. 2020 (arXiv 1911.05722), Algorithm 1; Chen et al. 2020 (arXiv 2003.04297).

Paper: ResNet-50, batch 256, 200 epochs, 67.7 % linear top-1 on ImageNet. Recipe ``small``: queue
4096, T 0.1, m 0.99, symmetric loss, SGD 0.06·B/256, weight decay 5e-4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from headstart import ranks
from headstart.config import Count, Optim, Positive, Probability, Recipe
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.joint_norm import by_groups
from headstart.nn.losses import info_nce
from headstart.nn.momentum import KeyQueue, follow, frozen_copy

NORM_GROUP = 32  # images


class MoCo(Method):
    """A query finds its key among a queue of keys of older images."""

    title = "MoCo v2"
    paper = "He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297"
    tiny = MappingProxyType({"hidden": 32, "dim": 32})
    peer = "headstart.bench.peers.moco:MoCo"

    def __init__(
        self,
        encoder: Encoder,
        steps: int,
        *,
        queue: Count = 4096,
        momentum: Probability = 0.99,
        temperature: Positive = 0.1,
        hidden: Count | None = None,
        dim: Count = 128,
        symmetric: bool = True,
        norm_group: Annotated[int, Field(ge=2)] = NORM_GROUP,
    ) -> None:
        super().__init__(encoder, steps)
        d = encoder.num_features
        self.projector = mlp([d, hidden or d, dim], hidden_norm=False)  # no BatchNorm in the head
        self.f_k = frozen_copy(nn.Sequential(encoder, self.projector))
        self.queue = KeyQueue(queue, dim)
        self.m, self.T, self.symmetric = momentum, temperature, symmetric
        self.norm_group = norm_group
        self._keys: list[Tensor] = []

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """InfoNCE against the queue; symmetric: each view once as the query, averaged."""
        x1, x2 = ranks.gather(x1), ranks.gather(x2)  # groups are of the joint batch
        queries, keyed = ((x1, x2), (x2, x1)) if self.symmetric else ((x1,), (x2,))
        with torch.no_grad():
            self._keys = self._key(*keyed)  # queued after the loss: never their own negatives
        groups = [group for x in queries for group in self._parts(x)]
        q = by_groups((self.encoder, self.projector), groups)  # (V·B, D)
        pairs = zip(q.chunk(len(queries)), self._keys, strict=True)
        return torch.stack([info_nce(*pair, self.queue.keys, self.T) for pair in pairs]).mean()

    def _key(self, *views: Tensor) -> list[Tensor]:
        """Keys (B, D) of each view under shuffled BatchNorm (§3.3): a query and its key never
        share a group's statistics.
        """
        orders = [ranks.told(torch.randperm(len(x))).to(x.device) for x in views]
        shuffled = [x[order] for x, order in zip(views, orders, strict=True)]
        k = by_groups((self.f_k,), [group for x in shuffled for group in self._parts(x)])
        keys = F.normalize(k.float(), dim=1).chunk(len(views))
        return [k[order.argsort()] for k, order in zip(keys, orders, strict=True)]

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Groups of about ``norm_group`` images that share BatchNorm's numbers, as on many GPUs."""
        return x.tensor_split(_groups(len(x), self.norm_group))

    @staticmethod
    def most_ranks(batch_size: int, settings: Mapping[str, Any]) -> int:
        """A rank passes whole groups."""
        return _groups(batch_size, settings.get("norm_group", NORM_GROUP))

    def after_step(self, step: int) -> None:
        """Enqueue this step's keys once, and let the key encoder follow (eq. 2)."""
        self.queue.enqueue(torch.cat(self._keys))
        follow(self.f_k[0], self.encoder, self.m)
        follow(self.f_k[1], self.projector, self.m)

    def embed(self, x: Tensor) -> Tensor:
        """q = f_q(x), before normalisation."""
        q: Tensor = self.projector(self.encoder(x))
        return q

    def loss_floor(self, batch_size: int) -> float:
        """ln(1+K): every key in the queue as likely as the right one."""
        return math.log(1 + len(self.queue.keys))

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: v2's table 1 and the authors' code (cosine per epoch, decay on every weight)."""
        if name == "paper":
            optim = Optim(lr=0.03, weight_decay=1e-4, decay_norm_and_bias=True, cosine_per="epoch")
            settings = {"queue": 65536, "momentum": 0.999, "temperature": 0.2, "symmetric": False}
            return Recipe(settings=settings, optim=optim)
        return Recipe(settings={"hidden": 2048}, optim=Optim(lr=0.06, weight_decay=5e-4))


def _groups(batch_size: int, norm_group: int) -> int:
    fewest = 2 if batch_size >= 8 else 1  # one group alone would leave nothing to shuffle between
    return max(fewest, batch_size // norm_group)
