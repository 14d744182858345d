"""Mixup (Zhang et al. 2018): each image of a batch blended with another one, labels likewise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.data.batches import LabelledBatches

ALPHA = 0.2
"""Of the Beta distribution of the share; the authors' own for ImageNet is 0.1 to 0.4."""


def mix(x: Tensor, y: Tensor, share: float, partner: Tensor) -> tuple[Tensor, Tensor]:
    """``share`` of every sample and the rest of its partner.

    Args:
        x: images (B, 3, T, T).
        y: class probabilities (B, C).
        share: λ in [0, 1].
        partner: whom each sample is mixed with, (B,) positions in the batch.
    """
    return torch.lerp(x[partner], x, share), torch.lerp(y[partner], y, share)


@dataclass(frozen=True)
class Mixed:
    """Step -> blended images (B, 3, T, T) in [0, 1] and class probabilities (B, C).

    One share λ ~ Beta(α, α) and one permutation a batch, as in the authors' code; both depend on
    (seed, step) alone, so that a training taken up again sees what it would have seen.
    """

    batches: LabelledBatches
    classes: int
    alpha: float = ALPHA

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        x, y = self.batches(step)
        rng = np.random.default_rng((self.batches.order.seed, 2, step))
        share = float(rng.beta(self.alpha, self.alpha))
        partner = torch.from_numpy(rng.permutation(len(x))).to(x.device)
        return mix(x, F.one_hot(y, self.classes).float(), share, partner)
