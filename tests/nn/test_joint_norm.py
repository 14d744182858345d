"""BatchNorm of a joint batch that several processes hold, against PyTorch's of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

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
