"""What a method is: an equation over views, and what moves after a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from headstart.config import Recipe
from headstart.nn.encoder import Encoder


class Method(nn.Module, ABC):
    """One paper. Override ``__init__`` (keyword-only arguments are the settings), ``loss``,
    ``embed``, ``recipe``, and, for a moving average or a queue, ``after_step``.

    A method sees views; never disks, devices, labels or loggers.
    """

    title: ClassVar[str]
    """The name in print, as the paper spells it."""

    paper: ClassVar[str]
    """Who wrote it, when, and its arXiv number."""

    tiny: ClassVar[Mapping[str, Any]]
    """Settings with narrow heads, for networks of a few features: tests and trials."""

    peer: ClassVar[str | None] = None
    """The same method in another library, to be timed beside ours, as ``"module:attribute"``."""

    fixed_lr_modules: ClassVar[tuple[str, ...]] = ()
    """Submodules whose learning rate the schedule leaves alone."""

    def __init__(self, encoder: Encoder, steps: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.steps = steps  # length of the run, for schedules of the method's own

    @staticmethod
    @abstractmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """The settings, optimiser and views of the recipe ``small`` or ``paper``."""

    @abstractmethod
    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The scalar to minimise for two views (B, 3, H, W) in [0, 1] of the same images."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """What collapse is read from: the projections (B, D) of images (B, 3, H, W)."""

    @staticmethod
    def most_ranks(batch_size: int, settings: Mapping[str, Any]) -> int:
        """On how many processes a batch can be trained: each needs a piece of work of its own."""
        return batch_size

    def after_step(self, step: int) -> None:
        """Move what is not trained by gradient, after optimiser step ``step`` (0 … steps−1)."""

    @abstractmethod
    def loss_floor(self, batch_size: int) -> float:
        """The loss that learning nothing gives: a constant output, or uninformative logits."""
