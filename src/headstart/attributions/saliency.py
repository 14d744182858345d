"""Saliency: the gradient of a class score in the pixels (Simonyan, Vedaldi and Zisserman, 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.attributions.base import Maps

if TYPE_CHECKING:
    from torch import Tensor, nn


def saliency(model: nn.Module, x: Tensor, target: Tensor, batch_size: int = 64) -> Maps:
    """The largest |∂z_c/∂x| over a pixel's channels (section 3 of the paper): never negative."""
    import torch
    from captum.attr import Saliency

    method = Saliency(model)
    batches = zip(torch.split(x, batch_size), torch.split(target, batch_size), strict=True)
    maps = [
        method.attribute(images.clone().requires_grad_(), target=classes, abs=False).abs().amax(1)
        for images, classes in batches
    ]
    return Maps(torch.cat(maps), torch.ones_like(target, dtype=torch.bool))
