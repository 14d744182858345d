"""Each objective against a slow NumPy version, closed forms, and another library."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from headstart.nn.losses import info_nce, negative_cosine, normalised_mse, nt_xent

torch.set_num_threads(1)  # many small operations: more threads only wait for each other

Loss = Callable[..., Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# --- slow references ---------------------------------------------------------------------------


def slow_nt_xent(z1: Tensor, z2: Tensor, T: float) -> float:
    """SimCLR's equation 1 as it stands, one pair after the other."""
    z = unit(np.concatenate([z1.double().numpy(), z2.double().numpy()]))
    batch, total = len(z1), 0.0
    for i in range(2 * batch):
        j = (i + batch) % (2 * batch)
        others = sum(math.exp(float(z[i] @ z[k]) / T) for k in range(2 * batch) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[j]) / T) / others)
    return total / (2 * batch)


def slow_info_nce(q: Tensor, k: Tensor, queue: Tensor, T: float) -> float:
    """MoCo's equation 1: one positive and K negatives for every query."""
    q_, k_ = unit(q.double().numpy()), unit(k.double().numpy())
    total = 0.0
    for i in range(len(q_)):
        positive = math.exp(float(q_[i] @ k_[i]) / T)
        negatives = sum(math.exp(float(q_[i] @ old) / T) for old in queue.double().numpy())
        total -= math.log(positive / (positive + negatives))
    return total / len(q_)


def slow_negative_cosine(p: Tensor, z: Tensor) -> float:
    p_, z_ = unit(p.double().numpy()), unit(z.double().numpy())
    return -sum(float(a @ b) for a, b in zip(p_, z_, strict=True)) / len(p_)


def slow_normalised_mse(p: Tensor, z: Tensor) -> float:
    """BYOL's equation 2: the squared distance of the unit vectors."""
    p_, z_ = unit(p.double().numpy()), unit(z.double().numpy())
    return sum(float(((a - b) ** 2).sum()) for a, b in zip(p_, z_, strict=True)) / len(p_)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("T", [0.07, 0.2, 0.5, 1.0])
def test_losses_are_their_papers_equations(batch: int, T: float) -> None:
    a, b = normal(batch, 8), normal(batch, 8, seed=1) * 3
    queue = F.normalize(normal(11, 8, seed=2), dim=1)
    assert float(nt_xent(a, b, T)) == pytest.approx(slow_nt_xent(a, b, T), abs=2e-5)
    assert float(info_nce(a, b, queue, T)) == pytest.approx(slow_info_nce(a, b, queue, T), abs=2e-5)
    assert float(negative_cosine(a, b)) == pytest.approx(slow_negative_cosine(a, b), abs=1e-6)
    assert float(normalised_mse(a, b)) == pytest.approx(slow_normalised_mse(a, b), abs=1e-6)


# --- closed forms ------------------------------------------------------------------------------


def test_perfect_keys_and_an_orthogonal_queue_cost_nothing_as_T_falls() -> None:
    """Never ln 2: that is what a key costs that stands in the queue while it is looked for."""
    q = torch.eye(6)[:3]
    queue = torch.eye(6)[3:]
    losses = [float(info_nce(q, q, queue, T)) for T in (1.0, 0.5, 0.2, 0.1, 0.05)]
    for loss, T in zip(losses, (1.0, 0.5, 0.2, 0.1, 0.05), strict=True):
        assert loss == pytest.approx(math.log1p(3 * math.exp(-1 / T)), abs=1e-6)
    assert losses[-1] < 1e-6
    own_key_in_queue = float(info_nce(q, q, torch.cat([queue, q[:1]]), 0.01))
    assert own_key_in_queue == pytest.approx(math.log(2) / 3, abs=1e-6)


def test_without_a_queue_there_is_nothing_to_tell_apart() -> None:
    assert float(info_nce(normal(4, 8), normal(4, 8, seed=1), torch.empty(0, 8), 0.1)) == 0


def test_aligned_and_orthogonal_views_cost_simclr_almost_nothing() -> None:
    z = torch.eye(4)
    for T in (0.5, 0.1):
        expected = math.log1p(6 * math.exp(-1 / T))
        assert float(nt_xent(z, z, T)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch", [2, 5, 64])
@pytest.mark.parametrize("T", [0.1, 0.5])
def test_what_says_nothing_costs_the_logarithm_of_the_candidates(batch: int, T: float) -> None:
    same = torch.ones(batch, 8)
    queue = F.normalize(torch.ones(37, 8), dim=1)
    assert float(nt_xent(same, same, T)) == pytest.approx(math.log(2 * batch - 1), abs=1e-5)
    assert float(info_nce(same, same, queue, T)) == pytest.approx(math.log(38), abs=1e-5)


def test_regression_losses_at_their_ends() -> None:
    p = normal(5, 8)
    assert float(negative_cosine(p, 7 * p)) == pytest.approx(-1, abs=1e-6)
    assert float(negative_cosine(p, -p)) == pytest.approx(1, abs=1e-6)
    assert float(normalised_mse(p, 0.1 * p)) == pytest.approx(0, abs=1e-6)
    assert float(normalised_mse(p, -p)) == pytest.approx(4, abs=1e-6)
    assert float(normalised_mse(torch.eye(4), torch.eye(4).roll(1, 0))) == pytest.approx(2)


def test_a_dead_output_has_cosine_zero_and_no_nan() -> None:
    """A loss of −2·cos that reads 0 is a dead network, not a collapsed one."""
    dead = torch.zeros(3, 8, requires_grad=True)
    loss = normalised_mse(dead, normal(3, 8))
    assert float(loss.detach()) == 2
    loss.backward()
    assert dead.grad is not None
    assert bool(dead.grad.isfinite().all())
    assert bool(nt_xent(torch.zeros(3, 8), torch.zeros(3, 8), 0.1).isfinite())


@given(st.integers(1, 12), st.floats(0.05, 2), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_limits_and_symmetries(batch: int, T: float, seed: int) -> None:
    a, b = normal(batch, 6, seed=seed), normal(batch, 6, seed=seed + 100)
    queue = F.normalize(normal(9, 6, seed=seed + 200), dim=1)
    assert float(nt_xent(a, b, T)) >= 0
    assert float(info_nce(a, b, queue, T)) >= 0
    assert -1 <= float(negative_cosine(a, b)) <= 1
    assert 0 <= float(normalised_mse(a, b)) <= 4
    assert float(nt_xent(a, b, T)) == pytest.approx(float(nt_xent(b, a, T)), abs=1e-5)
    assert float(nt_xent(a, b, T)) == pytest.approx(float(nt_xent(5 * a, 0.1 * b, T)), abs=1e-4)
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    assert float(nt_xent(a[order], b[order], T)) == pytest.approx(float(nt_xent(a, b, T)), abs=1e-5)
    shuffled = info_nce(a[order], b[order], queue.flip(0), T)
    assert float(shuffled) == pytest.approx(float(info_nce(a, b, queue, T)), abs=1e-5)


# --- another library ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lightly_losses() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        return pytest.importorskip("lightly.loss")


@pytest.mark.parametrize("T", [0.1, 0.5])
def test_nt_xent_is_lightlys(lightly_losses: Any, T: float) -> None:
    a, b = normal(9, 16), normal(9, 16, seed=1)
    theirs = lightly_losses.NTXentLoss(temperature=T)(a, b)
    assert float(nt_xent(a, b, T)) == pytest.approx(float(theirs), abs=1e-5)


def test_info_nce_is_lightlys_nt_xent_with_a_memory_bank(lightly_losses: Any) -> None:
    a, b = normal(9, 16), normal(9, 16, seed=1)
    theirs = lightly_losses.NTXentLoss(temperature=0.2, memory_bank_size=(32, 16))
    theirs.eval()  # so that its bank is filled and then left alone
    bank = F.normalize(normal(32, 16, seed=2), dim=1)
    theirs.memory_bank.bank = bank
    theirs.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    expected = theirs(a, b)
    assert float(info_nce(a, b, bank, 0.2)) == pytest.approx(float(expected), abs=1e-5)


def test_negative_cosine_is_lightlys(lightly_losses: Any) -> None:
    a, b = normal(9, 16), normal(9, 16, seed=1)
    theirs = float(lightly_losses.NegativeCosineSimilarity()(a, b))
    assert float(negative_cosine(a, b)) == pytest.approx(theirs, abs=1e-6)
    assert float(normalised_mse(a, b)) == pytest.approx(2 + 2 * theirs, abs=1e-6)


# --- numbers of every width --------------------------------------------------------------------

QUEUE = F.normalize(normal(64, 16, seed=9), dim=1)
LOSSES: dict[str, Loss] = {
    "nt_xent": lambda a, b: nt_xent(a, b, 0.1),
    "info_nce": lambda a, b: info_nce(a, b, QUEUE, 0.1),
    "negative_cosine": negative_cosine,
    "normalised_mse": normalised_mse,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_are_finite_and_losses_float32(name: str, dtype: torch.dtype) -> None:
    a = (normal(6, 16) * 100).to(dtype).requires_grad_()
    b = normal(6, 16, seed=1).to(dtype)
    loss = LOSSES[name](a, b)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    loss.backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())
    assert bool((a.grad != 0).any())


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_under_autocast_is_the_loss_without_it(name: str) -> None:
    """A matrix product in bfloat16 would shift logits over T = 0.1 by some hundredths."""
    a, b = normal(6, 16), normal(6, 16, seed=1)
    exact = LOSSES[name](a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = LOSSES[name](a, b)
    assert mixed.dtype == torch.float32
    assert float(mixed) == float(exact)


def test_a_queue_of_half_precision_is_read() -> None:
    a, b = normal(6, 16), normal(6, 16, seed=1)
    half = info_nce(a, b, QUEUE.bfloat16(), 0.1)
    assert float(half) == pytest.approx(float(LOSSES["info_nce"](a, b)), abs=0.05)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    a = normal(3, 4)
    a.requires_grad_()
    b = normal(3, 4, seed=1)
    queue_loss = {"info_nce": lambda x, y: info_nce(x, y, F.normalize(normal(5, 4, seed=2)), 0.5)}
    loss = queue_loss.get(name, {**LOSSES, "nt_xent": lambda x, y: nt_xent(x, y, 0.5)}[name])
    loss(a, b).backward()
    assert a.grad is not None
    step = 1e-2
    for i in range(3):
        for j in range(4):
            move = torch.zeros(3, 4)
            move[i, j] = step
            slope = (float(loss(a.detach() + move, b)) - float(loss(a.detach() - move, b))) / (
                2 * step
            )
            assert float(a.grad[i, j]) == pytest.approx(slope, abs=2e-3)
