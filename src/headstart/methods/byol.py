"""BYOL: Grill et al. 2020 (arXiv 2006.07733), §3 and Algorithm 1.

Paper: ResNet-50, batch 4096, LARS, 1000 epochs 74.3 %, 300 epochs 72.5 % linear top-1 on ImageNet.
Recipe ``small``: SGD 0.06·B/256 with warm-up, weight decay 5e-4, τ 0.99 → 1.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn

from headstart import ranks
from headstart.config import Count, Optim, Probability, Recipe, View
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.losses import normalised_mse
from headstart.nn.momentum import cosine_momentum, follow, frozen_copy

# Appendix J and the authors' code: epochs -> (base learning rate, weight decay, base τ).
_PAPER = {
    40: (0.45, 1e-6, 0.97),
    100: (0.45, 1e-6, 0.99),
    300: (0.3, 1e-6, 0.99),
    1000: (0.2, 1.5e-6, 0.996),
}


class BYOL(Method):
    """An online network predicts what a slowly moving copy of itself says of the other view."""

    title = "BYOL"
    paper = "Grill et al. 2020, arXiv 2006.07733"
    tiny = MappingProxyType({"hidden": 64, "dim": 32})
    peer = "headstart.bench.peers.byol:BYOL"

    def __init__(
        self,
        encoder: Encoder,
        steps: int,
        *,
        hidden: Count = 4096,
        dim: Count = 256,
        base_momentum: Probability = 0.99,
    ) -> None:
        super().__init__(encoder, steps)
        self.projector = mlp([encoder.num_features, hidden, dim], hidden_norm=True)
        self.predictor = mlp([dim, hidden, dim], hidden_norm=True)
        self.target = frozen_copy(nn.Sequential(encoder, self.projector))
        self.base_momentum = base_momentum

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Both directions of 2 − 2·cos, summed (eq. 2); views pass apart, each with its own
        BatchNorm statistics.
        """
        p1, p2 = self.predictor(self.embed(x1)), self.predictor(self.embed(x2))  # (B, D)
        with torch.no_grad():
            z1, z2 = self.target(x1), self.target(x2)  # (B, D)
        z1, z2, p1, p2 = (ranks.gather(out) for out in (z1, z2, p1, p2))
        return normalised_mse(p1, z2) + normalised_mse(p2, z1)

    def after_step(self, step: int) -> None:
        """ξ ← τξ + (1−τ)θ after the optimiser's step, τ on its cosine (§3.3)."""
        tau = cosine_momentum(self.base_momentum, step, self.steps)
        follow(self.target[0], self.encoder, tau)
        follow(self.target[1], self.projector, tau)

    def embed(self, x: Tensor) -> Tensor:
        """z = g(f(x)) of the online network."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """0: reached by a constant output, and by perfect alignment too."""
        return 0.0

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §3.3, Appendices B and J; the views are not alike: blur 1.0 and 0.1, solarise
        0.0 and 0.2.
        """
        view1 = View(crop=(0.08, 1.0), saturation=0.2, interpolation="bicubic", blur_p=1.0)
        view2 = view1.model_copy(update={"blur_p": 0.1, "solarize_p": 0.2})
        if name == "paper":
            nearest = min(_PAPER, key=lambda e: abs(math.log(e / epochs)))
            lr, decay, tau = _PAPER[nearest]
            optim = Optim(name="lars", lr=lr, weight_decay=decay, warmup_epochs=10)
            settings = {"base_momentum": tau}
            return Recipe(settings=settings, optim=optim, view1=view1, view2=view2)
        optim = Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
        return Recipe(optim=optim, view1=view1, view2=view2)
