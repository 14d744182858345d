"""Activations that the backward pass computes again instead of keeping (Chen et al. 2016, §4.1).

PyTorch computes a block again in the backward pass as if it were called a second time. Three things
would then go wrong: BatchNorm would move its running statistics twice, dropout would draw other
numbers, and statistics of the joint batch of several processes would be of a part of it. Here
none of it happens, so the numbers are those of a training that keeps everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

LARGEST = 8  # layers of a block: those of a residual or transformer block of any kind, not of two
_CHAINS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The pieces of a network that are computed again as a whole, none inside another.

    The largest modules that hold two to ``LARGEST`` convolutions and linear layers and are not mere
    lists of modules: a block of a ResNet, a ConvNeXt or a vision transformer.
    """
    for child in network.children():
        layers = sum(isinstance(module, _ConvNd | nn.Linear) for module in child.modules())
        if 2 <= layers <= LARGEST and not isinstance(child, _CHAINS):
            yield child
        elif layers >= 2:
            yield from blocks(child)


class NoBlocksError(ValueError):
    """A network in which nothing can be computed again."""


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """While it lasts, the blocks of a network keep nothing but their inputs for the backward pass.

    Loss and gradients are the same numbers, as are random states, running statistics and all other
    buffers after it. Passes without gradient are left alone.

    Raises:
        NoBlocksError: the network has none.
    """
    found = list(dict.fromkeys(blocks(network)))  # a module may stand in two places
    if not found:
        raise NoBlocksError("the backbone has no blocks whose activations could be computed again")
    for block in found:
        block.forward = partial(_pass, block, block.forward)
    try:
        yield
    finally:
        for block in found:
            del block.forward


def _pass(block: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    # A DenseNet adds to the list of features that its layers have been given.
    kept = (list(arg) if isinstance(arg, list) else arg for arg in args)
    passes = partial(_passes, block)
    return checkpoint(forward, *kept, use_reentrant=False, context_fn=passes, **kwargs)


def _passes(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """What surrounds the first pass of a block, and what its repetition."""
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return nullcontext(), _repetition(block, modes)


@contextmanager
def _repetition(block: nn.Module, modes: Sequence[TorchFunctionMode]) -> Iterator[None]:
    """A second pass has BatchNorm and convolutions as the first, and copies of the buffers, as the
    first one has moved them already.
    """
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        for module in block.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                stack.callback(setattr, module, name, buffer)
                setattr(module, name, buffer.clone())
        yield
