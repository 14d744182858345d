"""VICReg's loss against a slow NumPy version, another library, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.methods.vicreg import vicreg

WEIGHTS = (25.0, 25.0, 1.0)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(z1: Tensor, z2: Tensor) -> float:
    """Equations 1 to 6, one output and one pair of outputs after the other."""
    batch, d = z1.shape
    total = 25 * float(((z1 - z2).double() ** 2).mean())
    for z in (z1.double().numpy(), z2.double().numpy()):
        for j in range(d):
            std = np.sqrt(z[:, j].var(ddof=1) + 1e-4)
            total += 25 / 2 * max(0.0, 1 - std) / d
            for k in range(d):
                if j != k:
                    a, b = z[:, j] - z[:, j].mean(), z[:, k] - z[:, k].mean()
                    total += float(a @ b / (batch - 1)) ** 2 / d
    return total


@pytest.mark.parametrize(("batch", "d", "scale"), [(2, 3, 1.0), (8, 5, 0.3), (32, 16, 2.0)])
def test_the_loss_is_the_papers(batch: int, d: int, scale: float) -> None:
    z1, z2 = scale * normal(batch, d, seed=1), scale * normal(batch, d, seed=2)
    assert float(vicreg(z1, z2, *WEIGHTS)) == pytest.approx(slow(z1, z2), rel=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_loss_is_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").VICRegLoss()
    z1, z2 = normal(16, 24, seed=3), normal(16, 24, seed=4)
    assert float(vicreg(z1, z2, *WEIGHTS)) == pytest.approx(float(loss(z1, z2)), rel=1e-5)


def test_equal_wide_and_independent_outputs_cost_nothing() -> None:
    z = 2 * torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert float(vicreg(z, z, *WEIGHTS)) == 0


def test_half_precision_is_computed_in_float32() -> None:
    z1, z2 = normal(16, 24, seed=5).half(), normal(16, 24, seed=6).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = vicreg(z1, z2, *WEIGHTS)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(vicreg(z1.float(), z2.float(), *WEIGHTS)), rel=1e-5)
