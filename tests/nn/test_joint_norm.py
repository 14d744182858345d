"""BatchNorm of a joint batch that several processes hold, against PyTorch's of the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.layers.std_conv import StdConv2d
from torch import Tensor, nn

from headstart.nn.joint_norm import by_groups, joint_norm

NORMS = (
    "images",
    "vectors",
    "no scale",
    "no statistics kept",
    "mean of all passes",
    "timm's",
    "bfloat16",
)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", NORMS)
def test_joint_norm_is_batch_norm_of_the_joint_batch(
    name: str, world: int, joint_runs: Path
) -> None:
    """Outputs, all gradients and statistics of two passes; shares of 2 and 3, or 4 and 5."""
    one = torch.load(joint_runs / "normalise-0-of-1.pt")[name]
    rough = {"atol": 0.1, "rtol": 0.02} if name == "bfloat16" else {"atol": 1e-4, "rtol": 1e-4}
    for rank in range(world):
        shared = torch.load(joint_runs / f"normalise-{rank}-of-{world}.pt")[name]
        assert shared.keys() == one.keys()
        for key, tensor in one.items():
            torch.testing.assert_close(shared[key], tensor, **rough, check_dtype=False, msg=key)


def test_one_process_uses_pytorchs_own() -> None:
    norm, twin = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 5, 5)
    with joint_norm():
        assert torch.equal(norm(x), twin(x))


def test_groups_have_statistics_of_their_own() -> None:
    norm, twin = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    groups = torch.rand(7, 3).tensor_split(2)
    together = by_groups((norm, nn.ReLU()), groups)
    assert torch.equal(together, torch.cat([twin(group).relu() for group in groups]))
    assert torch.equal(norm.running_var, twin.running_var)


class ByTokens(nn.Module):
    """BatchNorm of tokens, (B·4, C), as some transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, 4, 3)
        y: Tensor = self.norm(tokens.flatten(0, 1)).reshape(tokens.shape).mean(dim=1)
        return y


class OwnStatistics(nn.Module):
    """Normalises by statistics that it computes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.running_var: Tensor = 0.9 * self.running_var + 0.1 * x.detach().var()
        return (x / x.std()).mean(dim=(2, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "timm's ResNet": lambda: timm.create_model("test_resnet", num_classes=0),
    "standardised weights": lambda: nn.Sequential(
        StdConv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()
    ),
    "tokens": ByTokens,
    "no statistics kept": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()
    ),
    "mean of all passes": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=None), nn.Flatten()
    ),
    "fixed statistics": lambda: nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Flatten()),
    "statistics of its own": OwnStatistics,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_as_if_passed_one_after_the_other(name: str) -> None:
    """Outputs, gradients and statistics; groups of 3, 2 and 2 images."""
    torch.manual_seed(0)
    side = 32 if name == "timm's ResNet" else 2 if name == "tokens" else 5
    network = NETWORKS[name]().double()
    twin = copy.deepcopy(network)
    groups = (torch.rand(7, 3, side, side, dtype=torch.float64) * 3).tensor_split(3)
    together, apart = by_groups((network,), groups), torch.cat([twin(group) for group in groups])
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-11)
    wanted = torch.randn_like(apart)
    for out, model in ((together, network), (apart, twin)):
        if out.requires_grad:
            (out * wanted).sum().backward()
        assert out.requires_grad == any(p.requires_grad for p in model.parameters())
    for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-8, atol=1e-10)
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, twin.state_dict()[key], rtol=1e-9, atol=1e-11, msg=key)
    whole = network(torch.cat(groups))
    assert name == "fixed statistics" or not torch.allclose(whole, apart)
