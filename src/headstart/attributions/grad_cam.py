"""Grad-CAM: the channels of a deep stage, weighed by their gradients (Selvaraju et al., 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.attributions.base import Case, Maps, NoMap, shown_as

if TYPE_CHECKING:
    from torch import Tensor, nn

CELLS = 7  # a coarser stage could not tell an object from its surroundings


@shown_as("Grad-CAM")
def grad_cam(case: Case) -> Maps:
    """ReLU(Σ_k ᾱ_k A_k) of the deepest stage with at least 7 × 7 cells, enlarged bilinearly.

    A_k is channel k of the stage and ᾱ_k the mean of ∂z_c/∂A_k over its cells (equations 1 and 2
    of the paper). Never negative.

    Raises:
        NoMap: the model has no such stage at this image size.
    """
    import torch
    from captum.attr import LayerGradCam
    from torch.nn import functional as F

    method = LayerGradCam(case.model, deepest_stage(case.model, case.x[:1]))
    maps = []
    for images, classes in case.batches():
        leaf = images.detach().requires_grad_()
        coarse = method.attribute(leaf, target=classes, relu_attributions=True).detach()
        maps.append(F.interpolate(coarse, images.shape[2:], mode="bilinear")[:, 0])
    return Maps(torch.cat(maps), torch.ones_like(case.target, dtype=torch.bool))


def deepest_stage(model: nn.Module, x: Tensor) -> nn.Module:
    """The last module of a run on ``x`` (1, C, H, W) whose output has at least 7 × 7 cells.

    It follows at least two convolutions, so a stem or a transformer's patches are no stage; and it
    lies in no block that ends in fewer cells, so what comes out of it is what the rest of the
    model sees. (Plain sequences are not blocks: whole backbones are written as one.)
    """
    import torch
    from torch import nn

    finished: list[tuple[nn.Module, bool]] = []  # modules and whether their output is large enough
    convolutions = 0

    def note(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal convolutions
        convolutions += isinstance(module, nn.Conv2d)
        if isinstance(output, torch.Tensor) and output.ndim == 4 and convolutions > 1:
            finished.append((module, min(output.shape[2:]) >= CELLS))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    small = [m for m, large in finished if not large and not isinstance(m, nn.Sequential)]
    hidden = {inner for block in small for inner in block.modules()}
    stages = [module for module, large in finished if large and module not in hidden]
    if not stages:
        side = min(x.shape[2:])
        raise NoMap(f"grad_cam: no stage of {CELLS} × {CELLS} cells or more at {side} px")
    return stages[-1]
