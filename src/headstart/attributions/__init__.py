"""Attribution: which pixels carry a classifier's score. One short function for each method.

A new attribution is one file and one line here.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from headstart.attributions.base import (
    Attribution,
    Case,
    Maps,
    NoMap,
    left_as_it_was,
    shown_as,
    without_constant,
)
from headstart.extensions import Group
from headstart.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "ATTRIBUTIONS",
    "Attribution",
    "Case",
    "Maps",
    "NoMap",
    "attribute",
    "is_signed",
    "shown_as",
    "title",
]

ATTRIBUTIONS: Registry[Attribution] = Registry(
    "attribution",
    {
        "saliency": "headstart.attributions.saliency:saliency",
        "integrated_gradients": "headstart.attributions.integrated_gradients:integrated_gradients",
        "smoothgrad": "headstart.attributions.smoothgrad:smoothgrad",
        "gradient_shap": "headstart.attributions.gradient_shap:gradient_shap",
        "grad_cam": "headstart.attributions.grad_cam:grad_cam",
        "occlusion": "headstart.attributions.occlusion:occlusion",
    },
    Group("headstart.attributions", needs=("__call__",)),
)


def title(name: str) -> str:
    """An attribution's name in print; of one that is not there, its name with spaces."""
    printed: str = getattr(ATTRIBUTIONS.usable(name), "title", "")
    return printed or name.replace("_", " ")


def is_signed(name: str) -> bool:
    """Whether an attribution's maps say what raises the score and what lowers it."""
    return bool(getattr(ATTRIBUTIONS.usable(name), "signed", False))


def attribute(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    name: str,
    batch_size: int = 64,
    reference: Tensor | None = None,
) -> Maps:
    """Explain the logit of class ``target`` (B,) for images ``x`` (B, C, H, W) in [0, 1].

    The model maps pixels to logits (B, classes) and normalises inside; no softmax, which
    saturates. It is explained in evaluation mode and float32, ``batch_size`` images at a time on
    the device of ``x``, and is afterwards exactly as it was: weights, buffers, modes, flags and
    gradients. ``reference`` (R, C, H, W) in [0, 1] are training images, the baselines of
    ``gradient_shap``. Noise comes from the image itself, so every model sees the same; the global
    random state is neither used nor changed.

    A map that is the same everywhere is no map: it comes back as zeros, see ``Maps.present``.

    Raises:
        NoMap: the model has no map by this method (a ``ValueError``).
        ValueError: an unknown name, wrong shapes, pixels outside [0, 1], or scores that are not
            finite.
    """
    import torch

    if name not in ATTRIBUTIONS:
        near = difflib.get_close_matches(name, ATTRIBUTIONS, 1, 0)[0]
        raise ValueError(f"unknown attribution {name!r}; did you mean {near!r}?")
    _check(x, target, batch_size)
    _check_reference(x, reference)
    with (
        left_as_it_was(model),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(x.device.type, enabled=False),
    ):
        pixels, classes = x.detach().float().clone(), target.detach().long().clone()
        compared = None if reference is None else reference.detach().to(pixels).clone()
        case = Case(_connected(model), pixels, classes, batch_size, compared)
        found = ATTRIBUTIONS[name](case)
    if not bool(torch.isfinite(found.maps).all()):
        raise ValueError("the model gives scores or gradients that are not finite")
    return Maps(without_constant(found.maps.detach().float()), found.converged)


def _check(x: Tensor, target: Tensor, batch_size: int) -> None:
    if x.ndim != 4 or target.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(
            f"x must be (B, C, H, W) and target (B,), not {tuple(x.shape)}, {tuple(target.shape)}"
        )
    if not 0 <= float(x.min()) <= float(x.max()) <= 1:
        raise ValueError("pixels must lie in [0, 1]: the model normalises inside")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")


def _check_reference(x: Tensor, reference: Tensor | None) -> None:
    if reference is None:
        return
    if reference.shape[1:] != x.shape[1:] or len(reference) == 0:
        shapes = tuple(reference.shape), tuple(x.shape)
        raise ValueError(
            f"reference must be (R, C, H, W) like x, not {shapes[0]} beside {shapes[1]}"
        )
    if not 0 <= float(reference.min()) <= float(reference.max()) <= 1:
        raise ValueError("the pixels of reference must lie in [0, 1]")


def _connected(model: nn.Module) -> nn.Module:
    """The model, with a gradient of 0 where its score does not depend on the pixels.

    Automatic differentiation refuses a score that never touched its input, but the answer for
    a classifier that ignores the image is known: 0.
    """
    from torch import nn

    class Connected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.model(x)
            return logits + 0 * x.flatten(1).sum(1, keepdim=True)

    return Connected().eval()
