"""Barlow Twins: Zbontar, Jing, Misra, LeCun, Deny 2021 (arXiv 2103.03230), Algorithm 1.

Paper: ResNet-50, batch 2048, LARS, 1000 epochs 73.2 % linear top-1 on ImageNet. Recipe ``small``:
a projector of 2048, SGD 0.06·B/256 with warm-up, weight decay 5e-4.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

from headstart import ranks
from headstart.config import Count, Optim, Positive, Recipe, View
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.losses import over_batch


class BarlowTwins(Method):
    """The correlations between the outputs for two views are driven to the identity matrix."""

    title = "Barlow Twins"
    paper = "Zbontar et al. 2021, arXiv 2103.03230"
    tiny = MappingProxyType({"dim": 32})
    peer = "headstart.bench.peers.barlow_twins:BarlowTwins"

    def __init__(
        self, encoder: Encoder, steps: int, *, dim: Count = 2048, redundancy: Positive = 5e-3
    ) -> None:
        super().__init__(encoder, steps)
        self.projector = mlp([encoder.num_features, dim, dim, dim], hidden_norm=True)
        self.dim, self.redundancy = dim, redundancy

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Σ(1−Cᵢᵢ)² + λ·Σ Cᵢⱼ² (eq. 1); views pass apart, as in the paper's code."""
        z1, z2 = ranks.gather(self.embed(x1)), ranks.gather(self.embed(x2))  # (B, D)
        return barlow_twins(z1, z2, self.redundancy)

    def embed(self, x: Tensor) -> Tensor:
        """z = h(f(x)), before it is normalised over the batch."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """D: a constant output correlates with nothing."""
        return float(self.dim)

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §2.2; biases and BatchNorm have a learning rate of their own there, not here."""
        if name == "paper":
            view = View(crop=(0.08, 1.0), saturation=0.2, interpolation="bicubic")
            view1 = view.model_copy(update={"blur_p": 1.0})
            view2 = view.model_copy(update={"blur_p": 0.1, "solarize_p": 0.2})
            optim = Optim(name="lars", lr=0.2, weight_decay=1.5e-6, warmup_epochs=10)
            return Recipe(settings={"dim": 8192}, optim=optim, view1=view1, view2=view2)
        view = View(crop=(0.08, 1.0))
        optim = Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
        return Recipe(optim=optim, view1=view, view2=view)


def barlow_twins(z1: Tensor, z2: Tensor, redundancy: float) -> Tensor:
    """The loss of Barlow Twins (eq. 1 and 2) for projections (B, D) of two views, in float32.

    Args:
        z1: projections of the first views; B ≥ 2.
        z2: projections of the second views of the same images.
        redundancy: λ, the weight of the correlations off the diagonal.

    Returns:
        A scalar ≥ 0; D when the projections are constant.
    """
    a, b = (F.batch_norm(z.float(), None, None, training=True) for z in (z1, z2))
    c = over_batch(a, b) / len(a)  # (D, D), the correlation of every output with every other
    diagonal = c.diagonal()
    off = c.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off
