"""BYOL as lightly documents it."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


class BYOL(nn.Module):
    """The documented module."""

    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        self.backbone, self.projection_head = body, BYOLProjectionHead(d, 1024, 256)
        self.prediction_head = BYOLPredictionHead(256, 1024, 256)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> Tensor:
        """What the loss compares, of a view (B, 3, H, W)."""
        y = self.projection_head(self.backbone(x).flatten(start_dim=1))
        p: Tensor = self.prediction_head(y)
        return p

    def _target(self, x: Tensor) -> Tensor:
        y = self.backbone_momentum(x).flatten(start_dim=1)
        z: Tensor = self.projection_head_momentum(y).detach()
        return z

    @staticmethod
    def transform(size: int) -> Any:
        """Its two views of an image."""
        from lightly.transforms import byol_transform as byol

        view1, view2 = byol.BYOLView1Transform(size), byol.BYOLView2Transform(size)
        return byol.BYOLTransform(view_1_transform=view1, view_2_transform=view2)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Of two views (B, 3, H, W)."""
        from lightly.models.utils import update_momentum

        update_momentum(self.backbone, self.backbone_momentum, m=0.996)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.996)
        p0, z0, p1, z1 = self(x0), self._target(x0), self(x1), self._target(x1)
        loss: Tensor = 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))
        return loss
