"""SmoothGrad against a loop over noisy copies, and what makes it comparable between models."""

from __future__ import annotations

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from small_networks import linear_network, smooth_network, some_images

from headstart.attributions import attribute
from headstart.attributions.base import own_generator


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_equals_a_loop_over_noisy_copies():
    model, x, target = smooth_network(), some_images(), torch.tensor([2, 0, 1])
    found = attribute(model, x, target, "smoothgrad", batch_size=2).maps
    for i in range(3):
        generator = own_generator(x[i])
        total = torch.zeros(3, 16, 16)
        for _ in range(25):
            leaf = (x[i] + 0.15 * torch.randn(3, 16, 16, generator=generator)).requires_grad_()
            (gradient,) = torch.autograd.grad(model(leaf[None])[0, target[i]], leaf)
            total += gradient / 25
        torch.testing.assert_close(found[i], total.abs().max(0).values, rtol=1e-4, atol=1e-7)


def test_agrees_with_captum_up_to_the_noise():
    """Captum draws other noise, so the two agree in what they estimate: many of its samples."""
    model, x, target = smooth_network(), some_images(1), torch.tensor([1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = NoiseTunnel(Saliency(model)).attribute(
            x.clone().requires_grad_(),
            nt_type="smoothgrad",
            nt_samples=400,
            nt_samples_batch_size=100,
            stdevs=0.15,
            target=1,
            abs=False,
        )
    ours = attribute(model, x, target, "smoothgrad").maps[0]
    expected = theirs[0].abs().max(0).values
    assert float((ours - expected).abs().mean()) < 0.1 * float(expected.mean())


def test_is_saliency_where_the_gradient_is_the_same_everywhere():
    model, x, target = linear_network(), some_images(), torch.tensor([0, 1, 2])
    torch.testing.assert_close(
        attribute(model, x, target, "smoothgrad").maps, attribute(model, x, target, "saliency").maps
    )


def test_the_noise_belongs_to_the_image():
    one, other = some_images(2)
    assert torch.equal(
        torch.randn(5, generator=own_generator(one)),
        torch.randn(5, generator=own_generator(one.clone())),
    )
    assert not torch.equal(
        torch.randn(5, generator=own_generator(one)), torch.randn(5, generator=own_generator(other))
    )
