"""MoCo v2 as lightly documents it."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


class MoCo(nn.Module):
    """The documented module."""

    def __init__(self, body: nn.Module, d: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        self.backbone, self.projection_head = body, MoCoProjectionHead(d, d, 128)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NTXentLoss(memory_bank_size=(4096, 128))

    @staticmethod
    def transform(size: int) -> Any:
        """Its two views of an image."""
        from lightly import transforms

        kind: Any = getattr(transforms, "MoCoV2Transform")  # noqa: B009 - not exported for type checkers
        return kind(input_size=size)

    def loss(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Of two views (B, 3, H, W)."""
        from lightly.models.utils import update_momentum

        update_momentum(self.backbone, self.backbone_momentum, m=0.996)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.996)
        query = self.projection_head(self.backbone(x0).flatten(start_dim=1))
        key = self.backbone_momentum(x1).flatten(start_dim=1)
        key = self.projection_head_momentum(key).detach()
        loss: Tensor = self.criterion(query, key)
        return loss
