"""Whether an exported network is headstart's own: the same weights, and the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.export.formats.base import Loaded, Model
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import RGB

TOLERANCE = 1e-5
"""Largest difference that passes, as a share of the largest absolute feature or logit."""
IMAGES = 5


class DifferentError(ValueError):
    """The exported network is not headstart's own; says in what, for the end of a line."""


@dataclass(frozen=True)
class Agreement:
    """How far two networks are apart."""

    weights: int | None
    """Weights that are equal bit for bit: all of them; None where the library has none by name."""
    images: int
    outputs: int
    """Features, or logits, an image."""
    largest: float
    """Largest absolute difference between the answers."""
    relative: float
    """The same over the largest absolute value of headstart's own answers."""


def compare(model: Model, loaded: Loaded) -> Agreement:
    """Compare what a library loaded with headstart's own network, on fixed images.

    Answers alone do not show every weight: in a young ResNet the last BatchNorm of a block is
    nearly 0, and hides the convolution before it. So the weights are compared too.

    Raises:
        DifferentError: a weight differs, or answers by more than ``TOLERANCE``.
    """
    weights = None if loaded.weights is None else _require_equal(model, loaded.weights)
    images = fixed_images(model.image_size, model.channels)
    with torch.inference_mode():
        own, theirs = model.network(images).double(), loaded.answer(images).double()
    if own.shape != theirs.shape:
        raise DifferentError(f"it answers {tuple(theirs.shape)} where {tuple(own.shape)} is due")
    largest = float((own - theirs).abs().max())
    relative = largest / (float(own.abs().max()) or 1.0)
    if not relative <= TOLERANCE:  # numbers that are none never agree
        raise DifferentError(
            f"its answers differ by {relative:.1e} of the largest, more than {TOLERANCE:g}"
            + _rounding(model, images)
        )
    return Agreement(weights, len(images), own.shape[1], largest, relative)


def _rounding(model: Model, images: Tensor) -> str:
    """Whether headstart's own answers hang on rounding, as logits of nearly equal features do."""
    precise = deepcopy(model.network).double()
    with torch.inference_mode():
        own, exact = model.network(images).double(), precise(images.double())
    moved = float((own - exact).abs().max()) / (float(exact.abs().max()) or 1.0)
    if not moved > TOLERANCE:
        return ""
    return f", and headstart's own by {moved:.1e} between 32 and 64 bits: rounding decides them"


def _require_equal(model: Model, found: Mapping[str, Tensor]) -> int:
    """How many weights there are, all of them equal; a head has another name in every library."""
    own = dict(model.body)
    if isinstance(model.network, Supervised):
        head = model.network.head.state_dict()
        named = {n: n.rpartition(".")[2] for n in found if n not in own}
        own |= {name: head[end] for name, end in named.items() if end in head}
        if len(own) != len(model.body) + len(head):
            raise DifferentError("it has no linear classifier")
    wrong = [n for n in own if n not in found or not torch.equal(own[n], found[n])]
    wrong += [n for n in found if n not in own]
    if wrong:
        raise DifferentError(f"{len(wrong)} of its weights are other ones (first: {wrong[0]})")
    return len(own)


def fixed_images(size: int, channels: int = RGB) -> Tensor:
    """Five images (5, C, S, S) in [0, 1], always the same: noise of several contrasts around a
    colour of its own each.
    """
    drawn = torch.Generator().manual_seed(20)
    colour = torch.rand(IMAGES, channels, 1, 1, generator=drawn)
    noise = torch.rand(IMAGES, channels, size, size, generator=drawn)
    contrast = torch.linspace(0.2, 1, IMAGES).view(-1, 1, 1, 1)
    return colour * (1 - contrast) + noise * contrast
