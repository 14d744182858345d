"""Supervised training: cross-entropy on labels, the arm that every method is compared with.

The same class fine-tunes a pretrained encoder: only the starting weights differ.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from headstart.nn.encoder import Encoder


class Supervised(nn.Module):
    """An encoder and one linear layer, trained end to end."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.num_features, classes)
        nn.init.zeros_(self.head.weight)  # the same head for every arm, whatever the random state
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) in [0, 1] -> (B, C)
        """Logits."""
        logits: Tensor = self.head(self.encoder(x))
        return logits

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of images (B, 3, H, W) with classes (B,)."""
        return F.cross_entropy(self(x).float(), y)

    def after_step(self, step: int) -> None:
        """Nothing moves but by gradient."""
