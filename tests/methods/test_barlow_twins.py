"""Barlow Twins' loss against a slow NumPy version, another library, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.methods.barlow_twins import barlow_twins


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(z1: Tensor, z2: Tensor, redundancy: float) -> float:
    """Equations 1 and 2, one correlation after the other."""
    a, b = (z.double().numpy() for z in (z1, z2))
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = np.corrcoef(a[:, i], b[:, j])[0, 1]
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


@pytest.mark.parametrize(("batch", "d"), [(3, 3), (8, 5), (32, 16)])
def test_the_loss_is_the_papers(batch: int, d: int) -> None:
    z1, z2 = 3 * normal(batch, d, seed=1) + 1, normal(batch, d, seed=2)
    assert float(barlow_twins(z1, z2, 5e-3)) == pytest.approx(slow(z1, z2, 5e-3), rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_the_loss_is_lightlys() -> None:
    loss = pytest.importorskip("lightly.loss").BarlowTwinsLoss()
    z1, z2 = normal(64, 24, seed=3), normal(64, 24, seed=4)
    assert float(barlow_twins(z1, z2, 5e-3)) == pytest.approx(float(loss(z1, z2)), rel=1e-3)


def test_equal_and_independent_outputs_cost_nothing() -> None:
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert float(barlow_twins(z, 5 * z, 5e-3)) == pytest.approx(0, abs=1e-6)


def test_a_constant_output_costs_its_width() -> None:
    z = torch.ones(8, 24)
    assert float(barlow_twins(z, z, 5e-3)) == 24


def test_half_precision_is_computed_in_float32() -> None:
    z1, z2 = normal(16, 24, seed=5).half(), normal(16, 24, seed=6).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = barlow_twins(z1, z2, 5e-3)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(
        float(barlow_twins(z1.float(), z2.float(), 5e-3)), rel=1e-5
    )
