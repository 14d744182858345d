"""What every attribution shares: its question, its result, and a model left exactly as it was."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # comparing maps needs no torch, so it is imported where it is used
    import torch
    from torch import Tensor, nn


A = TypeVar("A", bound=Callable[..., object])


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


@dataclass(frozen=True)
class Case:
    """What is to be explained: the logits of classes ``target`` (B,) for images ``x``.

    ``x`` is (B, C, H, W) in [0, 1]. ``model`` maps pixels to logits; it is in evaluation mode and
    its weights are fixed. ``batch_size`` images go through it at a time. ``reference`` (R, C, H, W)
    in [0, 1] are images to compare with, for the methods that want some.
    """

    model: nn.Module
    x: Tensor
    target: Tensor
    batch_size: int = 64
    reference: Tensor | None = None

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and targets, ``batch_size`` at a time."""
        return _together(self.x, self.target, self.batch_size)

    def scores(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of any images, without a gradient."""
        import torch

        with torch.no_grad():
            return torch.cat([self.model(part) for part in torch.split(x, self.batch_size)])

    def gradients(self, points: Tensor, target: Tensor) -> Tensor:
        """∂z_target/∂x at any points (N, C, H, W), of the same shape; ``target`` is (N,)."""
        import torch

        found = []
        for batch, classes in _together(points, target, self.batch_size):
            leaf = batch.detach().requires_grad_()
            score = self.model(leaf).gather(1, classes[:, None]).sum()
            found.append(torch.autograd.grad(score, leaf)[0])
        return torch.cat(found)


def _together(x: Tensor, target: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    import torch

    return zip(torch.split(x, size), torch.split(target, size), strict=True)


class Attribution(Protocol):
    """From a case to its maps; to be called through ``attribute``."""

    def __call__(self, case: Case) -> Maps:
        """Maps of all images, at most ``batch_size`` of them in one pass of the model."""


def shown_as(title: str = "", *, signed: bool = False) -> Callable[[A], A]:
    """A decorator for an attribution: its name in print, and whether its maps have a sign.

    Without it the name is the one in the registry, and maps are taken to have no sign.
    """

    def mark(attribution: A) -> A:
        vars(attribution).update(title=title, signed=signed)
        return attribution

    return mark


class NoMap(ValueError):  # noqa: N818 - not a fault, an answer
    """This model or image size has no map by this method; the line says why."""


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


def own_generator(image: Tensor) -> torch.Generator:
    """A generator of the CPU that depends on one image (C, H, W) alone, through its 8-bit pixels.

    So every model sees the same noise on the same image, whatever else is in the batch.
    """
    import torch

    bits = (image.detach().cpu() * 255).round().to(torch.uint8).contiguous().numpy()
    return torch.Generator().manual_seed(zlib.crc32(bits.tobytes()))


def blurred(x: Tensor) -> Tensor:
    """Images (B, C, H, W) under a Gaussian blur of σ = H/8 pixels, reflected at the border."""
    import numpy as np
    import torch
    from scipy.ndimage import gaussian_filter1d

    sigma = x.shape[-2] / 8

    def along(side: int) -> Tensor:  # blurring is linear: the matrix is what it makes of the unit
        matrix = gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect")
        return torch.from_numpy(matrix).to(x)

    return (along(x.shape[-2]) @ x @ along(x.shape[-1]).T).clamp(0, 1)
