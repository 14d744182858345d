"""Occlusion: how much the score falls where a patch is hidden (Zeiler and Fergus, 2014)."""

from __future__ import annotations

from headstart.attributions.base import Case, Maps, blurred, shown_as


@shown_as(signed=True)
def occlusion(case: Case) -> Maps:
    """Mean fall of the logit over the windows that hide a pixel; signed.

    Windows of H/8 × W/8 pixels in steps of H/16 × W/16 (225 of them), filled from the image
    under a blur of σ = H/8, which has the image's own colours.
    """
    import torch
    from captum.attr import Occlusion

    method = Occlusion(case.model)
    height, width = case.x.shape[2:]
    maps = []
    for images, classes in case.batches():
        with torch.no_grad():
            found = method.attribute(
                images,
                sliding_window_shapes=(images.shape[1], max(1, height // 8), max(1, width // 8)),
                strides=(images.shape[1], max(1, height // 16), max(1, width // 16)),
                baselines=blurred(images),
                target=classes,
                perturbations_per_eval=max(1, case.batch_size // len(images)),
            )
        maps.append(found[:, 0])  # a window hides all channels: each holds the whole fall
    return Maps(torch.cat(maps), torch.ones_like(case.target, dtype=torch.bool))
