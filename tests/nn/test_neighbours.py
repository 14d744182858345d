"""k nearest neighbours against a slow reference written with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.nn import neighbours
from headstart.nn.neighbours import FLOOR, knn_accuracy, knn_logits


def images(n, d, classes, seed=0, separation=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    x = rng.normal(size=(n, d)) + separation * rng.normal(size=(classes, d))[y]
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def slow_logits(train_x, train_y, query, classes, k, temperature):
    """One query at a time, in double precision, with a sort."""
    cosines = [float(a @ query / math.sqrt((a @ a) * (query @ query))) for a in train_x]
    nearest = sorted(range(len(cosines)), key=lambda i: -cosines[i])[:k]
    votes = [0.0] * classes
    for i in nearest:
        votes[train_y[i]] += math.exp(cosines[i] / temperature)
    return [math.log(max(vote / sum(votes), FLOOR)) for vote in votes]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 40),
    classes=st.integers(2, 5),
    k=st.integers(1, 60),
    temperature=st.sampled_from([0.07, 0.5]),
)
def test_equals_the_slow_reference(seed, n, classes, k, temperature):
    x, y = images(n, 6, classes, seed)
    queries, _ = images(5, 6, classes, seed + 1)
    ours = knn_logits(x, y, queries, classes, k, temperature)
    slow = [
        slow_logits(x.double().numpy(), y.numpy(), q, classes, k, temperature)
        for q in queries.double().numpy()
    ]
    assert ours.shape == (5, classes)
    np.testing.assert_allclose(ours.exp(), np.exp(slow), atol=2e-5)


@pytest.mark.parametrize("k", [1, 5, 100])
def test_leave_one_out_equals_the_slow_reference(k):
    x, y = images(40, 4, 3, seed=2, separation=0.7)
    right = {c: [] for c in set(y.tolist())}
    for i in range(40):
        rest = [j for j in range(40) if j != i]
        votes = slow_logits(
            x.double().numpy()[rest], y.numpy()[rest], x[i].double().numpy(), 3, k, 0.07
        )
        right[int(y[i])].append(int(np.argmax(votes)) == int(y[i]))
    expected = np.mean([np.mean(hits) for hits in right.values()])
    assert knn_accuracy(x, y, 3, k) == pytest.approx(expected)
    assert 0.4 < expected < 1  # neither trivial nor perfect, so that a mistake would show


def test_hand_worked_vote():
    train_x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])  # lengths do not count
    logits = knn_logits(train_x, torch.tensor([0, 1, 1]), torch.tensor([[5.0, 0.0]]), 3, 2, 1.0)
    e = math.e  # votes: class 0 has exp(1), class 1 has exp(0), class 2 none
    expected = [math.log(e / (e + 1)), math.log(1 / (e + 1)), math.log(FLOOR)]
    np.testing.assert_allclose(logits[0], expected, rtol=1e-6)


def test_more_neighbours_than_images():
    x, y = images(7, 4, 2)
    assert torch.equal(knn_logits(x, y, x, 2, k=7), knn_logits(x, y, x, 2, k=1000))


def test_chunks_do_not_matter(monkeypatch):
    x, y = images(50, 4, 3)
    logits, accuracy = knn_logits(x, y, x, 3), knn_accuracy(x, y, 3)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    torch.testing.assert_close(knn_logits(x, y, x, 3), logits)
    assert knn_accuracy(x, y, 3) == pytest.approx(accuracy)


def test_one_image_per_class():
    x, y = torch.eye(4), torch.arange(4)
    assert knn_logits(x, y, x, 4).argmax(1).tolist() == [0, 1, 2, 3]
    assert knn_accuracy(x, y, 4) == 0.0  # without itself nobody votes for its class


def test_an_image_does_not_vote_for_itself():
    """Labels at random: an image that saw itself would always be right with k = 1."""
    x, _ = images(200, 20, 2, seed=4, separation=0.0)
    y = torch.from_numpy(np.random.default_rng(5).integers(2, size=200))
    assert knn_logits(x, y, x, 2, k=1).argmax(1).eq(y).all()
    assert knn_accuracy(x, y, 2, k=1) < 0.65


def test_balanced_accuracy_weighs_classes_alike():
    x = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])  # nine of one class, one of the other
    y = torch.tensor([0] * 9 + [1])
    assert knn_accuracy(x, y, 2, k=3) == pytest.approx(0.5)


def test_a_zero_feature_gives_finite_scores():
    x, y = images(10, 4, 2)
    assert bool(torch.isfinite(knn_logits(x, y, torch.zeros(1, 4), 2)).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "positive"),
        ({"temperature": 0.0}, "positive"),
        ({"classes": 1}, "labels must be"),
        ({"train_x": torch.zeros(0, 4), "train_y": torch.zeros(0, dtype=torch.long)}, "at least"),
    ],
)
def test_refuses_what_cannot_vote(change, message):
    x, y = images(10, 4, 2)
    arguments = {"train_x": x, "train_y": y, "x": x, "classes": 2, **change}
    with pytest.raises(ValueError, match=message):
        knn_logits(**arguments)


def test_leave_one_out_needs_two_images():
    with pytest.raises(ValueError, match="two images"):
        knn_accuracy(torch.ones(1, 3), torch.zeros(1, dtype=torch.long), 1)
