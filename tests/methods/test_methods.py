"""What every method in the registry promises, and each paper's own rules."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.methods.byol import BYOL
from headstart.methods.dino import DINO
from headstart.methods.moco import MoCo
from headstart.methods.simsiam import SimSiam
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import Encoder, build_encoder
from headstart.nn.losses import info_nce
from headstart.nn.momentum import cosine_momentum
from headstart.nn.optim import build_optimizer

torch.set_num_threads(1)  # many small operations: more threads only wait for each other

SIDE = 16


class Body(nn.Module):
    """A convolution, BatchNorm and an average: enough for every method's rules, and fast."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(10)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu().mean(dim=(2, 3))


def made(name: str, steps: int = 100, seed: int = 0, **settings: Any) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return METHODS[name](Encoder(Body(), 10), steps, **{**METHODS[name].tiny, **settings})


def views(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, batch, 3, SIDE, SIDE, generator=generator)
    return x[0], x[1]


def train(method: Method, batches: list[int], seed: int = 0, first: int = 0) -> list[float]:
    """Losses of real steps, with the optimiser of the method's small recipe."""
    optim = type(method).recipe("small", 10).optim
    optimizer = build_optimizer(method, optim, 64)
    losses = []
    for step, batch in enumerate(batches, first):
        torch.manual_seed(seed + step)
        loss = method.loss(*views(batch, seed + step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step)
        losses.append(float(loss.detach()))
    return losses


every = pytest.mark.parametrize("name", METHODS)


# --- the contract ------------------------------------------------------------------------------


@every
def test_settings_are_keyword_only(name: str) -> None:
    parameters = list(inspect.signature(METHODS[name].__init__).parameters.values())
    assert [p.name for p in parameters[:3]] == ["self", "encoder", "steps"]
    for p in parameters[3:]:
        assert p.kind is inspect.Parameter.KEYWORD_ONLY
        assert p.default is not inspect.Parameter.empty
        assert p.annotation is not inspect.Parameter.empty


@every
@pytest.mark.parametrize("recipe", ["small", "paper"])
def test_recipes_name_settings_that_exist(name: str, recipe: str) -> None:
    settings = METHODS[name].recipe(recipe, 100).settings
    known = inspect.signature(METHODS[name].__init__).parameters
    assert set(settings) <= set(known)


@every
@pytest.mark.parametrize("batch", [2, 3, 7, 33])
def test_the_loss_is_a_finite_number_with_a_gradient_to_the_encoder(name: str, batch: int) -> None:
    method = made(name)
    loss = method.loss(*views(batch))
    assert loss.shape == ()
    assert bool(loss.isfinite())
    loss.backward()
    for key, p in method.encoder.named_parameters():
        assert p.grad is not None, key
        assert bool(p.grad.isfinite().all()), key
    assert float(sum(p.grad.abs().sum() for p in method.encoder.parameters())) > 0


@every
def test_every_weight_that_is_trained_has_a_gradient(name: str) -> None:
    method = made(name)
    method.loss(*views(6)).backward()
    for key, p in method.named_parameters():
        assert (p.grad is not None) == p.requires_grad, key


@every
def test_the_embedding_is_one_vector_an_image(name: str) -> None:
    method = made(name).eval()
    dim = METHODS[name].tiny["dim"]
    assert method.embed(views(5)[0]).shape == (5, dim)


@every
def test_the_loss_is_what_the_views_say_and_not_their_order(name: str) -> None:
    """All are symmetric by default: exchanging the views changes nothing."""
    method = made(name)
    x1, x2 = views(7)  # one group of shared statistics: nothing is shuffled between groups
    torch.manual_seed(0)
    one = method.loss(x1, x2).detach()
    torch.manual_seed(0)
    two = method.loss(x2, x1).detach()
    assert float(one) == pytest.approx(float(two), abs=1e-5)


@every
def test_a_ragged_epoch_past_two_wraps(name: str) -> None:
    """N = 10·B + 2 and, for a queue, K = 4·B: the sizes that broke on whole data sets only."""
    B = 4
    method = made(name, **({"queue": 4 * B} if name == "moco" else {}))
    losses = train(method, [*[B] * 10, 2] * 2)
    assert all(math.isfinite(loss) for loss in losses)
    if isinstance(method, MoCo):
        written = 2 * 2 * (10 * B + 2)  # two epochs, two keys an image
        assert written > 2 * 4 * B
        assert int(method.queue.pointer) == written % (4 * B)


@every
def test_more_negatives_than_images(name: str) -> None:
    """K larger than the data set and than any batch, and smaller than one batch."""
    for queue in (1000, 3):
        method = made(name, **({"queue": queue} if name == "moco" else {}))
        assert all(math.isfinite(loss) for loss in train(method, [7, 5, 7]))


@every
def test_a_checkpoint_goes_on_as_if_nothing_had_happened(name: str) -> None:
    whole, other = made(name), made(name, seed=9)
    train(whole, [6, 6, 3])
    state = copy.deepcopy(whole.state_dict())
    other.load_state_dict(state)
    expected = train(whole, [6, 2, 6], first=3)
    assert train(other, [6, 2, 6], first=3) == expected  # new optimisers on both sides
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key


@every
def test_training_lowers_the_loss(name: str) -> None:
    """On two fixed views of eight images, seen again and again."""
    method = made(name, steps=60, **({"queue": 12} if name == "moco" else {}))
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    x1, x2 = views(8)
    losses = []
    for step in range(60):
        loss = method.loss(x1, (x1 + 0.2 * x2) / 1.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step)
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < sum(losses[:10])


@every
def test_a_method_runs_on_a_real_backbone(name: str) -> None:
    encoder = build_encoder("test_resnet", image_size=32)
    method = METHODS[name](encoder, 10, **METHODS[name].tiny)
    loss = method.loss(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32))
    loss.backward()
    method.after_step(0)
    assert bool(loss.isfinite())


# --- what learning nothing costs ---------------------------------------------------------------


def constant(module: nn.Module) -> None:
    """Make the last layer of a network say the same of everything."""
    last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is None:
        last.bias = nn.Parameter(torch.ones(last.out_features))
    else:
        nn.init.ones_(last.bias)


@every
@pytest.mark.parametrize("batch", [2, 16])
def test_the_floor_is_what_a_constant_network_pays(name: str, batch: int) -> None:
    """Regression losses are at their lowest there; contrastive ones at the logarithm of all."""
    method = made(name)
    if isinstance(method, SimSiam):
        method.embed = lambda x: torch.ones(len(x), METHODS[name].tiny["dim"]) + 0 * x.mean()  # type: ignore[method-assign]
        method.predictor = nn.Identity()
    elif isinstance(method, BYOL):
        constant(method.predictor)
        constant(method.target[1])
    elif isinstance(method, MoCo):
        constant(method.projector)
        constant(method.f_k[1])
        keys = method.queue.keys
        keys.copy_(torch.full_like(keys, keys.shape[1] ** -0.5))
    elif isinstance(method, DINO):  # no output of its own that is the same for all prototypes
        nn.init.zeros_(method.prototypes.weight)
    else:
        constant(method.projector)  # type: ignore[arg-type]
    loss = float(method.loss(*views(batch)).detach())
    assert loss == pytest.approx(method.loss_floor(batch), abs=1e-4)


# --- each paper's own rules --------------------------------------------------------------------


def test_simsiams_target_is_itself_without_gradient() -> None:
    """No copy of any network; what is predicted gets no gradient; without the stop it would."""
    method = made("simsiam")
    assert {key.split(".")[0] for key, _ in method.named_parameters()} == {
        "encoder",
        "projector",
        "predictor",
    }
    seen: list[Tensor] = []
    inner = method.embed

    def watched(x: Tensor) -> Tensor:
        z = inner(x)
        z.retain_grad()
        seen.append(z)
        return z

    method.embed = watched  # type: ignore[method-assign]
    x1, x2 = views(6)
    method.loss(x1, x2).backward()
    z1, z2 = (z.detach().requires_grad_() for z in seen)
    method.eval()
    method.train()
    p1 = method.predictor(z1)  # type: ignore[operator]
    p2 = method.predictor(z2)  # type: ignore[operator]
    cosine = torch.nn.functional.cosine_similarity
    stopped = -(cosine(p1, z2.detach()).mean() + cosine(p2, z1.detach()).mean()) / 2
    with_stop = torch.autograd.grad(stopped, [z1, z2], retain_graph=True)
    open_ = -(cosine(p1, z2).mean() + cosine(p2, z1).mean()) / 2
    without = torch.autograd.grad(open_, [z1, z2])
    for z, right, wrong in zip(seen, with_stop, without, strict=True):
        assert z.grad is not None
        assert torch.allclose(z.grad, right, atol=1e-6)
        assert not torch.allclose(z.grad, wrong, atol=1e-4)


def target_of(method: Method) -> tuple[nn.Module, Callable[[int], float]]:
    if isinstance(method, BYOL):
        return method.target, lambda step: cosine_momentum(method.base_momentum, step, method.steps)
    assert isinstance(method, MoCo)
    return method.f_k, lambda step: method.m


@pytest.mark.parametrize("name", ["moco", "byol"])
def test_the_target_moves_by_its_average_and_by_nothing_else(name: str) -> None:
    method = made(name, steps=3)
    target, momentum = target_of(method)
    assert not any(p.requires_grad for p in target.parameters())
    online = [*method.encoder.parameters(), *method.projector.parameters()]  # type: ignore[union-attr,operator]
    expected = [p.detach().double() for p in online]
    for mine, exact in zip(target.parameters(), expected, strict=True):
        assert torch.equal(mine.double(), exact)  # it begins as a copy
    optimizer = build_optimizer(method, type(method).recipe("small", 10).optim, 256)
    for step in range(3):
        before = [p.clone() for p in target.parameters()]
        method.loss(*views(6, step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(torch.equal(a, b) for a, b in zip(before, target.parameters(), strict=True))
        method.after_step(step)
        m = momentum(step)
        expected = [
            m * e + (1 - m) * p.detach().double() for e, p in zip(expected, online, strict=True)
        ]
        if step in (0, 2):
            for mine, exact in zip(target.parameters(), expected, strict=True):
                assert torch.allclose(mine.double(), exact, atol=1e-6)
    moved = [not torch.equal(a, b) for a, b in zip(target.parameters(), online, strict=True)]
    assert any(moved)


def test_byols_target_has_batches_of_its_own_and_no_gradient() -> None:
    method = made("byol")
    method.loss(*views(6)).backward()
    assert all(p.grad is None for p in method.target.parameters())  # type: ignore[union-attr]
    statistics = method.target[0].body.bn  # type: ignore[index]
    assert int(statistics.num_batches_tracked) == 2


def test_byols_loss_is_both_directions_summed() -> None:
    method = made("byol")
    x1, x2 = views(6)
    with torch.no_grad():
        loss = float(method.loss(x1, x2))
        p1 = method.predictor(method.embed(x1))  # type: ignore[operator]
        p2 = method.predictor(method.embed(x2))  # type: ignore[operator]
        z1, z2 = method.target(x1), method.target(x2)  # type: ignore[operator]
    cosine = torch.nn.functional.cosine_similarity
    assert loss == pytest.approx(
        float((2 - 2 * cosine(p1, z2)).mean() + (2 - 2 * cosine(p2, z1)).mean()), abs=1e-5
    )


@pytest.mark.parametrize("symmetric", [True, False])
def test_mocos_keys_are_never_their_own_negatives(symmetric: bool) -> None:
    """The queue is as it was until ``after_step``; then every key of the step is in it once."""
    method = made("moco", symmetric=symmetric, queue=32)
    assert isinstance(method, MoCo)
    before = method.queue.keys.clone()
    method.loss(*views(6))
    assert torch.equal(method.queue.keys, before)
    assert int(method.queue.pointer) == 0
    keys = torch.cat(method._keys)
    method.after_step(0)
    count = 12 if symmetric else 6
    assert len(keys) == int(method.queue.pointer) == count
    assert torch.equal(method.queue.keys[:count], keys)
    assert torch.equal(method.queue.keys[count:], before[count:])
    assert torch.allclose(keys.norm(dim=1), torch.ones(count), atol=1e-6)
    method.loss(*views(6))  # a loss that no step follows (a check on held-out images) adds nothing
    method.loss(*views(6, 1))
    method.after_step(1)
    assert int(method.queue.pointer) == 2 * count % 32


def test_mocos_loss_is_the_papers_over_its_own_queries_and_keys() -> None:
    method = made("moco", symmetric=False)
    assert isinstance(method, MoCo)
    x1, x2 = views(6)
    with torch.no_grad():
        loss = method.loss(x1, x2)
        expected = info_nce(method.embed(x1), method.f_k(x2), method.queue.keys, method.T)
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [(2, [2]), (7, [7]), (8, [4, 4]), (32, [16, 16]), (63, [32, 31]), (97, [33, 32, 32])],
)
def test_mocos_groups_of_shared_statistics(batch: int, sizes: list[int]) -> None:
    """Groups of 32, as on many GPUs, and two at least, to shuffle between; never a group of one."""
    method = made("moco")
    assert isinstance(method, MoCo)
    parts = method._parts(torch.arange(batch))
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts), torch.arange(batch))


def test_mocos_keys_are_shuffled_over_groups_and_come_back_in_order() -> None:
    """Keys are normalised with other images than their queries, but belong to their own."""
    method = made("moco", norm_group=2)
    assert isinstance(method, MoCo)
    x = torch.cat([torch.rand(2, 3, SIDE, SIDE) * (i + 1) / 8 for i in range(8)])
    passed: list[Tensor] = []
    inner = method.f_k.forward
    method.f_k.forward = lambda part: passed.append(part) or inner(part)  # type: ignore[method-assign,func-returns-value,assignment]
    torch.manual_seed(0)
    with torch.no_grad():
        (keys,) = method._key(x)
    groups = method._parts(torch.cat(passed))
    assert [len(part) for part in groups] == [2] * 8
    together = sum(any(torch.equal(part, x[i : i + 2]) for part in groups) for i in range(0, 16, 2))
    assert together < 4
    del method.f_k.forward
    method.f_k.eval()  # with fixed statistics a key is its image's alone
    with torch.no_grad():
        (keys,) = method._key(x)
        alone = torch.nn.functional.normalize(method.f_k(x), dim=1)
    assert torch.allclose(keys, alone, atol=1e-6)


def test_simclr_passes_both_views_as_one_batch() -> None:
    method = made("simclr")
    method.loss(*views(6))
    assert int(method.encoder.body.bn.num_batches_tracked) == 1  # type: ignore[union-attr,arg-type]
    other = made("simsiam")
    other.loss(*views(6))
    assert int(other.encoder.body.bn.num_batches_tracked) == 2  # type: ignore[union-attr,arg-type]


# The widths that the papers print for a ResNet-50 (2048 features), layer by layer.
PUBLISHED = {
    "moco": {"projector": ["2048>2048+b", "relu", "2048>128+b"]},
    "simclr": {"projector": ["2048>2048", "bn", "relu", "2048>128", "bn"]},
    "simsiam": {
        "projector": ["2048>2048", "bn", "relu", "2048>2048", "bn", "relu", "2048>2048", "bn-"],
        "predictor": ["2048>512", "bn", "relu", "512>2048+b"],
    },
    "byol": {
        "projector": ["2048>4096", "bn", "relu", "4096>256+b"],
        "predictor": ["256>4096", "bn", "relu", "4096>256+b"],
    },
}


def spelled(head: nn.Module) -> list[str]:
    words = []
    for layer in head.children():
        if isinstance(layer, nn.Linear):
            bias = "+b" if layer.bias is not None else ""
            words.append(f"{layer.in_features}>{layer.out_features}{bias}")
        elif isinstance(layer, nn.BatchNorm1d):
            words.append("bn" if layer.affine else "bn-")
        else:
            words.append(type(layer).__name__.lower())
    return words


@pytest.mark.parametrize("name", PUBLISHED)
def test_heads_are_the_published_ones(name: str) -> None:
    settings = {**METHODS[name].recipe("paper", 200).settings}
    if name == "moco":
        settings["queue"] = 16
    method = METHODS[name](Encoder(nn.Flatten(), 2048), 10, **settings)
    for head, layers in PUBLISHED[name].items():
        assert spelled(method.get_submodule(head)) == layers


# --- supervised --------------------------------------------------------------------------------


def test_supervised_starts_without_an_opinion_and_learns() -> None:
    torch.manual_seed(0)
    network = Supervised(Encoder(Body(), 10), 3)
    x, y = torch.rand(6, 3, SIDE, SIDE), torch.tensor([0, 1, 2, 0, 1, 2])
    first = network.loss(x, y)
    assert float(first.detach()) == pytest.approx(math.log(3), abs=1e-6)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for step in range(40):
        optimizer.zero_grad()
        network.loss(x, y).backward()
        optimizer.step()
        network.after_step(step)
    assert float(network.loss(x, y).detach()) < 0.8 * math.log(3)
    assert network(x).shape == (6, 3)
