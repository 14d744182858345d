"""SmoothGrad: saliency of noisy copies, averaged (Smilkov et al., 2017)."""

from __future__ import annotations

from headstart.attributions.base import Case, Maps, own_generator, shown_as
from headstart.attributions.saliency import steepest

SAMPLES = 25
NOISE = 0.15  # standard deviation, in a range of 1: the paper finds 10 to 20 % of the range best


@shown_as("SmoothGrad")
def smoothgrad(case: Case) -> Maps:
    """The largest |mean gradient| over a pixel's channels, of 25 copies with noise of σ = 0.15.

    The noise belongs to the image: every model sees the same.
    """
    import torch

    total = torch.zeros_like(case.x)
    generators = [own_generator(image) for image in case.x]
    for _ in range(SAMPLES):
        noise = [torch.randn(case.x.shape[1:], generator=g) for g in generators]
        noisy = case.x + NOISE * torch.stack(noise).to(case.x)
        total += case.gradients(noisy, case.target)
    return steepest(total / SAMPLES)
