"""GradientSHAP: expected gradients over baseline images (Lundberg and Lee, 2017; Erion, 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.attributions.base import Case, Maps, own_generator, shown_as

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 20
NOISE = 0.09  # standard deviation of the noise on the image, in a range of 1


@shown_as("GradientSHAP", signed=True)
def gradient_shap(case: Case) -> Maps:
    """Mean of (x' − b) · ∂z_c/∂x at b + α (x' − b), summed over channels; signed.

    x' is the image with noise of σ = 0.09, b a baseline drawn without replacement from
    ``reference`` (training images; without them black and white take turns), and α uniform in
    [0, 1], one draw in each twentieth of it. The 20 draws belong to the image: every model sees
    the same.
    """
    import torch

    baselines = _baselines(case)
    generators = [own_generator(image) for image in case.x]
    orders = torch.stack([torch.randperm(len(baselines), generator=g) for g in generators])
    maps = case.x.new_zeros(len(case.x), *case.x.shape[2:])
    for sample in range(SAMPLES):
        if sample % 2 == 0:  # in pairs of opposite signs, so that alone it makes no map
            noise = torch.stack([torch.randn(case.x.shape[1:], generator=g) for g in generators])
        else:
            noise = -noise
        within = torch.stack([torch.rand((), generator=g) for g in generators])
        alpha = ((sample + within) / SAMPLES).view(-1, 1, 1, 1).to(case.x)
        start = baselines[orders[:, sample % len(baselines)].to(baselines.device)]
        path = case.x + NOISE * noise.to(case.x) - start
        maps += (case.gradients(start + alpha * path, case.target) * path).sum(1) / SAMPLES
    return Maps(maps, torch.ones_like(case.target, dtype=torch.bool))


def _baselines(case: Case) -> Tensor:
    import torch

    if case.reference is not None:
        return case.reference
    black = torch.zeros_like(case.x[:1])
    return torch.cat([black, black + 1])
