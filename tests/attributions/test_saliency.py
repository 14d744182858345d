"""Saliency against the gradient that autograd and finite differences give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.attributions import attribute


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3)
    ).eval()


def test_equals_the_autograd_gradient():
    model, x = network(), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([2, 0, 1, 2])
    leaf = x.clone().requires_grad_()
    score = model(leaf)[torch.arange(4), target].sum()
    (gradient,) = torch.autograd.grad(score, leaf)
    expected = gradient.abs().max(dim=1).values
    assert torch.equal(attribute(model, x, target, "saliency", 4).maps, expected)


def test_equals_finite_differences():
    model, x = network().double(), torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    slopes = torch.zeros(3, 8, 8)
    for channel in range(3):
        for i, j in [(0, 0), (3, 4), (7, 7)]:
            up, down = x.clone(), x.clone()
            up[0, channel, i, j] += 1e-5
            down[0, channel, i, j] -= 1e-5
            slopes[channel, i, j] = (model(up) - model(down))[0, 1].item() / 2e-5
    found = attribute(model.float(), x, torch.tensor([1]), "saliency").maps[0]
    for i, j in [(0, 0), (3, 4), (7, 7)]:
        torch.testing.assert_close(found[i, j], slopes[:, i, j].abs().max(), rtol=1e-4, atol=1e-6)


def test_takes_the_largest_channel_without_its_sign():
    class Weighted(nn.Module):
        def forward(self, x):
            weights = torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1)
            score = (x * weights)[..., 0, 0].sum(1)  # the first pixel only
            return torch.stack([score, 0 * score], 1)

    found = attribute(Weighted(), torch.rand(1, 3, 4, 4), torch.tensor([0]), "saliency").maps[0]
    assert float(found[0, 0]) == 3
    assert int(torch.count_nonzero(found)) == 1
