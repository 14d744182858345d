"""Convolutions of small maps as products, and quiet gradients, against PyTorch's convolution."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.nn.convolutions import faster_convolutions

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
    with faster_convolutions(CPU):
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
    for name, context in (
        ("product", faster_convolutions(CPU)),
        ("conv", faster_convolutions(torch.device("meta"))),
    ):
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
    with faster_convolutions(CPU):
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, *_rest(conv)))
    larger = nn.Conv2d(5, 5, 3, padding=1)
    x = torch.rand(4, 5, 2, 3)
    expected = larger(x)
    with faster_convolutions(CPU):
        assert torch.equal(larger(x), expected)


def _rest(conv: nn.Conv2d) -> tuple[object, ...]:
    return conv.stride, conv.padding, conv.dilation, conv.groups


# --- gradients in float32 ----------------------------------------------------------------------


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "bias": True},
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 4},
    ],
)
def test_quiet_gradients_are_nearer_to_the_truth_than_pytorchs(
    settings: dict[str, Any], two_threads: None
) -> None:
    """Output and gradient of the input are the same bits; of weight and bias, in float32."""
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 16, **({"bias": False} | settings))
    exact = copy.deepcopy(conv).double()
    x = torch.rand(8, 32, 9, 9).bfloat16().requires_grad_()
    exact.weight.data.copy_(conv.weight.bfloat16().double())
    ours, theirs = (_under_autocast(conv, x, c) for c in (faster_convolutions(CPU), nullcontext()))
    wanted = torch.autograd.grad(exact(x.double()).square().sum(), list(exact.parameters()))
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    for mine, other, truth in zip(ours[2:], theirs[2:], wanted, strict=True):
        assert mine.dtype == torch.float32
        errors = [float((g - truth).norm() / truth.norm()) for g in (mine, other)]
        assert errors[0] <= 1.05 * errors[1]
        assert errors[0] < 0.01


def _under_autocast(
    conv: nn.Conv2d, x: torch.Tensor, context: AbstractContextManager[object]
) -> tuple[torch.Tensor, ...]:
    with torch.autocast("cpu", torch.bfloat16), context:
        out = conv(x)
    loss = out.float().square().sum()
    return (out.detach(), *torch.autograd.grad(loss, (x, *conv.parameters())))


def test_no_gradient_of_a_training_is_computed_by_threads_that_spin(two_threads: None) -> None:
    """That is in bfloat16; one thread, float32 and passes without gradient are left alone."""
    conv, x = nn.Conv2d(8, 8, 3, padding=1), torch.rand(2, 8, 9, 9)
    kinds = {}
    for name, context in (
        ("bfloat16", torch.autocast("cpu", torch.bfloat16)),
        ("float32", nullcontext()),
    ):
        with context, faster_convolutions(CPU):
            kinds[name] = type(conv(x).grad_fn).__name__
    torch.set_num_threads(1)
    with torch.autocast("cpu", torch.bfloat16), faster_convolutions(CPU):
        kinds["one thread"] = type(conv(x).grad_fn).__name__
    assert [name for name, kind in kinds.items() if "Quiet" in kind] == ["bfloat16"]
