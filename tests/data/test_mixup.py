"""Mixup against a slow reference, and its randomness against the step."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

import tiny_study
from headstart.config import View
from headstart.data.batches import Images, LabelledBatches, Order
from headstart.data.mixup import Mixed, mix

torch.set_num_threads(1)


def made(seed: int = 3) -> Mixed:
    images = Images(tiny_study.pixels(11), np.arange(11), 16, torch.device("cpu"))
    labels = torch.arange(11) % 3
    return Mixed(LabelledBatches(images, Order(11, 5, seed), labels, View(blur_p=0)), 3)


def test_mix_equals_a_loop_over_pairs() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(6, 3, 4, 4), F.one_hot(torch.tensor([0, 1, 2, 2, 1, 0])).float()
    partner = torch.tensor([3, 3, 0, 1, 4, 2])
    got_x, got_y = mix(x, y, 0.3, partner)
    for i, j in enumerate(partner.tolist()):
        torch.testing.assert_close(got_x[i], 0.3 * x[i] + 0.7 * x[j])
        torch.testing.assert_close(got_y[i], 0.3 * y[i] + 0.7 * y[j])


def test_cross_entropy_on_mixed_labels_is_the_mixed_cross_entropy() -> None:
    """The authors write the loss as λ·CE(y) + (1 − λ)·CE(y of the partner)."""
    torch.manual_seed(0)
    logits, y, partner = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.randperm(6)
    _, soft = mix(torch.zeros(6, 3, 1, 1), F.one_hot(y).float(), 0.3, partner)
    each = 0.3 * F.cross_entropy(logits, y) + 0.7 * F.cross_entropy(logits, y[partner])
    torch.testing.assert_close(F.cross_entropy(logits, soft), each)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forward, backward = made(), made()
    first = [forward(step) for step in range(4)]
    second = [backward(step) for step in reversed(range(4))][::-1]
    for (x, y), (again_x, again_y) in zip(first, second, strict=True):
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)
    assert not torch.equal(made(4)(0)[0], first[0][0])


def test_mixed_batches_stay_images_and_probabilities_and_shares_are_beta() -> None:
    mixed = made()
    for step in range(20):
        x, y = mixed(step)
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
        torch.testing.assert_close(y.sum(dim=1), torch.ones(len(y)))
        plain, labels = mixed.batches(step)
        kept = F.one_hot(labels, 3).float()
        rng = np.random.default_rng((3, 2, step))
        share, partner = rng.beta(0.2, 0.2), torch.from_numpy(rng.permutation(len(x)))
        torch.testing.assert_close(x, share * plain + (1 - share) * plain[partner])
        torch.testing.assert_close(y, (share * kept + (1 - share) * kept[partner]))
