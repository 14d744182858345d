"""VICReg: Bardes, Ponce, LeCun 2022 (arXiv 2105.04906), §4.1 and Algorithm 1.

Paper: ResNet-50, batch 2048, LARS, 1000 epochs 73.2 % linear top-1 on ImageNet. Recipe ``small``:
a projector of 2048, SGD 0.06·B/256 with warm-up, weight decay 5e-4.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart import ranks
from headstart.config import Count, Optim, Positive, Recipe, View
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.losses import over_batch

_EPS = 1e-4  # below the root of the variance, as in the paper


class VICReg(Method):
    """Views of one image agree, every output varies over the batch, and no two vary together."""

    title = "VICReg"
    paper = "Bardes, Ponce, LeCun 2022, arXiv 2105.04906"
    tiny = MappingProxyType({"dim": 32})
    peer = "headstart.bench.peers.vicreg:VICReg"

    def __init__(
        self,
        encoder: Encoder,
        steps: int,
        *,
        dim: Count = 2048,
        invariance: Positive = 25.0,
        variance: Positive = 25.0,
        covariance: Positive = 1.0,
    ) -> None:
        super().__init__(encoder, steps)
        self.projector = mlp([encoder.num_features, dim, dim, dim], hidden_norm=True)
        self.weights = invariance, variance, covariance

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """λ·s + μ·(v(Z)+v(Z'))/2 + ν·(c(Z)+c(Z')) (eq. 6; the half is the authors' code)."""
        z1, z2 = ranks.gather(self.embed(x1)), ranks.gather(self.embed(x2))  # (B, D)
        return vicreg(z1, z2, *self.weights)

    def embed(self, x: Tensor) -> Tensor:
        """z = h(f(x))."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """μ·(1−√ε): a constant output agrees with itself and varies not at all."""
        return self.weights[1] * (1 - math.sqrt(_EPS))

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §4.2 and App. C.1; both views are drawn alike."""
        if name == "paper":
            view = View(crop=(0.08, 1.0), saturation=0.2, interpolation="bicubic", solarize_p=0.1)
            optim = Optim(name="lars", lr=0.2, weight_decay=1e-6, warmup_epochs=10)
            return Recipe(settings={"dim": 8192}, optim=optim, view1=view, view2=view)
        view = View(crop=(0.08, 1.0))
        optim = Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
        return Recipe(optim=optim, view1=view, view2=view)


def vicreg(z1: Tensor, z2: Tensor, invariance: float, variance: float, covariance: float) -> Tensor:
    """The loss of VICReg (eq. 6) for projections (B, D) of two views, in float32.

    Args:
        z1: projections of the first views; B ≥ 2.
        z2: projections of the second views of the same images.
        invariance: λ, the weight of the mean squared distance of the two views.
        variance: μ, the weight of how far standard deviations fall short of 1.
        covariance: ν, the weight of the squared covariances off the diagonal, over D.

    Returns:
        A scalar ≥ 0.
    """
    z1, z2 = z1.float(), z2.float()
    spread = (_short_of_one(z1) + _short_of_one(z2)) / 2
    together = _covariance(z1) + _covariance(z2)
    return invariance * F.mse_loss(z1, z2) + variance * spread + covariance * together


def _short_of_one(z: Tensor) -> Tensor:
    """v(Z): the mean over outputs of max(0, 1 − √(Var + ε)) (eq. 1)."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + _EPS)).mean()


def _covariance(z: Tensor) -> Tensor:
    """c(Z): squared covariances off the diagonal, summed and over D (eq. 3 and 4)."""
    centred = z - z.mean(dim=0)
    cov = over_batch(centred, centred) / (len(z) - 1)  # (D, D)
    return (cov.square().sum() - cov.diagonal().square().sum()) / z.shape[1]
