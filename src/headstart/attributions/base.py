"""What every attribution shares: its result, and a model that is left exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # comparing maps needs no torch, so it is imported where it is used
    from torch import Tensor, nn


@dataclass(frozen=True)
class Maps:
    """Attribution maps of B images.

    ``maps`` (B, H, W) float32 on the images' device, all zero where the score does not depend on
    where one looks; ``converged`` (B,) bool, whether the method reached its numerical accuracy.
    """

    maps: Tensor
    converged: Tensor

    @property
    def present(self) -> Tensor:
        """(B,) bool: whether the image has a map at all."""
        return self.maps.flatten(1).any(1)


class Attribution(Protocol):
    """From a classifier and images to maps; to be called through ``attribute``.

    ``x`` is (B, C, H, W) float32 in [0, 1], and ``target`` (B,) the class whose logit is explained.
    """

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, batch_size: int = 64) -> Maps:
        """Maps of all images, at most ``batch_size`` of them in one pass of the model."""


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and fixed weights inside; every mode, flag and buffer restored after."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        model.eval()
        model.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training  # not train(): parts of a model may be in different modes
        for parameter, required in flags:
            parameter.requires_grad_(required)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def without_constant(maps: Tensor) -> Tensor:
    """Maps (B, H, W), with 0 in place of those that are the same everywhere, up to rounding."""
    flat = maps.flatten(1)
    span, size = flat.amax(1) - flat.amin(1), flat.abs().amax(1)
    return maps * (span > 1e-6 * size)[:, None, None]
