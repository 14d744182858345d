"""k nearest neighbours on frozen features: nothing is tuned.

The votes are weighted by exp(cosine / T), with k = 20 and T = 0.07 as defaults (Wu et al., 2018,
"Unsupervised feature learning via non-parametric instance discrimination", section 3.4, uses the
same weights with k = 200; Caron et al., 2021, "DINO", found k = 20 to work best).
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-6  # share of the votes given to a class without any: a finite score, never a winner
CHUNK = 1024  # queries per block of similarities


def knn_logits(
    train_x: Tensor,
    train_y: Tensor,
    x: Tensor,
    classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Tensor:
    """Class scores (N, C) float32 of the queries ``x`` (N, D): the log of each class's vote share.

    ``train_x`` (M, D) and ``train_y`` (M,) are the neighbours; if there are fewer than ``k``, all
    of them vote. A class without votes gets log ``FLOOR``.

    Raises:
        ValueError: no neighbours, ``k`` or ``temperature`` not positive, or a label out of range.
    """
    _check(train_x, train_y, classes, k, temperature)
    bank = _normalise(train_x)
    shares = [
        _vote_shares(queries @ bank.T, train_y, classes, k, temperature)
        for queries in torch.split(_normalise(x), CHUNK)
    ]
    return torch.cat(shares).clamp_min(FLOOR).log()


def knn_accuracy(
    x: Tensor, y: Tensor, classes: int, k: int = 20, temperature: float = 0.07
) -> float:
    """Leave-one-out balanced accuracy: each image is judged by all others, never by itself.

    Takes features ``x`` (N, D) and labels ``y`` (N,); the mean recall is over the classes that
    occur. A class with one image only has recall 0, as no other image can vote for it.

    Raises:
        ValueError: fewer than two images, ``k`` or ``temperature`` not positive, or a label out of
            range.
    """
    if len(x) < 2:
        raise ValueError("leave-one-out needs at least two images")
    _check(x, y, classes, k, temperature)
    bank = _normalise(x)
    right = torch.empty(len(x), dtype=torch.bool, device=x.device)
    for start in range(0, len(x), CHUNK):
        similarity = bank[start : start + CHUNK] @ bank.T  # (B, N)
        own = torch.arange(len(similarity), device=x.device)
        similarity[own, start + own] = -torch.inf  # weight exp(−∞) = 0
        shares = _vote_shares(similarity, y, classes, min(k, len(x) - 1), temperature)
        right[start + own] = shares.argmax(1) == y[start + own]
    recalls = [right[y == c].double().mean() for c in torch.unique(y).tolist()]
    return float(torch.stack(recalls).mean())


def _check(x: Tensor, y: Tensor, classes: int, k: int, temperature: float) -> None:
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"need as many labels as neighbours, at least one: {len(x)}, {len(y)}")
    if k < 1 or temperature <= 0:
        raise ValueError(f"k and temperature must be positive, not {k} and {temperature}")
    if not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}")


def _normalise(x: Tensor) -> Tensor:
    """Rows of length 1 in float32, so that products are cosines; a zero row stays zero."""
    return torch.nn.functional.normalize(x.detach().float(), dim=1)


def _vote_shares(similarity: Tensor, y: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """(B, C) shares of the votes, from cosines (B, M) to M labelled neighbours."""
    nearest = similarity.topk(min(k, similarity.shape[1]), dim=1)
    weights = (nearest.values / temperature).softmax(1)  # exp(cosine / T), normalised
    onehot = torch.nn.functional.one_hot(y[nearest.indices].long(), classes)  # (B, k, C)
    return torch.einsum("bk,bkc->bc", weights, onehot.to(weights))
