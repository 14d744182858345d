"""Barlow Twins as lightly documents it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class BarlowTwins(nn.Module):
    """The documented module."""

    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import BarlowTwinsLoss
        from lightly.models.modules.heads import BarlowTwinsProjectionHead

        self.backbone, self.projection_head = body, BarlowTwinsProjectionHead(d, 2048, 2048)
        self.criterion = BarlowTwinsLoss()

    def forward(self, x: Tensor) -> Tensor:
        """What the loss compares, of a view (B, 3, H, W)."""
        z: Tensor = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z

    @staticmethod
    def transform(size: int) -> Any:
        """Its two views of an image."""
        from lightly.transforms import byol_transform as byol

        view1, view2 = byol.BYOLView1Transform(size), byol.BYOLView2Transform(size)
        return byol.BYOLTransform(view_1_transform=view1, view_2_transform=view2)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Of two views (B, 3, H, W)."""
        loss: Tensor = self.criterion(self(x0), self(x1))
        return loss
