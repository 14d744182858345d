"""One trial of end-to-end training: what was set, how it did on validation, how long it ran."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import inf, isfinite, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.config import Augmentation
from headstart.data.batches import Images, Order
from headstart.data.splits import LabelBudget
from headstart.engine import Reading
from headstart.methods.supervised import Supervised
from headstart.nn.checkpoint import load_state, save_state
from headstart.runtime.networks import outputs
from headstart.runtime.run import Dataset

LEARNED = 0.8
"""Of the loss that knowing the class shares alone gives: a network below it has begun to learn."""
FITTING = 0.1
"""Longer training pays while it lowers the training loss by more than this share of that loss."""
LATE = 0.9
"""A best epoch beyond this share of a whole run says that the run was too short."""


@dataclass(frozen=True)
class Setting:
    """What one trial is trained with."""

    lr: float
    weight_decay: float
    augmentation: Augmentation = "light"
    length: int = 1
    """Times the base length."""

    @property
    def name(self) -> str:
        """For files and logs: no two settings share it."""
        return f"{self.augmentation}-lr{self.lr!r}-decay{self.weight_decay!r}-x{self.length}"


@dataclass(frozen=True)
class Trial:
    """One setting, and how it did on validation."""

    setting: Setting
    score: tuple[float, float]
    """Balanced accuracy, and minus the cross-entropy to part equals."""
    best_epoch: int
    """In base epochs, like ``epochs``; 0 where it was never scored."""
    epochs: int
    still_improving: bool
    """The highest score lies in the last tenth of the run."""
    fit: float
    """Training loss at the end over what knowing the class shares alone gives: 1 where nothing was
    learned, 0 where every training image was."""
    steps: int
    images: int
    """Images seen, each as often as it was."""
    weights: dict[str, Tensor] = field(repr=False)
    """The network at its best epoch; none of a trial that another has beaten."""
    hits: Tensor = field(repr=False, default_factory=lambda: torch.zeros(0))
    """What each validation image adds to the balanced accuracy, (V,)."""
    broken: str | None = None
    """Why it ended without a number."""

    @classmethod
    def none(cls) -> Trial:
        """What any trial is better than."""
        return cls(Setting(0.0, 0.0), (-inf, 0.0), 0, 0, False, inf, 0, 0, {})

    @property
    def learned(self) -> bool:
        """Whether its training images taught it more than the class shares."""
        return self.broken is None and self.fit < LEARNED

    def beats(self, other: Trial) -> bool:
        """Whether it is to be kept in place of another one with the same augmentation.

        Where the validation images can tell them apart, the one that scores higher; else the one
        that has learned more of its training images.
        """
        if self.broken is not None or not other.best_epoch:
            return self.score > other.score
        difference = self.score[0] - other.score[0]
        if worse(difference, self.hits, other.hits):
            return False
        return self.fit < other.fit or worse(-difference, self.hits, other.hits)

    def pays(self, shorter: Trial, tolerance: float) -> bool:
        """Whether training longer than ``shorter`` was worth it: there is more to learn still.

        It was if this scores higher by more than ``tolerance`` and by more than chance, if it
        lowered the training loss by ``FITTING``, and wherever it has not begun to learn.
        """
        gain = self.score[0] - shorter.score[0]
        higher = gain > tolerance and worse(-gain, self.hits, shorter.hits)
        return higher or self.fit < shorter.fit - FITTING or not self.learned

    def summary(self) -> dict[str, Any]:
        """The trial for people; shares in [0, 1], None for one that broke before it was scored."""
        return {
            **asdict(self.setting),
            "validation": self.score[0] if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "still_improving": self.still_improving,
            "learned": self.learned,
            "fit": self.fit if isfinite(self.fit) else None,
            "steps": self.steps,
            "images": self.images,
        }

    def save(self, path: Path) -> None:
        """Keep it until the artifact that it is part of is whole."""
        save_state(path, {**vars(self), "setting": asdict(self.setting)})

    @classmethod
    def load(cls, path: Path) -> Trial:
        """What ``save`` kept.

        Raises:
            DamagedError: the file is not what was written.
        """
        state = load_state(path)
        return cls(**{**state, "setting": Setting(**state["setting"])})


def worse(difference: float, one: Tensor, other: Tensor) -> bool:
    """Whether a difference in balanced accuracy lies more than one standard error below nought.

    ``one`` and ``other`` (V,) are what each validation image adds to the two scores; the error is
    that of their paired difference. The one-standard-error rule (Breiman et al. 1984, 3.4.3): of
    few images the highest score is often luck.
    """
    n = len(one)
    if n < 2 or len(other) != n:
        return difference < 0
    error = float((one - other).std()) * sqrt(n)
    return difference < -error


@dataclass(frozen=True)
class LabelledImages:
    """Images, and their classes (N,)."""

    images: Images
    labels: Tensor


def validation_images(data: Dataset, budget: LabelBudget) -> LabelledImages:
    """The validation images of a label budget."""
    labels = torch.from_numpy(data.index.labels[budget.validation])
    return LabelledImages(data.images(budget.validation), labels)


@dataclass(frozen=True)
class Answers:
    """How a network did on the validation images at one reading."""

    score: tuple[float, float] = (-1.0, 0.0)
    hits: Tensor = field(default_factory=lambda: torch.zeros(0))
    epoch: int = 0


class ValidationWatch:
    """Keeps the weights of the last reading that is not worse on validation than the best one.

    "Worse" means by more than one standard error: with few images the highest of many scores is
    luck, and the rate has fallen furthest at the end. A trial is never cut short: while a rate is
    high, validation can stand still for long and rise when the rate falls. It is scored equally
    often whatever its length. ``class_loss`` is the cross-entropy of the class shares;
    ``tell`` hears of every reading.
    """

    def __init__(
        self,
        network: Supervised,
        held_out: LabelledImages,
        read_every: int,
        class_loss: float,
        tell: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        self.network, self.held_out, self.tell = network, held_out, tell
        self.read_every, self.class_loss = read_every, class_loss
        self.best = self.kept = Answers()
        self.done, self.steps, self.loss = 0, 0, inf
        self.broken: str | None = None
        self.weights = copy.deepcopy(network.state_dict())

    def __call__(self, reading: Reading) -> str | None:
        """Score the network as it is now; a broken loss ends the trial where it was best."""
        self.done += 1
        self.steps, self.loss = reading.step, reading.loss
        now = self._answers()
        values = {"loss": reading.loss, "lr": reading.lr, "validation": now.score[0]}
        self.tell(reading.step, values)
        if not (isfinite(reading.loss) and isfinite(now.score[1])):
            what = "loss" if not isfinite(reading.loss) else "validation loss"
            value = reading.loss if not isfinite(reading.loss) else -now.score[1]
            self.broken = f"{what} is {value} at step {reading.step}"
            return self.broken
        if now.score > self.best.score:
            self.best = now
        if not worse(now.score[0] - self.best.score[0], now.hits, self.best.hits):
            self.kept = now
            self.weights = copy.deepcopy(self.network.state_dict())
        return None

    def _answers(self) -> Answers:
        logits, labels = outputs(self.network, self.held_out.images), self.held_out.labels
        right = (logits.argmax(dim=1) == labels).float()
        _, place, count = torch.unique(labels, return_inverse=True, return_counts=True)
        hits = right / (len(count) * count[place])
        score = float(hits.sum()), -float(F.cross_entropy(logits, labels))
        return Answers(score, hits, self.done)

    def trial(self, setting: Setting, order: Order) -> Trial:
        """What the trial came to."""
        weights = {name: tensor.cpu() for name, tensor in self.weights.items()}
        return Trial(
            setting=setting,
            score=self.kept.score,
            best_epoch=self.kept.epoch * setting.length,
            epochs=self.done * setting.length,
            still_improving=self.broken is None and self.best.epoch > LATE * self.done,
            fit=self.loss / self.class_loss,
            steps=self.steps,
            images=order.images(self.steps),
            weights=weights,
            hits=self.kept.hits,
            broken=self.broken,
        )

    def state(self) -> dict[str, Any]:
        """Trials are short: one killed is begun again, so nothing travels."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing travels."""
