"""Networks that follow another one as a moving average, and a queue of their outputs."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


def frozen_copy(module: M) -> M:
    """A copy with its own weights and no gradient: the start of a momentum network."""
    twin = copy.deepcopy(module)
    twin.requires_grad_(False)
    return twin


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """θ_target ← m·θ_target + (1−m)·θ_online for parameters (He 2020, eq. 2).

    BatchNorm's running statistics are not averaged: the target sees batches of its own in
    training mode and keeps its own.
    """
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - momentum)


def cosine_momentum(base: float, step: int, steps: int) -> float:
    """BYOL's τ (Grill 2020, §3.3): 1 − (1−τ₀)·(cos(πk/K)+1)/2, from τ₀ at step 0 up to 1."""
    return 1 - (1 - base) * (math.cos(math.pi * min(step, steps) / max(steps, 1)) + 1) / 2


class KeyQueue(nn.Module):
    """A ring buffer of the last K keys, which wraps for any batch size (He 2020, §3.2).

    A key is written exactly once, whatever the batch size and whether or not it divides K. Keys
    and pointer are buffers, so a checkpoint holds them. It starts full of random unit vectors, as
    the paper's code does.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"a queue needs at least one key, not {length}")
        self.register_buffer("keys", F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, k: Tensor) -> None:
        """Write a batch of unit keys (B, D) over the oldest ones; of B > K only the last K stay."""
        length = len(self.keys)
        k = k[-length:]
        # The pointer stays on the device: reading it here would wait for the GPU in every step.
        places = (self.pointer + torch.arange(len(k), device=k.device)) % length
        self.keys.index_copy_(0, places, k.to(self.keys.dtype))
        self.pointer.add_(len(k)).remainder_(length)
