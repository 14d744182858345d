"""Projectors and predictors: small MLPs, spelled by their widths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(
    widths: Sequence[int], *, hidden_norm: bool, output_norm: bool = False, affine: bool = True
) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them.

    Args:
        widths: input, hidden…, output; at least two.
        hidden_norm: BatchNorm after every hidden layer.
        output_norm: BatchNorm after the last layer (no ReLU there).
        affine: whether that last BatchNorm learns a scale and a shift.

    A bias before a BatchNorm is cancelled by it and therefore left out.
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        norm = output_norm if i == last else hidden_norm
        layers.append(nn.Linear(n_in, n_out, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(n_out, affine=affine or i != last))
        if i != last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
