"""SimSiam as lightly documents it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SimSiam(nn.Module):
    """The documented module."""

    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead

        self.backbone, self.projection_head = body, SimSiamProjectionHead(d, 512, 128)
        self.prediction_head = SimSiamPredictionHead(128, 64, 128)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the loss compares, of a view (B, 3, H, W)."""
        z = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z.detach(), self.prediction_head(z)

    @staticmethod
    def transform(size: int) -> Any:
        """Its two views of an image."""
        from lightly import transforms

        kind: Any = getattr(transforms, "SimSiamTransform")  # noqa: B009 - not exported for type checkers
        return kind(input_size=size)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Of two views (B, 3, H, W)."""
        (z0, p0), (z1, p1) = self(x0), self(x1)
        loss: Tensor = 0.5 * (self.criterion(z0, p1) + self.criterion(z1, p0))
        return loss
