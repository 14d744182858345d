"""Integrated Gradients (Sundararajan, Taly and Yan, 2017, "Axiomatic attribution")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.attributions.base import Case, Maps, shown_as

if TYPE_CHECKING:
    from torch import Tensor

BASELINES = (0.0, 1.0)  # black and white: one colour alone cannot see itself (Sturmfels, 2020)
STEPS = (27, 81, 243)  # tried in turn until the map is complete; each holds the one before


@shown_as("Integrated Gradients", signed=True)
def integrated_gradients(case: Case) -> Maps:
    """The mean of the maps from a black and from a white image, summed over channels; signed.

    The values of a map add up to the image's score minus the mean score of the two baselines
    (completeness, proposition 1). A map has converged if for either baseline the error δ of that
    sum obeys |δ| ≤ 0.05 · max(|z(x) − z(baseline)|, 0.1 · s), with s the standard deviation of
    the class's score over all images of this call: a tiny change of the score, of which 5 % would
    be next to nothing, does not matter.

    The path is summed at the middles of equal steps. Three times as many steps have all the old
    middles among theirs, so nothing is computed twice; and a network of ReLUs is linear piece by
    piece, where a rule of higher order gains nothing.
    """
    import torch

    x, target = case.x, case.target
    scores = case.scores(x)  # (B, C)
    own = scores.gather(1, target[:, None]).squeeze(1)
    spread = scores.std(0, correction=0)[target]
    rounding = 1e-6 * scores.abs().amax()
    baselines = torch.stack([torch.full_like(x[0], level) for level in BASELINES])
    changes = own - case.scores(baselines)[:, target]  # (2, B)
    maps, converged = x.new_zeros(len(x), *x.shape[2:]), torch.ones_like(target, dtype=torch.bool)
    for baseline, change in zip(baselines, changes, strict=True):
        allowed = 0.05 * torch.maximum(change.abs(), 0.1 * spread) + rounding
        todo = torch.arange(len(x), device=x.device)
        sums = torch.zeros_like(maps)
        part = torch.zeros_like(maps)
        for steps in STEPS:
            sums[todo] += _along_path(case, todo, baseline, _new_middles(steps))
            part[todo] = sums[todo] / steps
            error = (part.double().sum((1, 2)) - change).abs()
            todo = torch.nonzero(error > allowed).squeeze(1)
            if len(todo) == 0:
                break
        maps += part / len(BASELINES)
        converged[todo] = False
    return Maps(maps, converged)


def _new_middles(steps: int) -> list[float]:
    """Middles of ``steps`` equal steps in [0, 1] that a third as many steps do not have."""
    turns = range(steps) if steps == STEPS[0] else (i for i in range(steps) if i % 3 != 1)
    return [(i + 0.5) / steps for i in turns]


def _along_path(case: Case, todo: Tensor, baseline: Tensor, alphas: list[float]) -> Tensor:
    """Sums (T, H, W) of (x − b) · ∂z/∂x at b + α (x − b), for the images ``todo`` (T,)."""
    import torch

    along = torch.tensor(alphas, device=case.x.device).view(-1, 1, 1, 1)
    together = max(1, case.batch_size // len(alphas))  # images whose points fill a batch
    sums = []
    for some in torch.split(todo, together):
        path = case.x[some] - baseline  # (t, C, H, W)
        points = baseline + along * path[:, None]  # (t, A, C, H, W)
        target = case.target[some].repeat_interleave(len(alphas))
        gradients = case.gradients(points.flatten(0, 1), target).view_as(points)
        sums.append((gradients.sum(1) * path).sum(1))
    return torch.cat(sums)
