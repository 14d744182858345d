"""Integrated Gradients: exact on linear models, complete on others, honest where it is not."""

from __future__ import annotations

from typing import ClassVar

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


def images(n=6, side=10):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(2))


def relu_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 6 * 6, 4),
    ).eval()


def test_is_exact_on_a_linear_model():
    """Σ over channels of w · (x − baseline), the mean of the baselines 0 and 1 being one half."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 3)).eval()
    x, target = images(), torch.tensor([0, 1, 2, 0, 1, 2])
    weight = model[1].weight.detach()[target].view(6, 3, 10, 10)
    expected = (weight * (x - 0.5)).sum(1)
    found = attribute(model, x, target, "integrated_gradients")
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-6)
    assert bool(found.converged.all())


def test_equals_a_fine_riemann_sum():
    """An independent midpoint rule with 2,000 steps, in double precision."""
    model, x = relu_network(), images(1)
    found = attribute(model, x, torch.tensor([2]), "integrated_gradients").maps[0].double()
    model = model.double()
    total = torch.zeros(10, 10, dtype=torch.float64)
    for level in (0.0, 1.0):
        path = x.double() - level
        alphas = ((torch.arange(2000) + 0.5) / 2000).double().view(-1, 1, 1, 1)
        points = (level + alphas * path).requires_grad_()
        (gradient,) = torch.autograd.grad(model(points)[:, 2].sum(), points)
        total += (gradient.mean(0) * path[0]).sum(0) / 2
    torch.testing.assert_close(found, total, atol=0.05 * float(total.abs().max()), rtol=0)


def test_is_complete_on_a_relu_network():
    """The sum of the mean map is within 5 % of the larger change of score."""
    model, x = relu_network(), images()
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    found = attribute(model, x, target, "integrated_gradients", batch_size=4)
    with torch.no_grad():
        scores, black, white = model(x), model(0 * x), model(0 * x + 1)
    changes = torch.stack([scores - black, scores - white]).gather(
        2, target.expand(2, 6)[..., None]
    )
    changes = changes[..., 0]  # (2, 6)
    allowed = torch.maximum(changes.abs().amax(0), 0.1 * scores.std(0, correction=0)[target])
    assert bool(found.converged.all())
    assert bool(((found.maps.sum((1, 2)) - changes.mean(0)).abs() <= 0.05 * allowed).all())


class Wiggle(nn.Module):
    """A score that oscillates along the path, ``waves`` times: hard to integrate."""

    def __init__(self, waves):
        super().__init__()
        self.waves = waves

    def forward(self, x):
        value = x.flatten(1)[:, :2].sum(1)
        score = value + torch.sin(2 * torch.pi * self.waves * value)
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize(("waves", "passes"), [(1, 27), (8, 81), (16, 243)])
def test_takes_as_many_steps_as_it_needs_and_none_twice(waves, passes):
    """A level has all points of the one before: the passes are those of the last level alone."""

    class Counted(Wiggle):
        points: ClassVar[list[float]] = []

        def forward(self, x):
            if torch.is_grad_enabled():
                self.points.extend(x[:, 0, 0, 0].tolist())
            return super().forward(x)

    x, target = torch.full((1, 3, 4, 4), 0.43), torch.tensor([0])
    Counted.points.clear()
    found = attribute(Counted(waves), x, target, "integrated_gradients", batch_size=10)
    assert bool(found.converged.all())
    black = sorted(point for point in Counted.points if point < 0.43)
    middles = [0.43 * (i + 0.5) / passes for i in range(passes)]
    torch.testing.assert_close(torch.tensor(black), torch.tensor(middles), atol=1e-5, rtol=0)


def test_says_so_when_it_does_not_converge():
    """A jump has no gradient: no number of steps can find it. The other image is unaffected."""

    class Jump(nn.Module):
        def forward(self, x):
            pixel = x[:, 0, 0, 0]
            score = (pixel > 0.7).float() * 5 + x[:, 1, 1, 1]
            return torch.stack([score, 0 * score], 1)

    x = torch.full((2, 3, 4, 4), 0.5)
    x[:, 1, 1, 1] = torch.tensor([0.1, 0.3])
    found = attribute(Jump(), x, torch.tensor([0, 1]), "integrated_gradients")
    assert found.converged.tolist() == [False, True]
    assert found.present.tolist() == [True, False]


def test_both_baselines_must_be_complete():
    """Seen from black the error is −1 and from white +1: the mean is right, and by luck only."""

    class Between(nn.Module):
        def forward(self, x):
            pixel = x[:, 0, 0, 0]
            score = (pixel > 0.25).float() + (pixel > 0.75).float() + 0.01 * x[:, 1, 1, 1]
            return torch.stack([score, 0 * score], 1)

    x = torch.full((1, 3, 4, 4), 0.5)
    found = attribute(Between(), x, torch.tensor([0]), "integrated_gradients")
    assert float(found.maps.sum()) == pytest.approx(0.0, abs=1e-6)
    assert found.converged.tolist() == [False]


def test_is_deterministic():
    model, x, target = relu_network(), images(), torch.zeros(6, dtype=torch.long)
    first, second = (attribute(model, x, target, "integrated_gradients").maps for _ in range(2))
    assert torch.equal(first, second)


def test_is_signed_and_sees_black_and_white():
    """A black pixel counts because the white baseline differs from it, and the reverse."""

    class Pixel(nn.Module):
        def forward(self, x):
            score = x[:, :, 0, 0].sum(1) + 0.5 * x[:, :, 3, 3].sum(1)
            return torch.stack([score, -score], 1)

    x = torch.full((1, 3, 4, 4), 0.5)
    x[..., 0, 0], x[..., 3, 3] = 0.0, 1.0
    maps = attribute(Pixel(), x, torch.tensor([0]), "integrated_gradients").maps[0]
    assert float(maps[0, 0]) == pytest.approx(-1.5)  # 3 channels × (0 − 1), half of it
    assert float(maps[3, 3]) == pytest.approx(0.75)
