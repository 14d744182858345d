"""DINO's loss against a slow NumPy version and another library, and what moves after a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.methods.dino import DINO, cross_entropy
from headstart.nn.momentum import cosine_momentum
from tiny_study import small_encoder


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(steps: int = 10, **settings: object) -> DINO:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DINO(small_encoder(), steps, **{**DINO.tiny, **settings})  # type: ignore[arg-type]


def slow(teacher: Tensor, student: Tensor, centre: Tensor, sharp: float, flat: float) -> float:
    """Algorithm 1's H, one image after the other."""
    total = 0.0
    for t, s in zip(teacher.double().numpy(), student.double().numpy(), strict=True):
        p = np.exp((t - centre.double().numpy()) / sharp)
        q = np.exp(s / flat)
        total -= float((p / p.sum()) @ np.log(q / q.sum()))
    return total / len(teacher)


@pytest.mark.parametrize(("batch", "k"), [(1, 3), (8, 16), (33, 5)])
def test_the_loss_is_the_papers(batch: int, k: int) -> None:
    t, s, c = normal(batch, k, seed=1), normal(batch, k, seed=2), normal(k, seed=3)
    found = float(cross_entropy(t, s, c, 0.5, 1.3))
    assert found == pytest.approx(slow(t, s, c, 0.5, 1.3), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_loss_is_lightlys() -> None:
    other = pytest.importorskip("lightly.loss").DINOLoss(output_dim=24)
    t, s = [normal(6, 24, seed=i) for i in (1, 2)], [normal(6, 24, seed=i) for i in (3, 4)]
    ours = sum(cross_entropy(t[i], s[1 - i], torch.zeros(24), 0.04, 0.1) for i in (0, 1)) / 2
    assert float(ours) == pytest.approx(float(other(t, s, epoch=0)), rel=1e-5)


def test_equal_outputs_cost_the_logarithm_of_all_prototypes() -> None:
    equal = torch.ones(4, 7)
    assert float(cross_entropy(equal, equal, torch.zeros(7), 0.04, 0.1)) == pytest.approx(
        math.log(7)
    )


def test_the_centre_and_the_teacher_move_after_the_step_and_not_before() -> None:
    method = made(momentum=0.9)
    x1, x2 = torch.rand(2, 6, 3, 16, 16)
    before = [p.clone() for p in method.teacher.parameters()]
    method.loss(x1, x2).backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert float(method.centre.abs().sum()) == 0
    outputs = torch.cat(method._seen)
    with torch.no_grad():
        for p in method.parameters():
            if p.requires_grad:
                p.add_(1.0)
    method.after_step(3)
    assert torch.allclose(method.centre, 0.1 * outputs.mean(dim=0))
    m = cosine_momentum(0.9, 3, 10)
    online = [
        *method.encoder.parameters(),
        *method.projector.parameters(),
        method.prototypes.weight,
    ]
    for old, now, own in zip(before, method.teacher.parameters(), online, strict=True):
        assert torch.allclose(now, m * old + (1 - m) * own, atol=1e-6)


def test_prototypes_stand_still_at_first() -> None:
    method = made(steps=4, frozen=0.5)
    for step in range(4):
        method.zero_grad()
        method.loss(*torch.rand(2, 6, 3, 16, 16)).backward()
        moved = float(method.prototypes.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]
        assert moved == (step >= 2)
        method.after_step(step)


def test_the_teacher_warms_up() -> None:
    method = made(steps=10, warm=0.4)
    warmed = []
    for step in range(6):
        warmed.append(float(method._warmed()))
        method.loss(*torch.rand(2, 4, 3, 16, 16))
        method.after_step(step)
    assert warmed == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    assert float(made()._warmed()) == 1


def test_the_head_has_batch_norm_or_none() -> None:
    def norms(method: DINO) -> int:
        return sum(isinstance(m, nn.BatchNorm1d) for m in method.projector.modules())

    assert norms(made()) == 2
    assert norms(made(head_norm=False)) == 0
