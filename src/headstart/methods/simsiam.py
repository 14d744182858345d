"""SimSiam: Chen & He 2021 (arXiv 2011.10566), Algorithm 1.

Paper: ResNet-50, batch 512 (256 the same), 100 epochs, 68.1 % linear top-1 on ImageNet. Recipe
``small``: SGD 0.06·B/256, weight decay 5e-4.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from headstart import ranks
from headstart.config import Count, Optim, Recipe
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp
from headstart.nn.losses import negative_cosine


class SimSiam(Method):
    """Each view predicts the other's projection; the gradient stops at what is predicted."""

    title = "SimSiam"
    paper = "Chen & He 2021, arXiv 2011.10566"
    tiny = MappingProxyType({"dim": 64, "bottleneck": 32})
    peer = "headstart.bench.peers.simsiam:SimSiam"

    fixed_lr_modules = ("predictor",)  # §4.1: the predictor's learning rate does not decay

    def __init__(
        self, encoder: Encoder, steps: int, *, dim: Count = 2048, bottleneck: Count = 512
    ) -> None:
        super().__init__(encoder, steps)
        widths = [encoder.num_features, dim, dim, dim]
        self.projector = mlp(widths, hidden_norm=True, output_norm=True, affine=False)
        self.predictor = mlp([dim, bottleneck, dim], hidden_norm=True)

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """D(p1, stopgrad(z2))/2 + D(p2, stopgrad(z1))/2; views pass apart, as in the paper's code,
        so that BatchNorm's statistics belong to one kind of view.
        """
        z1, z2 = self.embed(x1), self.embed(x2)  # (B, D)
        p1, p2 = self.predictor(z1), self.predictor(z2)  # (B, D)
        z1, z2, p1, p2 = (ranks.gather(out) for out in (z1, z2, p1, p2))
        z1, z2 = z1.detach(), z2.detach()  # without this stop-gradient it collapses
        return (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2

    def embed(self, x: Tensor) -> Tensor:
        """z = g(f(x))."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """−1: a constant output predicts itself."""
        return -1.0

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §3 and §4.1; weight decay on every parameter."""
        if name == "paper":
            optim = Optim(lr=0.05, weight_decay=1e-4, decay_norm_and_bias=True)
            return Recipe(optim=optim)
        return Recipe(optim=Optim(lr=0.06, weight_decay=5e-4))
