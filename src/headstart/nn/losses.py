"""Objectives that several papers share or others test against, as pure functions.

All are computed in float32, under autocast too: a similarity of 8 bits over a small temperature
is off by tenths.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart import ranks


def _unit(x: Tensor) -> Tensor:
    """Rows of length one, (B, D) float32."""
    return F.normalize(x.float(), dim=1)


def exact(x: Tensor) -> torch.autocast:
    """A context in which matrix products stay in float32, even inside autocast."""
    return torch.autocast(x.device.type, enabled=False)


def over_batch(a: Tensor, b: Tensor) -> Tensor:
    """aᵀ·b, (D, D) float32, for two (B, D) of the joint batch; each rank multiplies its rows."""
    with exact(a):
        return ranks.total(ranks.mine(a).T @ ranks.mine(b))


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR (Chen 2020, eq. 1), averaged over both views of every image.

    Args:
        z1: projections of the first views, (B, D).
        z2: projections of the second views of the same images, (B, D).
        temperature: T > 0.

    Returns:
        A scalar ≥ 0; ln(2B−1) when the projections are all equal.
    """
    z = torch.cat([_unit(z1), _unit(z2)])  # (2B, D)
    with exact(z):
        logits = z @ z.T / temperature  # (2B, 2B)
    logits.fill_diagonal_(float("-inf"))  # an image is neither its own positive nor negative
    batch = len(z1)
    positive = torch.arange(2 * batch, device=z.device).roll(batch)
    return F.cross_entropy(logits, positive)


def info_nce(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of MoCo (He 2020, eq. 1): each query against its key and a queue of older keys.

    Args:
        q: queries, (B, D), with gradient.
        k: keys of the same images, (B, D), without gradient.
        queue: older keys of unit length, (K, D); K may be 0 at the very start.
        temperature: T > 0.

    Returns:
        A scalar ≥ 0; ln(1+K) when the embeddings are all equal.
    """
    q, k = _unit(q), _unit(k)
    l_pos = (q * k).sum(dim=1, keepdim=True)  # (B, 1)
    with exact(q):
        l_neg = q @ queue.float().T  # (B, K)
    logits = torch.cat([l_pos, l_neg], dim=1) / temperature  # (B, 1+K)
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """D(p, z) of SimSiam (Chen & He 2021, eq. 1): mean −cos over the batch, in [−1, 1].

    The method decides where the gradient stops; this function does not.
    """
    return -(_unit(p) * _unit(z)).sum(dim=1).mean()


def normalised_mse(p: Tensor, z: Tensor) -> Tensor:
    """The regression loss of BYOL (Grill 2020, eq. 2): mean 2 − 2·cos, in [0, 4]."""
    return 2 + 2 * negative_cosine(p, z)
