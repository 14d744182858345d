"""A method and an attribution for headstart; ``pyproject.toml`` tells headstart of them."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.attributions import Case, Maps, shown_as
from headstart.config import Count, Optim, Positive, Recipe
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.heads import mlp


class Spectral(Method):
    """Views of one image have a large inner product, those of two images are at right angles.

    The spectral contrastive loss, equation 6 of the paper.
    """

    title = "Spectral"
    paper = "HaoChen, Wei, Gaidon, Ma 2021, arXiv 2106.04156"
    tiny = MappingProxyType({"dim": 32})

    def __init__(
        self, encoder: Encoder, steps: int, *, dim: Count = 1000, radius: Positive = 1.0
    ) -> None:
        super().__init__(encoder, steps)
        self.projector = mlp([encoder.num_features, dim, dim], hidden_norm=True)
        self.radius = radius

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """−2·mean zᵢ·z'ᵢ + mean over i ≠ j of (zᵢ·z'ⱼ)², of outputs of at most ``radius``."""
        return spectral(*(self._within(self.embed(x)) for x in (x1, x2)))

    def embed(self, x: Tensor) -> Tensor:
        """z = g(f(x)), (B, D)."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """The least a constant output of length r ≤ ``radius`` reaches: −2r² + r⁴."""
        squared = min(self.radius, 1.0) ** 2
        return squared**2 - 2 * squared

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """The same for ``small`` and ``paper``: choose the learning rate on data of your own."""
        return Recipe(optim=Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10))

    def _within(self, z: Tensor) -> Tensor:
        """Outputs longer than ``radius`` are shortened to it, in float32."""
        z = z.float()
        longest = torch.full_like(z[:, :1], self.radius)
        return F.normalize(z, dim=1) * torch.minimum(z.norm(dim=1, keepdim=True), longest)


def spectral(z1: Tensor, z2: Tensor) -> Tensor:
    """The loss for outputs (B, D) of two views of the same B ≥ 2 images: a scalar."""
    with torch.autocast(z1.device.type, enabled=False):
        products = z1 @ z2.T
    apart = ~torch.eye(len(products), dtype=torch.bool, device=products.device)
    return products[apart].square().mean() - 2 * products.diagonal().mean()


@shown_as("Gradient × input", signed=True)
def gradient_times_input(case: Case) -> Maps:
    """x · ∂z_c/∂x, summed over channels (B, H, W). Shrikumar et al. 2016 (arXiv 1605.01713)."""
    maps = (case.x * case.gradients(case.x, case.target)).sum(dim=1)
    return Maps(maps, torch.ones(len(maps), dtype=torch.bool, device=maps.device))
