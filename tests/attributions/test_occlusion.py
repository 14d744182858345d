"""Occlusion against windows moved by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from small_networks import smooth_network, some_images

from headstart.attributions import attribute
from headstart.attributions.base import blurred


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("side", [16, 34])
def test_equals_windows_moved_by_hand(side):
    """34 px: windows of 4 in steps of 2; the last ones reach the border."""
    model, x = smooth_network(side=side), some_images(2, side)
    target = torch.tensor([1, 2])
    found = attribute(model, x, target, "occlusion", batch_size=7).maps
    window, step = side // 8, side // 16
    soft = torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, side / 8, side / 8), mode="reflect"))
    for i in range(2):
        total, count = np.zeros((side, side)), np.zeros((side, side))
        for top in range(0, side - window + step, step):
            for left in range(0, side - window + step, step):
                hidden = x[i : i + 1].clone()
                place = (..., slice(top, top + window), slice(left, left + window))
                hidden[place] = soft[i : i + 1][place]
                with torch.no_grad():
                    fall = (model(x[i : i + 1]) - model(hidden))[0, target[i]].item()
                total[place[1:]] += fall
                count[place[1:]] += 1
        np.testing.assert_allclose(found[i], total / count, rtol=1e-3, atol=2e-5)


def test_finds_the_only_pixel_that_counts():
    class Pixel(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0, 5, 9], -x[:, 0, 5, 9]], 1)

    x = torch.zeros(1, 3, 16, 16)
    x[0, 0, 5, 9] = 1
    found = attribute(Pixel(), x, torch.tensor([0]), "occlusion").maps[0]
    assert tuple(np.unravel_index(int(found.argmax()), (16, 16))) == (5, 9)
    assert int(torch.count_nonzero(found)) <= 9


def test_blur_equals_scipy():
    x = some_images(2, 24)
    expected = gaussian_filter(x.double().numpy(), (0, 0, 3, 3), mode="reflect")
    np.testing.assert_allclose(blurred(x), expected, atol=1e-6)
