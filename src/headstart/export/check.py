"""Whether an exported network answers as headstart's own does, to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.export.formats.base import Network

TOLERANCE = 1e-5
"""Largest difference that passes, as a share of the largest absolute feature or logit."""
IMAGES = 5


@dataclass(frozen=True)
class Agreement:
    """How far two networks' answers to the same images are apart."""

    images: int
    outputs: int
    """Features, or logits, an image."""
    largest: float
    """Largest absolute difference."""
    relative: float
    """The same over the largest absolute value of headstart's own answers."""

    @property
    def passed(self) -> bool:
        """Whether they agree; numbers that are none never do."""
        return self.relative <= TOLERANCE


@torch.inference_mode()
def compare(own: Network, exported: Network, size: int) -> Agreement:
    """Ask both networks for the fixed images at ``size`` pixels.

    Raises:
        ValueError: answers of different shapes.
    """
    images = fixed_images(size)
    ours, theirs = own(images).double(), exported(images).double()
    if ours.shape != theirs.shape:
        raise ValueError(f"it answers {tuple(theirs.shape)} where {tuple(ours.shape)} are expected")
    largest = float((ours - theirs).abs().max())
    scale = float(ours.abs().max()) or 1.0
    return Agreement(len(images), ours.shape[1], largest, largest / scale)


def fixed_images(size: int) -> Tensor:
    """Five images (5, 3, S, S) in [0, 1], always the same: noise of several contrasts around a
    colour of its own each.
    """
    drawn = torch.Generator().manual_seed(20)
    colour = torch.rand(IMAGES, 3, 1, 1, generator=drawn)
    noise = torch.rand(IMAGES, 3, size, size, generator=drawn)
    contrast = torch.linspace(0.2, 1, IMAGES).view(-1, 1, 1, 1)
    return colour * (1 - contrast) + noise * contrast
