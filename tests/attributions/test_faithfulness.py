"""Deletion and insertion against a slow loop and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from small_networks import smooth_network, some_images
from torch import nn

from headstart.attributions.base import own_generator
from headstart.attributions.faithfulness import (
    Removal,
    area,
    centre_against_border,
    faithfulness,
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Corner(nn.Module):
    """Looks at the mean of the upper left quarter, and at nothing else."""

    def forward(self, x):
        score = 8 * x[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([score, torch.full_like(score, 6)], 1)


def bright_corner(n=4):
    x = 0.1 * some_images(n)
    x[:, :, :8, :8] += 0.8
    return x


def good_map(n=4):
    maps = 0.01 * some_images(n, seed=5)[:, 0]
    maps[:, :8, :8] += 1
    return maps


def slow(model, image, target, order, steps, cells=8):
    """Probabilities while cells go in ``order``, one image and one step at a time."""
    soft = gaussian_filter(image.numpy(), (0, image.shape[1] / 8, image.shape[2] / 8))
    size = image.shape[1] // cells
    found = []
    for step in range(steps + 1):
        now = image.numpy().copy()
        for cell in order[: int(np.rint(step * cells**2 / steps))]:
            rows = slice(cell // cells * size, (cell // cells + 1) * size)
            columns = slice(cell % cells * size, (cell % cells + 1) * size)
            now[:, rows, columns] = soft[:, rows, columns]
        with torch.no_grad():
            found.append(model(torch.from_numpy(now)[None]).softmax(1)[0, target].item())
    return found


def test_equals_a_slow_loop():
    model, x, target = smooth_network(), some_images(2), torch.tensor([2, 0])
    maps = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(3))
    found = faithfulness(model, x, target, maps, Removal(orders=3), batch_size=7)
    for i in range(2):
        importance = maps[i].reshape(8, 2, 8, 2).sum((1, 3)).flatten()
        order = np.argsort(-importance.numpy(), kind="stable")
        deletion = slow(model, x[i], target[i], order, 20)
        # Inserting is deleting the least important first, seen from its end.
        insertion = slow(model, x[i], target[i], order[::-1], 20)[::-1]
        np.testing.assert_allclose(found.deletion[i], deletion, atol=1e-5)
        np.testing.assert_allclose(found.insertion[i], insertion, atol=1e-5)
        generator = own_generator(x[i])
        random = [
            slow(model, x[i], target[i], torch.randperm(64, generator=generator).tolist(), 20)
            for _ in range(3)
        ]
        np.testing.assert_allclose(found.random[i], np.mean(random, axis=0), atol=1e-5)


def test_area_by_hand():
    np.testing.assert_allclose(area(np.array([[1.0, 1, 1], [1, 0.5, 0], [0, 1, 0]])), [1, 0.5, 0.5])


def test_a_good_map_beats_random_orders_and_its_negative_loses():
    x, target = bright_corner(), torch.zeros(4, dtype=torch.long)
    good = faithfulness(Corner(), x, target, good_map())
    bad = faithfulness(Corner(), x, target, -good_map())
    assert (good.gap_deletion > 0.05).all()
    assert (good.gap_insertion > 0.05).all()
    assert (bad.gap_deletion < 0).all()
    assert (bad.gap_insertion < 0).all()


def test_a_random_map_is_no_better_than_random_orders():
    x = bright_corner(30)
    maps = some_images(30, seed=8)[:, 0]
    found = faithfulness(Corner(), x, torch.zeros(30, dtype=torch.long), maps)
    for gaps in (found.gap_deletion, found.gap_insertion):
        assert abs(gaps.mean()) < 3 * gaps.std() / np.sqrt(30)


def test_a_model_that_ignores_its_input_has_no_gap():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([[0.3, -1.0]]).expand(len(x), 2)

    found = faithfulness(Constant(), some_images(2), torch.tensor([0, 1]), some_images(2)[:, 0])
    np.testing.assert_allclose(found.gap_deletion, 0, atol=1e-12)
    np.testing.assert_allclose(found.gap_insertion, 0, atol=1e-12)


def test_random_orders_are_the_same_for_every_model():
    """A model that reads which cells are gone sees the same ones whatever the map is."""
    x, target = some_images(2), torch.tensor([0, 1])
    one = faithfulness(smooth_network(), x, target, some_images(2, seed=4)[:, 0])
    other = faithfulness(smooth_network(), x, target, some_images(2, seed=5)[:, 0])
    np.testing.assert_array_equal(one.random, other.random)
    again = faithfulness(smooth_network(), x, target, some_images(2)[:, 0], Removal(seed=1))
    assert not np.array_equal(one.random, again.random)


def test_images_do_not_influence_each_other():
    model, x, target = smooth_network(), some_images(3), torch.tensor([0, 1, 2])
    maps = some_images(3, seed=4)[:, 0]
    together = faithfulness(model, x, target, maps, batch_size=300)
    alone = faithfulness(model, x[1:2], target[1:2], maps[1:2], batch_size=11)
    np.testing.assert_allclose(alone.deletion[0], together.deletion[1], atol=1e-6)
    np.testing.assert_allclose(alone.random[0], together.random[1], atol=1e-6)


def test_an_image_without_a_map_is_missing():
    maps = good_map()
    maps[1] = 0
    found = faithfulness(Corner(), bright_corner(), torch.zeros(4, dtype=torch.long), maps)
    assert np.isnan(found.gap_deletion).tolist() == [False, True, False, False]
    assert np.isnan(found.gap_insertion).tolist() == [False, True, False, False]


@pytest.mark.parametrize("measure", ["removal", "centre"])
def test_the_model_is_left_as_it_was(measure):
    model = nn.Sequential(nn.BatchNorm2d(3), smooth_network()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random, x, target = torch.get_rng_state(), some_images(2), torch.tensor([0, 1])
    if measure == "removal":
        faithfulness(model, x, target, some_images(2)[:, 0])
    else:
        centre_against_border(model, x, target)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules() if module is not model[1])
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.zeros(2, 8, 8)}, "do not fit"),
        ({"target": torch.zeros(3)}, "do not fit"),
        ({"plan": Removal(cells=17)}, "no 17 cells"),
    ],
)
def test_refuses_wrong_input(change, message):
    arguments = {"x": some_images(2), "target": torch.zeros(2), "maps": torch.ones(2, 16, 16)}
    with pytest.raises(ValueError, match=message):
        faithfulness(smooth_network(), **{**arguments, **change})
    with pytest.raises(ValueError, match="at least 1"):
        Removal(orders=0)


def test_centre_against_border_by_hand():
    """Of 16 px the middle 11.3 are the centre: pixels 2 … 13 hold it, 0 and 15 are border."""

    class Middle(nn.Module):
        def forward(self, x):
            score = 20 * x[:, :, 6:10, 6:10].mean((1, 2, 3))
            return torch.stack([score, torch.full_like(score, 10)], 1)

    class Rim(nn.Module):
        def forward(self, x):
            score = 20 * x[:, :, 0].mean((1, 2))
            return torch.stack([score, torch.full_like(score, 10)], 1)

    x = torch.zeros(2, 3, 16, 16)
    x[:, :, 6:10, 6:10] = 1
    x[:, :, 0] = 1
    target = torch.tensor([0, 0])
    middle = centre_against_border(Middle(), x, target)
    rim = centre_against_border(Rim(), x, target)
    assert (middle.centre > 0.1).all()
    np.testing.assert_allclose(middle.border, 0, atol=1e-12)
    assert (rim.border > 0.1).all()
    np.testing.assert_allclose(rim.centre, 0, atol=1e-12)
