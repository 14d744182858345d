"""The batched solver must reach the minimum that scikit-learn reaches, for every strength."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from headstart.nn import linear
from headstart.nn.linear import (
    STRENGTHS,
    HeadPath,
    LinearHead,
    balanced_accuracies,
    choose,
    fit_heads,
)

SPREAD = STRENGTHS[::11]  # 1e-6, 5.6e-4, 0.32, 178, 1e5


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clusters(n, d, classes, separation=1.0, seed=0):
    """Class clusters with a power-law spectrum in a rotated basis; half the features positive.

    Every class occurs; the first ``classes`` images hold one of each.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -0.5
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    centres = separation * rng.normal(size=(classes, d)) * spectrum
    x = (rng.normal(size=(n, d)) * spectrum + centres[y]) @ rotation
    x[:, ::2] = np.log1p(np.exp(3 * x[:, ::2]))
    return torch.from_numpy(x), torch.from_numpy(y)


def imbalanced():
    x, y = clusters(250, 10, 40, 0.5)
    return x, torch.where(y == 0, 0, torch.where(y < 6, 1, 2))


def duplicated_and_constant_columns():
    x, y = clusters(120, 10, 3, 0.5)
    return torch.cat([x, x, torch.full((120, 2), 0.1, dtype=x.dtype), 0 * x[:, :1]], 1), y


def heavy_tailed():
    rng = np.random.default_rng(5)
    x = rng.standard_cauchy(size=(300, 12))
    return torch.from_numpy(x), torch.from_numpy((x[:, 0] > 0) + 1 * (x[:, 1] > 1))


def digits():
    data, target = load_digits(return_X_y=True)  # has constant columns, and is separable
    return torch.from_numpy(data[:300]), torch.from_numpy(target[:300])


PROBLEMS = {
    "overlapping": lambda: clusters(300, 12, 4, separation=0.4),
    "separable": lambda: clusters(120, 20, 4, separation=4.0),
    "more features than images": lambda: clusters(40, 150, 5),
    "one image per class": lambda: clusters(6, 30, 6),
    "imbalanced": imbalanced,
    "duplicated and constant columns": duplicated_and_constant_columns,
    "heavy tails": heavy_tailed,
    "digits": digits,
    "1,000 features": lambda: clusters(50, 1000, 3),
}


def cross_entropy(logits, y):
    """Mean cross-entropy of scores (N, C), in NumPy."""
    top = logits.max(1, keepdims=True)
    logp = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
    return -logp[np.arange(len(y)), y].mean()


def objective(head: LinearHead, x, y):
    """The documented objective, from nothing but the head's public parts."""
    penalty = head.strength / 2 * (head.weight.numpy() ** 2).sum()
    logits = (x - head.mean) / head.scale @ head.weight.T + head.bias
    return cross_entropy(logits.numpy(), y.numpy()) + penalty


def scikit_learn(x, y, strength):
    """The minimum (three or more classes) and the scores that scikit-learn finds."""
    z = StandardScaler().fit_transform(x.numpy())
    model = LogisticRegression(C=1 / (strength * len(y)), tol=1e-9, max_iter=20_000)
    with warnings.catch_warnings():
        # At the minimum its line search may end on rounding, which it reports as a warning.
        warnings.simplefilter("ignore")
        model.fit(z, y.numpy())
    logits = model.decision_function(z)
    return cross_entropy(logits, y.numpy()) + strength / 2 * (model.coef_**2).sum(), logits


@pytest.mark.parametrize("strength", SPREAD)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_reaches_the_objective_of_scikit_learn(problem, strength):
    x, y = PROBLEMS[problem]()
    (path,) = fit_heads(x, y, [range(len(y))], int(y.max()) + 1, [strength])
    reached = objective(path.head(0), x, y)
    reference, _ = scikit_learn(x, y, strength)
    assert reached <= reference * (1 + 1e-4)
    # scikit-learn may stop early on a tiny objective, but it cannot be far above the minimum.
    assert reached >= reference * (1 - 0.02)
    assert float(path.objective[0]) == pytest.approx(reached, rel=1e-8)
    assert bool(path.converged.all())


@pytest.mark.slow
def test_reaches_the_objective_of_scikit_learn_at_every_strength():
    x, y = clusters(300, 40, 5, separation=0.8)
    (path,) = fit_heads(x, y, [range(300)], 5)
    for k, strength in enumerate(STRENGTHS):
        assert float(path.objective[k]) <= scikit_learn(x, y, strength)[0] * (1 + 1e-4)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_has_the_probabilities_of_scikit_learn(strength):
    x, y = clusters(200, 8, 3, 0.5)
    (path,) = fit_heads(x, y, [range(200)], 3, [strength], tolerance=1e-11)
    _, logits = scikit_learn(x, y, strength)
    ours = path.logits(x)[0].softmax(1)
    np.testing.assert_allclose(ours, torch.from_numpy(logits).softmax(1), atol=1e-4)


def test_two_classes_are_the_multinomial_model():
    """W = (−w, w)/2 has ‖W‖² = ‖w‖²/2: scikit-learn's sigmoid with half the strength."""
    x, y = clusters(150, 6, 2, 0.6)
    (path,) = fit_heads(x, y, [range(150)], 2, [0.05], tolerance=1e-12)
    z = StandardScaler().fit_transform(x.numpy())
    model = LogisticRegression(C=1 / (0.025 * 150), tol=1e-10, max_iter=10_000).fit(z, y.numpy())
    np.testing.assert_allclose(path.weight[0, 1] - path.weight[0, 0], model.coef_[0], atol=1e-5)
    assert float(path.bias[0, 1] - path.bias[0, 0]) == pytest.approx(model.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("problem", ["overlapping", "more features than images"])
def test_the_gradient_vanishes_at_the_solution(problem):
    """An own autograd of the documented objective, at a tight tolerance."""
    x, y = PROBLEMS[problem]()
    (path,) = fit_heads(x, y, [range(len(y))], int(y.max()) + 1, [1e-3], tolerance=1e-12)
    weight, bias = path.weight[0].clone().requires_grad_(), path.bias[0].clone().requires_grad_()
    z = (x - x.mean(0)) / x.std(0, correction=0)
    value = torch.nn.functional.cross_entropy(z @ weight.T + bias, y) + 5e-4 * weight.square().sum()
    for gradient in torch.autograd.grad(value, [weight, bias]):
        assert float(gradient.abs().max()) < 1e-5


def test_plain_lbfgs_of_torch_agrees():
    """A second, unrelated solver."""
    x, y = clusters(80, 10, 3, 0.5)
    z = (x - x.mean(0)) / x.std(0, correction=0)
    weight, bias = torch.zeros(3, 10, dtype=x.dtype), torch.zeros(3, dtype=x.dtype)
    theta = [weight.requires_grad_(), bias.requires_grad_()]
    solver = torch.optim.LBFGS(
        theta, max_iter=300, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(z @ weight.T + bias, y)
        loss = loss + 0.005 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    (path,) = fit_heads(x, y, [range(80)], 3, [0.01], tolerance=1e-12)
    torch.testing.assert_close(path.weight[0], weight.detach(), atol=1e-5, rtol=0)


def test_batched_equals_one_by_one(monkeypatch):
    x, y = clusters(150, 20, 4, 0.5)
    subsets, strengths = [range(10), range(50), range(150)], STRENGTHS[::4]
    together = fit_heads(x, y, subsets, 4, strengths, tolerance=1e-11)
    for path, subset in zip(together, subsets, strict=True):
        for k in range(0, len(strengths), 3):
            (alone,) = fit_heads(x, y, [subset], 4, [strengths[k]], tolerance=1e-11)
            torch.testing.assert_close(alone.objective[0], path.objective[k], rtol=1e-8, atol=0)
            p, q = alone.logits(x)[0].softmax(-1), path.logits(x)[k].softmax(-1)
            torch.testing.assert_close(p, q, rtol=0, atol=2e-3)
    monkeypatch.setattr(linear, "BATCH_ELEMENTS", 20_000)  # a few strengths at a time
    split = fit_heads(x, y, subsets, 4, strengths, tolerance=1e-11)
    for path, part in zip(together, split, strict=True):
        torch.testing.assert_close(path.objective, part.objective, rtol=1e-8, atol=0)


def test_is_deterministic_and_draws_no_random_numbers():
    x, y = clusters(60, 15, 3)
    state = torch.get_rng_state()
    first, second = (fit_heads(x, y, [range(60)], 3)[0] for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert torch.equal(state, torch.get_rng_state())


def test_float32_features_are_solved_in_float64():
    x, y = clusters(60, 15, 3)
    x = x.float()
    (path,) = fit_heads(x, y, [range(60)], 3, SPREAD)
    (exact,) = fit_heads(x.double(), y, [range(60)], 3, SPREAD)
    assert path.weight.dtype == torch.float64
    assert torch.equal(path.weight, exact.weight)


def test_leaves_the_features_alone():
    x, y = clusters(60, 15, 3)
    before = x.clone()
    fit_heads(x, y, [range(30)], 3, SPREAD)
    assert torch.equal(x, before)


def test_the_head_standardises_with_its_own_subset():
    x, y = clusters(100, 8, 3)
    subset = torch.arange(40)
    (path,) = fit_heads(x, y, [subset], 3, SPREAD)
    head = path.head(2)
    torch.testing.assert_close(head.mean, x[subset].mean(0))
    torch.testing.assert_close(head.scale, x[subset].std(0, correction=0))
    by_hand = (x - head.mean) / head.scale @ head.weight.T + head.bias
    torch.testing.assert_close(path.logits(x)[2], by_hand)
    assert len(path) == len(SPREAD)
    assert head.strength == SPREAD[2]


def test_a_column_without_variance_has_scale_one_and_no_effect():
    x, y = clusters(60, 6, 3)
    constant = torch.full((60, 1), 1 / 3, dtype=x.dtype)  # its mean is not exact in binary
    (path,) = fit_heads(torch.cat([x, constant], 1), y, [range(60)], 3, SPREAD)
    (without,) = fit_heads(x, y, [range(60)], 3, SPREAD)
    assert float(path.scale[-1]) == 1
    assert float(path.weight[..., -1].abs().max()) < 1e-12
    torch.testing.assert_close(path.objective, without.objective, rtol=1e-5, atol=0)


def test_a_duplicated_column_shares_its_weight():
    x, y = clusters(60, 6, 3)
    (path,) = fit_heads(torch.cat([x, x[:, :1]], 1), y, [range(60)], 3, SPREAD)
    torch.testing.assert_close(path.weight[..., 0], path.weight[..., -1], atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("absent", [0, 2, 4])
def test_an_absent_class_is_never_predicted_and_stays_finite(absent):
    x, y = clusters(100, 8, 5)
    seen = torch.nonzero(y != absent).squeeze(1)
    (path,) = fit_heads(x, y, [seen], 5)
    logits = path.logits(100 * x)  # far outside the training data
    assert bool(torch.isfinite(logits).all())
    assert not bool((logits.argmax(-1) == absent).any())
    assert float(logits.softmax(-1)[..., absent].max()) < 1 / len(seen)
    squeezed = torch.where(y > absent, y - 1, y)[seen]
    (without,) = fit_heads(x[seen], squeezed, [range(len(seen))], 4)
    torch.testing.assert_close(path.objective, without.objective, rtol=1e-8, atol=0)


@pytest.mark.parametrize("rows", [[7], [0, 1, 2]])
def test_tiny_subsets(rows):
    """One image only, and one image for each of three classes (of four)."""
    x, y = clusters(20, 8, 4)
    (path,) = fit_heads(x, y, [rows], 4)
    assert bool(torch.isfinite(path.weight).all())
    assert bool(torch.isfinite(path.bias).all())
    assert bool((path.logits(x[rows]).argmax(-1)[0] == y[rows]).all())


def test_the_same_rows_in_another_order_are_solved_once():
    x, y = clusters(50, 8, 3)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    first, other, same = fit_heads(x, y, [range(50), range(30), order], 3, SPREAD)
    assert first is same
    assert other is not first


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), permutation=st.permutations(range(4)))
def test_renaming_the_classes_renames_the_scores(seed, permutation):
    x, y = clusters(40, 6, 4, 0.6, seed)
    renamed = torch.tensor(permutation)[y]
    (path,) = fit_heads(x, y, [range(40)], 4, SPREAD, tolerance=1e-11)
    (other,) = fit_heads(x, renamed, [range(40)], 4, SPREAD, tolerance=1e-11)
    torch.testing.assert_close(path.objective, other.objective, rtol=1e-8, atol=0)
    renamed_back = other.logits(x)[..., permutation].softmax(-1)
    torch.testing.assert_close(path.logits(x).softmax(-1), renamed_back, atol=2e-3, rtol=0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-10, 10), factor=st.floats(0.01, 100))
def test_units_of_the_features_do_not_matter(seed, shift, factor):
    x, y = clusters(40, 6, 3, 0.6, seed)
    (path,) = fit_heads(x, y, [range(40)], 3, SPREAD)
    (other,) = fit_heads(factor * x + shift, y, [range(40)], 3, SPREAD)
    torch.testing.assert_close(path.objective, other.objective, rtol=1e-5, atol=0)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(4, 40),
    d=st.integers(1, 60),
    separation=st.floats(0, 5),
)
def test_a_stronger_penalty_means_a_larger_minimum_and_smaller_weights(seed, n, d, separation):
    x, y = clusters(n, d, 3, separation, seed)
    (path,) = fit_heads(x, y, [range(n)], 3)
    f, size = path.objective, path.weight.square().sum((1, 2))
    assert bool(path.converged.all())
    assert bool((f[1:] >= f[:-1] * (1 - 1e-4)).all())
    assert bool((size[1:] <= size[:-1] * (1 + 0.05) + 1e-12).all())


def test_the_strongest_penalty_leaves_the_class_frequencies():
    x, y = clusters(90, 10, 3)
    (path,) = fit_heads(x, y, [range(90)], 3, [1e5])
    frequencies = torch.bincount(y) / 90
    torch.testing.assert_close(
        path.logits(x)[0].softmax(1), frequencies.double().expand(90, 3), atol=1e-3, rtol=0
    )


def hand_made(signs):
    """A path of one-feature heads: class 1 where sign · x > 0."""
    k = len(signs)
    weight = torch.tensor([[[-s], [s]] for s in signs], dtype=torch.float64)
    return HeadPath(
        weight,
        torch.zeros(k, 2, dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
        tuple(10.0**i for i in range(k)),
        torch.zeros(k),
        torch.ones(k, dtype=torch.bool),
    )


def test_choose_takes_the_best_and_among_equals_the_most_regularised():
    x, y = torch.tensor([[-1.0], [1.0], [2.0]]), torch.tensor([0, 1, 1])
    assert choose(hand_made([1, 1, 1, -1]), x, y).strength == 100.0
    assert choose(hand_made([-1, 1, -1, -1]), x, y).strength == 10.0
    assert choose(hand_made([-1, -1]), x, y).strength == 10.0
    with pytest.raises(ValueError, match="no validation images"):
        choose(hand_made([1]), x[:0], y[:0])


def test_choose_does_not_rely_on_the_order_of_the_strengths():
    x, y = clusters(60, 5, 3, 5.0)
    (path,) = fit_heads(x, y, [range(60)], 3, [0.01, 1e-3, 1e-4])
    assert balanced_accuracies(path, x, y).tolist() == [1, 1, 1]
    assert choose(path, x, y).strength == 0.01


def test_balanced_accuracies_are_those_of_scikit_learn():
    x, y = imbalanced()
    (path,) = fit_heads(x, y, [range(50)], 4, SPREAD)
    expected = [balanced_accuracy_score(y, row) for row in path.logits(x).argmax(-1)]
    np.testing.assert_allclose(balanced_accuracies(path, x, y), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subsets": [[]]}, "at least one"),
        ({"subsets": [[0, 0]]}, "different rows"),
        ({"subsets": [[30]]}, "different rows"),
        ({"classes": 2}, "labels must be"),
        ({"strengths": [0.0]}, "positive"),
        ({"strengths": []}, "positive"),
        ({"x": torch.full((30, 4), torch.nan)}, "finite"),
        ({"x": torch.zeros(29, 4)}, "must be"),
    ],
)
def test_refuses_what_it_cannot_fit(change, message):
    x, y = clusters(30, 4, 3)
    arguments = {"x": x, "y": y, "subsets": [range(30)], "classes": 3, **change}
    with pytest.raises(ValueError, match=message):
        fit_heads(**arguments)


def test_the_strengths_of_the_protocol():
    assert len(STRENGTHS) == 45
    assert STRENGTHS[0] == pytest.approx(1e-6)
    assert STRENGTHS[-1] == pytest.approx(1e5)
    steps = np.diff(np.log10(STRENGTHS))
    np.testing.assert_allclose(steps, 0.25, atol=1e-12)
