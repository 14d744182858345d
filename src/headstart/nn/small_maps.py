"""3 × 3 convolutions of maps of at most 2 × 2 as matrix products, on a processor.

There every output pixel sees every input pixel, and more than half of the kernel's taps see only
padding. A ResNet's last stage has such maps for images of 64 px and less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LARGEST = 2  # side of a map in pixels
ONE = (1, 1)


def small_maps(device: torch.device) -> AbstractContextManager[object]:
    """A context in which such convolutions are products; it does nothing on other devices."""
    return _SmallMaps() if device.type == "cpu" else nullcontext()


class _SmallMaps(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(  # noqa: PLR0913 - the signature is PyTorch's
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.conv2d``, as a product where that is the same."""
    same = (stride, padding, dilation) == (ONE, ONE, ONE) and weight.shape[2:] == (3, 3)
    if same and groups == 1 and input.ndim == 4 and max(input.shape[2:]) <= LARGEST:
        return _product(input, weight, bias)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


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
