"""VICReg as lightly documents it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class VICReg(nn.Module):
    """The documented module."""

    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        self.backbone, self.projection_head = body, VICRegProjectionHead(d, 2048, 2048)
        self.criterion = VICRegLoss()

    def forward(self, x: Tensor) -> Tensor:
        """What the loss compares, of a view (B, 3, H, W)."""
        z: Tensor = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z

    @staticmethod
    def transform(size: int) -> Any:
        """Its two views of an image."""
        from lightly import transforms

        kind: Any = getattr(transforms, "VICRegTransform")  # noqa: B009 - not exported for type checkers
        return kind(input_size=size)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Of two views (B, 3, H, W)."""
        loss: Tensor = self.criterion(self(x0), self(x1))
        return loss
