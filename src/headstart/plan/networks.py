"""What a network's training step computes and keeps, counted on a few black images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.config import Study, StudyError
from headstart.methods import METHODS
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import Encoder, build_encoder
from headstart.nn.recompute import NoBlocksError, blocks, recomputing
from headstart.recipes import resolve_recipe

BATCHES = (2, 3, 4)  # images of the steps that are counted: a parabola goes through three points


@dataclass(frozen=True)
class Parabola:
    """How an amount grows with the images of a step: fixed + each · B + pair · B².

    The last part is that of a loss that compares every image with every other.
    """

    fixed: float
    each: float
    pair: float

    @classmethod
    def through(cls, values: Sequence[float]) -> Self:
        """From the values for ``BATCHES``."""
        two, three, four = values
        pair = (four - 2 * three + two) / 2
        each = three - two - 5 * pair
        return cls(two - 2 * each - 4 * pair, each, pair)

    def share(self, batch: int, processes: int = 1, each: float = 1.0) -> float:
        """The amount of one of several processes, which has its part of the images and all pairs.

        ``each`` is what the part of an image is multiplied with.
        """
        return self.fixed + each * self.each * batch / processes + self.pair * batch**2


@dataclass(frozen=True)
class Counted:
    """One network while it trains.

    ``flops`` of products and convolutions, forward and backward; ``kept`` bytes that the backward
    pass needs at a time, in float32; ``forward`` operations an image of the encoder alone;
    ``weights`` and ``trained`` bytes of all weights and of those that gradients move; ``norms``
    BatchNorm layers; ``features`` numbers a feature vector has; ``encoder`` bytes of its weights.
    """

    flops: Parabola
    kept: Parabola
    forward: float
    weights: int
    trained: int
    norms: int
    features: int
    encoder: int


def count(study: Study, method: str | None, classes: int = 2) -> Counted:
    """Count a method's training step, or with None that of end-to-end training on labels.

    Raises:
        StudyError: an unknown backbone or method, or activations that cannot be computed again.
    """
    again = study.engine.activation_checkpointing
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = _encoder(study)
        if method is None:
            network: nn.Module = Supervised(encoder, classes)
        else:
            network = METHODS[method](encoder, 1, **resolve_recipe(study, method).settings)
        try:
            return _counted(network, encoder, study.encoder.image_size, again=again)
        except NoBlocksError as error:
            raise StudyError(f"engine.activation_checkpointing: {error}; leave it out") from None


def _encoder(study: Study) -> Encoder:
    encoder = study.encoder
    try:
        return build_encoder(encoder.backbone, image_size=encoder.image_size, stem=encoder.stem)
    except ValueError as error:
        raise StudyError(f"encoder: {error}") from None


def _counted(network: nn.Module, encoder: Encoder, side: int, *, again: bool = False) -> Counted:
    steps = [_step(network, batch, side, again=again) for batch in BATCHES]
    flops, kept = zip(*steps, strict=True)
    with FlopCounterMode(display=False) as once, torch.no_grad():
        encoder(torch.zeros(2, 3, side, side))
    return Counted(
        flops=Parabola.through(flops),
        kept=Parabola.through(kept),
        forward=once.get_total_flops() / 2,
        weights=_bytes(network),
        trained=sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad),
        norms=sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()),
        features=encoder.num_features,
        encoder=_bytes(encoder),
    )


def _step(network: nn.Module, batch: int, side: int, *, again: bool = False) -> tuple[int, int]:
    """Operations of a step of so many images, and bytes that its backward pass needs.

    ``again``: the blocks are computed again, one after the other, so that to what they keep comes
    what the largest of them needs.
    """
    x = torch.zeros(batch, 3, side, side)
    second = torch.arange(batch) % 2 if isinstance(network, Supervised) else x
    largest = _largest_block(network, x, second) if again else 0
    kept = _Kept(network)
    with (
        FlopCounterMode(display=False) as counter,
        kept.hooks(),
        recomputing(network) if again else nullcontext(),
    ):
        network.loss(x, second).backward()  # type: ignore[operator]
    network.zero_grad(set_to_none=True)
    return counter.get_total_flops(), kept.bytes + largest


def _largest_block(network: nn.Module, x: Tensor, second: Tensor) -> int:
    """Bytes that the backward pass needs of the block that needs most."""
    kept, needed = _Kept(network), [0]
    handles = []
    for block in blocks(network):
        begin = block.register_forward_pre_hook(lambda *_: needed.append(-kept.bytes))
        end = block.register_forward_hook(lambda *_: needed.append(needed.pop() + kept.bytes))
        handles += [begin, end]
    with kept.hooks():
        network.loss(x, second)  # type: ignore[operator]
    for handle in handles:
        handle.remove()
    return max(needed)


class _Kept:
    """``bytes`` that are kept for a backward pass beside the weights."""

    def __init__(self, network: nn.Module) -> None:
        self.held: dict[int, Tensor] = {
            p.untyped_storage().data_ptr(): p for p in network.parameters()
        }
        self.bytes = 0

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        """A context in which what is kept is counted, each memory once."""
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in self.held:
            self.held[memory.data_ptr()] = tensor  # else another could take its place
            self.bytes += memory.nbytes()
        return tensor


def _bytes(network: nn.Module) -> int:
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
