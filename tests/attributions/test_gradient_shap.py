"""GradientSHAP: exact on linear models, against a slow loop, complete in the mean."""

from __future__ import annotations

import pytest
import torch
from captum.attr import GradientShap
from small_networks import linear_network, smooth_network, some_images

from headstart.attributions import attribute
from headstart.attributions.base import own_generator


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("images", [None, 2, 20])
def test_is_exact_on_a_linear_model(images):
    """Σ over channels of w · (x − mean baseline): the noise comes in pairs and cancels."""
    model, x, target = linear_network(), some_images(), torch.tensor([0, 1, 2])
    reference = None if images is None else some_images(images, seed=5)
    mean = 0.5 if reference is None else reference.mean(0)
    weight = model[1].weight.detach()[target].view(3, 3, 16, 16)
    found = attribute(model, x, target, "gradient_shap", reference=reference)
    torch.testing.assert_close(found.maps, (weight * (x - mean)).sum(1), rtol=1e-4, atol=1e-6)


def test_equals_a_loop():
    model, x, target = smooth_network(), some_images(2), torch.tensor([2, 0])
    reference = some_images(7, seed=9)
    found = attribute(model, x, target, "gradient_shap", 3, reference).maps
    for i in range(2):
        generator = own_generator(x[i])
        order = torch.randperm(7, generator=generator)
        total, noise = torch.zeros(16, 16), torch.zeros(())
        for sample in range(20):
            noise = -noise if sample % 2 else torch.randn(3, 16, 16, generator=generator)
            alpha = (sample + torch.rand((), generator=generator)) / 20
            start = reference[order[sample % 7]]
            end = x[i] + 0.09 * noise
            leaf = (start + alpha * (end - start)).requires_grad_()
            (gradient,) = torch.autograd.grad(model(leaf[None])[0, target[i]], leaf)
            total += (gradient * (end - start)).sum(0) / 20
        torch.testing.assert_close(found[i], total, rtol=1e-3, atol=1e-6)


def test_agrees_with_captum_up_to_the_draws():
    model, x, target = smooth_network(), some_images(1), torch.tensor([1])
    reference = some_images(10, seed=9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = (
            GradientShap(model)
            .attribute(x, baselines=reference, n_samples=600, stdevs=0.09, target=1)[0]
            .sum(0)
        )
    ours = attribute(model, x, target, "gradient_shap", reference=reference).maps[0]
    assert float((ours - theirs).abs().mean()) < 0.2 * float(theirs.abs().mean())


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (torch.zeros(0, 3, 16, 16), "reference must be"),
        (torch.zeros(2, 3, 8, 8), "reference must be"),
        (torch.full((2, 3, 16, 16), 255.0), "reference must lie"),
    ],
)
def test_refuses_a_wrong_reference(reference, message):
    with pytest.raises(ValueError, match=message):
        attribute(linear_network(), some_images(), torch.zeros(3), "saliency", reference=reference)
