"""Convolutions of a training on a processor: the same to rounding, in less time.

Of maps of at most 2 × 2 pixels, those with 3 × 3 taps are matrix products: every output pixel sees
every input pixel, and more than half of the taps see only padding. A ResNet's last stage has such
maps for images of 64 px and less.

Gradients of weights are computed in float32 where several threads compute in bfloat16. oneDNN's
kernels for them (seen in PyTorch 2.14) have threads that spin while they wait for one another:
where other programs used the cores too, a step took 26 times as long as with one thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.nn.replaced import Replaced

LARGEST = 2  # side of a map in pixels
ONE = (1, 1)


def faster_convolutions(device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions are computed so; it does nothing on other devices."""
    return Replaced(torch.conv2d, _conv2d) if device.type == "cpu" else nullcontext()


def _conv2d(  # noqa: PLR0913 - the signature is PyTorch's
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.conv2d``, another way where that is the same."""
    same = (stride, padding, dilation) == (ONE, ONE, ONE) and weight.shape[2:] == (3, 3)
    if same and groups == 1 and input.ndim == 4 and max(input.shape[2:]) <= LARGEST:
        return _product(input, weight, bias)
    if _would_spin(weight) and isinstance(padding, tuple):
        return cast(
            Tensor, _QuietGradient.apply(input, weight, bias, stride, padding, dilation, groups)
        )
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _would_spin(weight: Tensor) -> bool:
    """Whether the weight's gradient would be one of several threads in bfloat16."""
    narrow = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    trains = weight.requires_grad and torch.is_grad_enabled()
    return narrow and trains and torch.get_num_threads() > 1


class _QuietGradient(torch.autograd.Function):
    """``torch.conv2d`` in bfloat16, as under autocast, with the gradient of its weight, and of its
    bias, computed in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *settings: Any,
    ) -> Tensor:
        x, narrow = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        ctx.settings, ctx.biased = settings, None if bias is None else list(bias.shape)
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(x, narrow, None if bias is None else bias.bfloat16(), *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        how = (stride, padding, dilation, False, (0, 0), groups)
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        backward = torch.ops.aten.convolution_backward
        of_x = of_weight = of_bias = None
        if for_x:
            of_x, _, _ = backward(gradient, x, weight.bfloat16(), None, *how, (True, False, False))
        if for_weight or for_bias:
            asked = (False, for_weight, for_bias)
            wide = (gradient.float(), x.float(), weight.float())
            _, of_weight, of_bias = backward(*wide, ctx.biased, *how, asked)
        return of_x, of_weight, of_bias, None, None, None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W) with H and W of 1 or 2 to (B, D, H, W), in channels-last memory."""
    batch, _, height, width = x.shape
    taps = weight.to(x.dtype).permute(0, 2, 3, 1)  # (D, 3, 3, C), narrow before it is copied
    seen = [  # by output (y, x): the taps that lie on the map
        taps[:, 1 - y : 1 - y + height, 1 - z : 1 - z + width]
        for y in range(height)
        for z in range(width)
    ]
    table = torch.stack(seen).reshape(height * width * len(weight), -1)  # (H·W·D, H·W·C)
    flat = x.permute(0, 2, 3, 1).reshape(batch, -1)
    repeated = None if bias is None else bias.repeat(height * width)
    out = F.linear(flat, table, repeated)
    return out.view(batch, height, width, -1).permute(0, 3, 1, 2)
