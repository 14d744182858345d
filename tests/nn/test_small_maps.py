"""Convolutions of small maps as products, against PyTorch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.nn.small_maps import small_maps

CPU = torch.device("cpu")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_a_product_is_the_convolution(size: tuple[int, int], bias: bool) -> None:
    """Outputs and all gradients, in float64."""
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 4, 3, padding=1, bias=bias).double()
    x = torch.rand(6, 5, *size, dtype=torch.float64, requires_grad=True)
    inputs = (x, *conv.parameters())
    wanted = torch.rand(6, 4, *size, dtype=torch.float64)
    expected = conv(x)
    gradients = torch.autograd.grad(expected, inputs, wanted)
    with small_maps(CPU):
        found = conv(x)
    assert "Convolution" not in found.grad_fn.next_functions[0][0].name()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for mine, other in zip(torch.autograd.grad(found, inputs, wanted), gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_under_autocast_it_is_as_near_as_the_convolution() -> None:
    """In bfloat16, both against float64, over a weight in float32 and its gradient."""
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 32, 3, padding=1, bias=False)
    exact = nn.Conv2d(64, 32, 3, padding=1, bias=False).double()
    exact.load_state_dict(conv.state_dict())
    x = torch.rand(16, 64, 2, 2).bfloat16()
    truth = exact(x.double())
    (right,) = torch.autograd.grad(truth.sum(), list(exact.parameters()))
    errors = {}
    for name, context in (("product", small_maps(CPU)), ("conv", small_maps(torch.device("meta")))):
        with torch.autocast("cpu", torch.bfloat16), context:
            out = conv(x)
        assert out.dtype == torch.bfloat16
        (gradient,) = torch.autograd.grad(out.sum(), list(conv.parameters()))
        assert gradient.dtype == torch.float32
        pairs = ((out.detach(), truth.detach()), (gradient, right))
        errors[name] = [float((mine - other).abs().max()) for mine, other in pairs]
    for mine, other in zip(errors["product"], errors["conv"], strict=True):
        assert mine <= 2 * other


@pytest.mark.parametrize(
    "changed",
    [
        {"stride": 2},
        {"padding": 0},
        {"padding": "same"},
        {"dilation": 2, "padding": 2},
        {"groups": 5},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 5, "padding": 2},
    ],
)
def test_other_convolutions_are_pytorchs(changed: dict[str, int]) -> None:
    settings = {"kernel_size": 3, "padding": 1} | changed
    conv = nn.Conv2d(5, 5, **settings)
    side = 3 if settings["padding"] == 0 and settings["kernel_size"] == 3 else 2
    x = torch.rand(4, 5, side, side)
    with small_maps(CPU):
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, *_rest(conv)))
    larger = nn.Conv2d(5, 5, 3, padding=1)
    x = torch.rand(4, 5, 2, 3)
    expected = larger(x)
    with small_maps(CPU):
        assert torch.equal(larger(x), expected)


def _rest(conv: nn.Conv2d) -> tuple[object, ...]:
    return conv.stride, conv.padding, conv.dilation, conv.groups
