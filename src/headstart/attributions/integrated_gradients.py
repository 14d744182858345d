"""Integrated Gradients (Sundararajan, Taly and Yan, 2017, "Axiomatic attribution")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.attributions.base import Maps

if TYPE_CHECKING:
    from torch import Tensor, nn

BASELINES = (0.0, 1.0)  # black and white: one colour alone cannot see itself (Sturmfels, 2020)
STEPS = (32, 64, 128, 256)  # tried in turn until the map is complete


def integrated_gradients(model: nn.Module, x: Tensor, target: Tensor, batch_size: int = 64) -> Maps:
    """The mean of the maps from a black and from a white image, summed over channels; signed.

    The values of a map add up to the image's score minus the mean score of the two baselines
    (completeness, proposition 1). A map has converged if for either baseline the error δ of that
    sum obeys |δ| ≤ 0.05 · max(|z(x) − z(baseline)|, 0.1 · s), with s the standard deviation of
    the class's score over all images of this call: a tiny change of the score, of which 5 % would
    be next to nothing, does not matter.
    """
    import torch

    scores = _scores(model, x, batch_size)  # (B, C)
    own = scores.gather(1, target[:, None]).squeeze(1)
    spread = scores.std(0, correction=0)[target]
    rounding = 1e-6 * scores.abs().amax()
    maps, converged = x.new_zeros(len(x), *x.shape[2:]), torch.ones_like(target, dtype=torch.bool)
    for level in BASELINES:
        baseline = torch.full_like(x[:1], level)
        change = own - _scores(model, baseline, 1)[0, target]
        allowed = 0.05 * torch.maximum(change.abs(), 0.1 * spread) + rounding
        todo = torch.arange(len(x), device=x.device)
        part = torch.zeros_like(maps)
        for steps in STEPS:
            part[todo] = _path_integral(model, x[todo], target[todo], baseline, steps, batch_size)
            error = (part.double().sum((1, 2)) - change).abs()
            todo = torch.nonzero(error > allowed).squeeze(1)
            if len(todo) == 0:
                break
        maps += part / len(BASELINES)
        converged[todo] = False
    return Maps(maps, converged)


def _scores(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    import torch

    with torch.no_grad():
        return torch.cat([model(images) for images in torch.split(x, batch_size)])


def _path_integral(
    model: nn.Module, x: Tensor, target: Tensor, baseline: Tensor, steps: int, batch_size: int
) -> Tensor:
    """(B, H, W): gradients along the straight path, by Gauss–Legendre quadrature."""
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    batches = zip(torch.split(x, batch_size), torch.split(target, batch_size), strict=True)
    return torch.cat(
        [
            method.attribute(
                images,
                baselines=baseline.expand_as(images),
                target=classes,
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=batch_size,  # never fewer than the images of a batch
            ).sum(1)
            for images, classes in batches
        ]
    )
