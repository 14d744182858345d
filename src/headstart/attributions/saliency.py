"""Saliency: the gradient of a class score in the pixels (Simonyan, Vedaldi and Zisserman, 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.attributions.base import Case, Maps

if TYPE_CHECKING:
    from torch import Tensor


def saliency(case: Case) -> Maps:
    """The largest |∂z_c/∂x| over a pixel's channels (section 3 of the paper): never negative."""
    return steepest(case.gradients(case.x, case.target))


def steepest(gradients: Tensor) -> Maps:
    """Maps (B, H, W) of gradients (B, C, H, W): the largest size over the channels."""
    import torch

    maps = gradients.abs().amax(1)
    return Maps(maps, torch.ones(len(maps), dtype=torch.bool, device=maps.device))
