"""Moving averages to the last digit, and a ring that wraps for every batch size."""

from __future__ import annotations

import math
from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.nn.momentum import KeyQueue, cosine_momentum, follow, frozen_copy


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


# --- moving averages ---------------------------------------------------------------------------


def test_a_frozen_copy_has_its_own_weights_and_no_gradient() -> None:
    online = network()
    target = frozen_copy(online)
    assert all(p.requires_grad for p in online.parameters())
    assert not any(p.requires_grad for p in target.parameters())
    for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()
    with torch.no_grad():
        next(online.parameters()).add_(1)
    assert not torch.equal(next(target.parameters()), next(online.parameters()))


@pytest.mark.parametrize("m", [0.0, 0.5, 0.99, 0.999, 1.0])
def test_the_average_is_exact_after_one_and_three_steps(m: float) -> None:
    online, target = network(0), frozen_copy(network(1))
    expected = [p.double() for p in target.parameters()]
    for step in range(3):
        with torch.no_grad():
            for p in online.parameters():
                p.add_(step + 1)
        follow(target, online, m)
        expected = [
            m * e + (1 - m) * p.detach().double()
            for e, p in zip(expected, online.parameters(), strict=True)
        ]
        if step in (0, 2):
            for mine, exact in zip(target.parameters(), expected, strict=True):
                assert torch.allclose(mine.double(), exact, atol=1e-6, rtol=1e-6)


def test_statistics_of_batches_are_not_averaged() -> None:
    online, target = network(), frozen_copy(network())
    online(torch.randn(8, 5) * 10)
    follow(target, online, 0.0)
    assert torch.equal(target[0].weight, online[0].weight)
    assert not torch.equal(target[1].running_var, online[1].running_var)
    assert torch.equal(target[1].running_var, torch.ones(4))


def test_following_leaves_no_trace_in_the_online_network() -> None:
    online, target = network(0), frozen_copy(network(1))
    before = [p.clone() for p in online.parameters()]
    follow(target, online, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(before, online.parameters(), strict=True))
    assert not any(p.requires_grad or p.grad_fn is not None for p in target.parameters())


@pytest.mark.parametrize("base", [0.97, 0.99, 0.996])
@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_byols_momentum_begins_at_its_base_and_ends_at_one(base: float, steps: int) -> None:
    assert cosine_momentum(base, 0, steps) == pytest.approx(base, abs=1e-12)
    assert cosine_momentum(base, steps // 2, steps) == pytest.approx((1 + base) / 2, abs=1e-12)
    last = 1 - (1 - base) * (math.cos(math.pi * (steps - 1) / steps) + 1) / 2
    assert cosine_momentum(base, steps - 1, steps) == pytest.approx(last, abs=1e-12)
    assert cosine_momentum(base, steps, steps) == 1
    assert cosine_momentum(base, 10 * steps, steps) == 1
    values = [cosine_momentum(base, step, steps) for step in range(steps + 1)]
    assert values == sorted(values)


def test_a_run_of_no_steps_has_a_momentum() -> None:
    assert cosine_momentum(0.99, 0, 0) == pytest.approx(0.99)


# --- the queue ---------------------------------------------------------------------------------


def numbered(first: int, count: int) -> Tensor:
    """Keys that can be told apart: the i-th is (i, 0, 0)."""
    keys = torch.zeros(count, 3)
    keys[:, 0] = torch.arange(first, first + count)
    return keys


def oldest_first(queue: KeyQueue) -> list[float]:
    return queue.keys.roll(-int(queue.pointer), 0)[:, 0].tolist()


@given(st.integers(1, 17), st.lists(st.integers(1, 40), min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_the_queue_is_a_deque_for_any_batches(length: int, batches: list[int]) -> None:
    """Of any lengths, divisors of K or not, longer than K too, and past any number of wraps."""
    queue = KeyQueue(length, 3)
    queue.keys.zero_()
    reference: deque[float] = deque([0.0] * length, maxlen=length)
    written = 0
    for batch in batches:
        keys = numbered(written + 1, batch)
        queue.enqueue(keys)
        reference.extend(keys[:, 0].tolist())
        written += batch
        assert queue.keys.shape == (length, 3)
        assert 0 <= int(queue.pointer) < length
        assert oldest_first(queue) == list(reference)


def test_two_wraps_with_a_last_batch_of_two() -> None:
    """32,642 images in batches of 32 into 65,536 keys, scaled: N = 10·B + 2, K = 4·B.

    The last batch of 2 divides the queue, so an assertion of divisibility would have passed, and
    a slice at the pointer would have failed at the next wrap.
    """
    B = 8
    queue = KeyQueue(4 * B, 3)
    written = 0
    for _ in range(3):
        for batch in [*[B] * 10, 2]:
            queue.enqueue(numbered(written, batch))
            written += batch
    assert written > 2 * 4 * B
    assert oldest_first(queue) == list(range(written - 4 * B, written))


def test_it_starts_full_of_different_unit_vectors() -> None:
    queue = KeyQueue(50, 16)
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(50), atol=1e-6)
    assert float((queue.keys @ queue.keys.T - torch.eye(50)).abs().max()) < 0.99
    assert int(queue.pointer) == 0


def test_a_checkpoint_holds_keys_and_pointer() -> None:
    queue, restored = KeyQueue(7, 3), KeyQueue(7, 3)
    queue.enqueue(numbered(1, 5))
    assert set(queue.state_dict()) == {"keys", "pointer"}
    restored.load_state_dict(queue.state_dict())
    for q in (queue, restored):
        q.enqueue(numbered(6, 4))
    assert torch.equal(queue.keys, restored.keys)
    assert int(queue.pointer) == int(restored.pointer) == 9 % 7


def test_keys_carry_no_gradient_and_any_precision_is_taken() -> None:
    queue = KeyQueue(4, 3)
    keys = F.normalize(torch.randn(2, 3, requires_grad=True), dim=1)
    queue.enqueue(keys)
    queue.enqueue(keys.detach().bfloat16())
    assert not queue.keys.requires_grad
    assert queue.keys.dtype == torch.float32
    assert list(queue.parameters()) == []


@pytest.mark.parametrize("length", [0, -1])
def test_a_queue_of_no_keys_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"at least one key, not {length}"):
        KeyQueue(length, 3)
