"""Learning rates at every step that matters, and LARS against a slow NumPy version."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.optim import Lars
from torch import nn

from headstart.config import Optim
from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.nn.encoder import build_encoder
from headstart.nn.optim import apply_lr, build_optimizer, lr_factor, peak_lr

torch.set_num_threads(1)  # many small operations: more threads only wait for each other

EPOCHS, PER_EPOCH = 200, 20
STEPS = EPOCHS * PER_EPOCH
# Epochs, as the papers say.
WARMUP = {"moco": 0, "simclr": 10, "simsiam": 0, "byol": 10, "vicreg": 10, "barlow_twins": 10}
RECIPES = list(itertools.product(METHODS, ("small", "paper")))


def tiny(method: str) -> Method:
    encoder = build_encoder("test_resnet", image_size=32)
    return METHODS[method](encoder, STEPS, **METHODS[method].tiny)


def is_fixed(method: str, key: str) -> bool:
    """Whether a parameter lies in a module whose learning rate the method keeps."""
    return key.partition(".")[0] in METHODS[method].fixed_lr_modules


def test_simsiams_predictor_keeps_its_rate() -> None:
    """Section 4.1 of the paper; of the other methods that come with headstart none has one."""
    fixed = {name: method.fixed_lr_modules for name, method in METHODS.items()}
    assert fixed["simsiam"] == ("predictor",)
    assert not any(fixed[name] for name in ("moco", "simclr", "byol"))


# --- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "name"), RECIPES)
def test_every_recipe_warms_up_and_falls_to_nothing(method: str, name: str) -> None:
    optim = METHODS[method].recipe(name, EPOCHS).optim
    factors = [lr_factor(optim, step, STEPS, PER_EPOCH) for step in range(STEPS)]
    assert factors[0] > 0
    warmup = round(min(optim.warmup_epochs * PER_EPOCH, STEPS / 10))
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b for a, b in itertools.pairwise(falling))
    assert max(factors) == factors[warmup] == 1
    assert 0 < factors[-1] < 0.05
    halfway = warmup + (STEPS - warmup) // 2
    assert factors[halfway] == pytest.approx(0.5, abs=0.01)
    assert warmup == WARMUP.get(method, optim.warmup_epochs) * PER_EPOCH


def test_the_cosine_per_epoch_is_the_published_one() -> None:
    """MoCo's code: lr · ½(1 + cos(π·epoch/epochs)), the same for a whole epoch."""
    optim = METHODS["moco"].recipe("paper", EPOCHS).optim
    for epoch in (0, 1, 57, EPOCHS - 1):
        expected = 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        for step in (epoch * PER_EPOCH, epoch * PER_EPOCH + 7, (epoch + 1) * PER_EPOCH - 1):
            assert lr_factor(optim, step, STEPS, PER_EPOCH) == pytest.approx(expected, abs=1e-12)


def test_the_warm_up_is_linear_and_never_zero() -> None:
    optim = Optim(warmup_epochs=2)
    factors = [lr_factor(optim, step, 400, 10) for step in range(21)]
    assert factors == pytest.approx([(step + 1) / 21 for step in range(21)])


def test_a_constant_rate_is_constant_after_its_warm_up() -> None:
    optim = Optim(schedule="constant", warmup_epochs=1)
    assert [lr_factor(optim, step, 100, 4) for step in (4, 50, 99)] == [1, 1, 1]
    assert lr_factor(optim, 0, 100, 4) == pytest.approx(0.2)


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.floats(0, 30),
    st.sampled_from(["step", "epoch"]),
    st.sampled_from(["cosine", "constant"]),
)
@settings(max_examples=100, deadline=None)
def test_a_factor_is_a_share_of_the_peak(
    steps: int, per_epoch: int, warmup: float, per: str, schedule: str
) -> None:
    optim = Optim(warmup_epochs=warmup, cosine_per=per, schedule=schedule)  # type: ignore[arg-type]
    factors = [lr_factor(optim, step, steps, per_epoch) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert sum(a < b for a, b in itertools.pairwise(factors)) <= max(1, steps / 10 + 1)


@pytest.mark.parametrize(
    ("scale", "batch", "expected"),
    [
        ("linear", 256, 0.3),
        ("linear", 4096, 4.8),
        ("linear", 32, 0.0375),
        ("sqrt", 4096, 19.2),
        ("sqrt", 64, 2.4),
        ("none", 64, 0.3),
    ],
)
def test_the_peak_grows_with_the_batch_as_it_is_told(
    scale: str, batch: int, expected: float
) -> None:
    assert peak_lr(Optim(lr=0.3, scale=scale), batch) == pytest.approx(expected)  # type: ignore[arg-type]


# --- parameter groups --------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "name"), RECIPES)
def test_groups_hold_every_trained_weight_once_with_its_own_decay(method: str, name: str) -> None:
    network = tiny(method)
    optim = METHODS[method].recipe(name, EPOCHS).optim
    optimizer = build_optimizer(network, optim, 128)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = {id(p): (key, p) for key, p in network.named_parameters() if p.requires_grad}
    assert sorted(held) == sorted(trained)
    for group in optimizer.param_groups:
        for p in group["params"]:
            key, _ = trained[id(p)]
            decays = optim.decay_norm_and_bias or p.ndim > 1
            decay = group.get("decay", group["weight_decay"])
            assert decay == (optim.weight_decay if decays else 0)
            assert group["fixed_lr"] == is_fixed(method, key)
    names = {id(p): key for key, p in network.named_parameters()}
    followers = {key for key in names.values() if key.startswith(("f_k.", "target."))}
    assert not followers & {trained[i][0] for i in held}


@pytest.mark.parametrize("method", METHODS)
def test_only_what_a_method_names_keeps_its_rate(method: str) -> None:
    network = tiny(method)
    optim = METHODS[method].recipe("paper", EPOCHS).optim
    optimizer = build_optimizer(network, optim, 128)
    peak = peak_lr(optim, 128)
    for step in (0, STEPS // 2, STEPS - 1):
        factor = lr_factor(optim, step, STEPS, PER_EPOCH)
        assert apply_lr(optimizer, factor) == pytest.approx(peak * factor)
        for group in optimizer.param_groups:
            held = {id(p) for key, p in network.named_parameters() if is_fixed(method, key)}
            fixed = id(group["params"][0]) in held
            assert group["lr"] == pytest.approx(peak if fixed else peak * factor)


def test_the_named_optimiser_is_built() -> None:
    network = nn.Linear(3, 2)
    kinds = {"sgd": torch.optim.SGD, "lars": Lars, "adamw": torch.optim.AdamW}
    for name, kind in kinds.items():
        optimizer = build_optimizer(network, Optim(name=name, momentum=0.8), 256)  # type: ignore[arg-type]
        assert isinstance(optimizer, kind)
        if name != "adamw":
            assert all(group["momentum"] == 0.8 for group in optimizer.param_groups)


def test_a_module_name_that_only_begins_alike_is_not_fixed() -> None:
    class Two(nn.Module):
        fixed_lr_modules = ("head",)

        def __init__(self) -> None:
            super().__init__()
            self.head, self.header = nn.Linear(2, 2), nn.Linear(2, 2)

    network = Two()
    optimizer = build_optimizer(network, Optim(), 256)
    fixed = {id(p) for g in optimizer.param_groups if g["fixed_lr"] for p in g["params"]}
    assert fixed == {id(p) for p in network.head.parameters()}


# --- steps -------------------------------------------------------------------------------------


def lars(**settings: object) -> Optim:
    return Optim(name="lars", scale="none", momentum=0.9, **settings)  # type: ignore[arg-type]


class SlowLARS:
    """LARS with momentum as in SimCLR's code, in NumPy and double precision."""

    def __init__(
        self, lr: float, momentum: float, decay: float, trust: float, all_decay: bool
    ) -> None:
        self.lr, self.momentum, self.decay, self.trust = lr, momentum, decay, trust
        self.all_decay = all_decay
        self.velocity: dict[str, np.ndarray] = {}

    def step(self, w: dict[str, np.ndarray], g: dict[str, np.ndarray]) -> None:
        for name in w:
            matrix = w[name].ndim > 1
            update = g[name] + (self.decay if matrix or self.all_decay else 0) * w[name]
            if matrix:
                norms = np.sqrt((w[name] ** 2).sum()), np.sqrt((update**2).sum())
                if all(norms):
                    update = update * (self.trust * norms[0] / norms[1])
            self.velocity[name] = self.momentum * self.velocity.get(name, 0) + update
            w[name] = w[name] - self.lr * self.velocity[name]


@pytest.mark.parametrize(("decay", "all_decay"), [(0.0, False), (0.01, False), (0.3, True)])
def test_lars_is_simclrs_over_eight_steps(decay: float, all_decay: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv": (4, 3, 3, 3), "linear": (5, 6), "bias": (6,), "zero": (3, 3)}
    params = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    params["zero"].zero_()
    network = nn.ParameterDict({name: nn.Parameter(p) for name, p in params.items()})
    optim = lars(lr=0.7, weight_decay=decay, decay_norm_and_bias=all_decay)
    optimizer = build_optimizer(network, optim, 64)
    slow = SlowLARS(0.7, 0.9, decay, 1e-3, all_decay)
    weights = {name: p.double().numpy() for name, p in params.items()}
    for _ in range(8):
        gradients = {n: torch.randn(*shape, generator=generator) for n, shape in shapes.items()}
        for name, p in network.items():
            p.grad = gradients[name].clone()
        optimizer.step()
        slow.step(weights, {name: g.double().numpy() for name, g in gradients.items()})
        for name, p in network.items():
            assert np.allclose(p.detach().numpy(), weights[name], atol=1e-6, rtol=1e-5), name


def test_lars_moves_a_layer_by_the_trusted_share_of_its_length() -> None:
    """Whatever the size of the gradient, the first step is lr·η·‖w‖ long."""
    for size in (1e-4, 1.0, 1e4):
        w = nn.Parameter(torch.randn(8, 8))
        length = float(w.detach().norm())
        before = w.detach().clone()
        w.grad = torch.randn(8, 8) * size
        build_optimizer(nn.ParameterList([w]), lars(lr=2.0, weight_decay=0.0), 1).step()
        assert float((w.detach() - before).norm()) == pytest.approx(2e-3 * length, rel=1e-4)


def test_lars_leaves_alone_what_has_no_gradient_and_goes_on_from_a_checkpoint() -> None:
    def run(stop: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        w, still = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.ones(2, 2))
        network = nn.ParameterList([w, still])
        optimizer = build_optimizer(network, lars(lr=0.5, weight_decay=0.1), 1)
        for step in range(4):
            if step == stop:
                state = optimizer.state_dict()
                optimizer = build_optimizer(network, lars(lr=0.1), 1)
                optimizer.load_state_dict(state)
            w.grad = torch.full((4, 4), float(step + 1))
            optimizer.step()
        assert torch.equal(still.detach(), torch.ones(2, 2))
        return w.detach().clone()

    assert torch.equal(run(None), run(2))
