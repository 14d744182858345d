"""Networks and images that the tests of attributions share."""

from __future__ import annotations

import torch
from torch import nn


def smooth_network(seed: int = 3, side: int = 16) -> nn.Sequential:
    """Two convolutions and a linear layer without kinks: 3 logits."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Softplus(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(4 * side * side, 3),
    ).eval()


def linear_network(side: int = 16, seed: int = 3) -> nn.Sequential:
    """Logits that are linear in the pixels."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 3)).eval()


def some_images(n: int = 3, side: int = 16, seed: int = 1) -> torch.Tensor:
    """(n, 3, side, side) uniform in [0, 1]."""
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
