"""Contracts that every registered attribution keeps: tests run over the registry."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from headstart.attributions import ATTRIBUTIONS, attribute
from headstart.attributions.base import left_as_it_was, without_constant

NAMES = sorted(ATTRIBUTIONS)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Net(nn.Module):
    """A small network with all that can go wrong: normalisation buffers, dropout, modes mixed."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
        )
        self.head = nn.Linear(54, 4)
        self.body[1].running_mean.uniform_(-0.5, 0.5)
        nn.init.normal_(self.head.weight)  # scores that clearly differ from the baselines'

    def forward(self, x):
        return self.head(self.body((x - 0.5) / 0.25))


class Counting(Net):
    """Changes a buffer with each call, even in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Constant(nn.Module):
    """Ignores its input altogether."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.3, -1.0]))

    def forward(self, x):
        return self.bias.expand(len(x), 2)


class Average(nn.Module):
    """The mean of all pixels: each counts alike, so there is nowhere to look."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, -mean], 1)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 3, 12, 10, generator=generator), torch.tensor([0, 1, 2, 3, 0])


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_images_size(name, images):
    x, target = images
    found = attribute(Net(), x, target, name)
    assert found.maps.shape == (5, 12, 10)
    assert found.maps.dtype == torch.float32
    assert not found.maps.requires_grad
    assert found.converged.shape == (5,)
    assert found.converged.dtype == torch.bool
    assert found.present.tolist() == [True] * 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_batched_equals_one_by_one(name, batch_size, images):
    x, target = images
    model = Net()
    together = attribute(model, x, target, name, batch_size=5)
    torch.testing.assert_close(
        attribute(model, x, target, name, batch_size).maps, together.maps, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_images_do_not_influence_each_other(name, images):
    x, target = images
    model = Net()
    together = attribute(model, x, target, name)
    for i in range(5):
        alone = attribute(model, x[i : i + 1], target[i : i + 1], name)
        torch.testing.assert_close(alone.maps[0], together.maps[i], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Net, Counting])
def test_the_model_is_left_exactly_as_it_was(name, kind, images):
    x, target = images
    model = kind()
    model.train()
    model.body[3].eval()  # one part in another mode than the rest
    model.head.bias.requires_grad_(False)
    model(x).sum().backward()  # gradients that must survive
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    before, targets_before = x.clone(), target.clone()

    attribute(model, x, target, name, batch_size=2)

    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, gradient)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(x, before)
    assert torch.equal(target, targets_before)
    assert not x.requires_grad
    assert x.grad is None
    assert not any(module._forward_hooks for module in model.modules())


def test_the_model_is_restored_when_the_method_fails():
    model = Net().train()

    def fail():
        with left_as_it_was(model):
            assert not model.training
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_explains_the_model_in_evaluation_mode(name, images):
    """Dropout and batch statistics would make the map depend on chance and on the batch."""
    x, target = images
    model = Net()
    expected = attribute(model.eval(), x, target, name).maps
    for _ in range(2):
        assert torch.equal(attribute(model.train(), x, target, name).maps, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_switched_off(name, context, images):
    x, target = images
    model = Net()
    expected = attribute(model, x, target, name).maps
    with context():
        inside = attribute(model, x.clone(), target.clone(), name).maps
    torch.testing.assert_close(inside, expected)


@pytest.mark.parametrize("name", NAMES)
def test_computes_in_float32_under_autocast(name, images):
    x, target = images
    model = Net()
    expected = attribute(model, x, target, name).maps
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = attribute(model, x, target, name).maps
    assert torch.equal(inside, expected)


@pytest.mark.parametrize("name", sorted(ATTRIBUTIONS.keys() - {"grad_cam"}))
@pytest.mark.parametrize("model", [Constant(), Average()], ids=["constant", "average"])
def test_a_model_that_looks_nowhere_has_no_map(name, model):
    x = torch.full((3, 3, 16, 16), 0.4)
    found = attribute(model, x, torch.tensor([0, 1, 1]), name)
    assert found.present.tolist() == [False] * 3
    assert int(torch.count_nonzero(found.maps)) == 0
    assert found.converged.tolist() == [True] * 3


def test_constant_maps_are_zeroed_one_by_one():
    maps = torch.full((3, 2, 2), 0.5)
    maps[1, 0, 0] = 0.6
    maps[2] *= 1 + 1e-8 * torch.arange(4.0).view(2, 2)
    zeroed = without_constant(maps)
    assert zeroed.flatten(1).any(1).tolist() == [False, True, False]
    assert torch.equal(zeroed[1], maps[1])


@pytest.mark.parametrize("name", NAMES)
def test_refuses_scores_that_are_not_finite(name, images):
    x, target = images
    model = Net()
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        attribute(model, x, target, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "salience"}, "did you mean 'saliency'"),
        ({"x": torch.rand(5, 12, 10)}, r"must be \(B, C, H, W\)"),
        ({"x": torch.rand(4, 3, 12, 10)}, r"must be \(B, C, H, W\)"),
        ({"x": torch.full((5, 3, 12, 10), 1.1)}, "pixels must lie"),
        ({"x": torch.full((5, 3, 12, 10), torch.nan)}, "pixels must lie"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_refuses_wrong_input(change, message, images):
    x, target = images
    arguments = {"model": Net(), "x": x, "target": target, "name": "saliency", **change}
    with pytest.raises(ValueError, match=message):
        attribute(**arguments)


def test_importing_is_light():
    code = (
        "import sys, headstart.attributions, headstart.attributions.similarity;"
        "sys.exit(int(bool({'torch', 'captum'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
