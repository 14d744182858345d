"""SimCLR: Chen, Kornblith, Norouzi, Hinton 2020 (arXiv 2002.05709), Algorithm 1.

Paper: ResNet-50, batch 4096, LARS, T 0.1, 100 epochs 64.5 % / 1000 epochs 69.3 % linear top-1 on
ImageNet. Recipe ``small``: SGD 0.06·B/256, weight decay 5e-4, T 0.5, half-strength colours, as the
published small-image settings do.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

from headstart import ranks
from headstart.config import Count, Optim, Positive, Recipe, View
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.losses import nt_xent


class SimCLR(Method):
    """Views of one image attract, all other images in the batch repel."""

    title = "SimCLR"
    paper = "Chen et al. 2020, arXiv 2002.05709"
    tiny = MappingProxyType({"hidden": 32, "dim": 32})
    peer = "headstart.bench.peers.simclr:SimCLR"

    def __init__(
        self,
        encoder: Encoder,
        steps: int,
        *,
        temperature: Positive = 0.5,
        hidden: Count | None = None,
        dim: Count = 128,
        output_norm: bool = False,
    ) -> None:
        super().__init__(encoder, steps)
        d = encoder.num_features
        self.projector = mlp([d, hidden or d, dim], hidden_norm=True, output_norm=output_norm)
        self.temperature = temperature

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """NT-Xent; both views pass as one batch, so BatchNorm sees 2B images, as in the paper."""
        z1, z2 = self.embed(torch.cat([x1, x2])).chunk(2)  # (B, D) each
        return nt_xent(ranks.gather(z1), ranks.gather(z2), self.temperature)

    def embed(self, x: Tensor) -> Tensor:
        """z = g(f(x))."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """ln(2B−1): every other image as likely as the right one."""
        return math.log(2 * batch_size - 1)

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §2.2, App. A and B (bicubic crops are the code's)."""
        if name == "paper":
            view = View(
                crop=(0.08, 1.0),
                brightness=0.8,
                contrast=0.8,
                saturation=0.8,
                hue=0.2,
                interpolation="bicubic",
            )
            optim = Optim(name="lars", lr=0.3, weight_decay=1e-6, warmup_epochs=10)
            settings = {"temperature": 0.1, "output_norm": True}
            return Recipe(settings=settings, optim=optim, view1=view, view2=view)
        view = View(crop=(0.08, 1.0))
        optim = Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
        return Recipe(settings={"temperature": 0.5}, optim=optim, view1=view, view2=view)
