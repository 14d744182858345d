"""One trial of end-to-end training: what was set, how it did on validation, how long it ran."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
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
from headstart.runtime.logs import Logs
from headstart.runtime.networks import outputs
from headstart.runtime.run import Dataset

LEARNED = 0.8
"""Of the loss that knowing the class shares alone gives: a network below it has begun to learn."""
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
    """The best epoch lies in the last tenth of the run."""
    learned: bool
    """The training loss at the end was well below what knowing the class shares alone gives."""
    steps: int
    images: int
    """Images seen, each as often as it was."""
    weights: dict[str, Tensor] = field(repr=False)
    """The network at its best epoch; none of a trial that another has beaten."""
    broken: str | None = None
    """Why it ended without a number."""

    @classmethod
    def none(cls) -> Trial:
        """What any trial is better than."""
        return cls(Setting(0.0, 0.0), (-inf, 0.0), 0, 0, False, False, 0, 0, {})

    def summary(self) -> dict[str, Any]:
        """The trial for people; shares in [0, 1], None for one that broke before it was scored."""
        return {
            **asdict(self.setting),
            "validation": self.score[0] if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "still_improving": self.still_improving,
            "learned": self.learned,
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


@dataclass(frozen=True)
class LabelledImages:
    """Images, and their classes (N,)."""

    images: Images
    labels: Tensor


def validation_images(data: Dataset, budget: LabelBudget) -> LabelledImages:
    """The validation images of a label budget."""
    labels = torch.from_numpy(data.index.labels[budget.validation])
    return LabelledImages(data.images(budget.validation), labels)


class ValidationWatch:
    """Keeps the weights that do best on validation.

    A trial is never cut short: while a rate is high, validation can stand still for long and rise
    when the rate falls. It is scored equally often whatever its length: the best of more scores
    would be higher by luck alone. ``class_loss`` is the cross-entropy of the class shares.
    """

    def __init__(
        self,
        network: Supervised,
        held_out: LabelledImages,
        read_every: int,
        class_loss: float,
        logs: Logs,
    ) -> None:
        self.network, self.held_out, self.logs = network, held_out, logs
        self.read_every, self.class_loss = read_every, class_loss
        self.score, self.best, self.done = (-1.0, 0.0), 0, 0
        self.steps, self.loss = 0, inf
        self.broken: str | None = None
        self.weights = copy.deepcopy(network.state_dict())

    def __call__(self, reading: Reading) -> str | None:
        """Score the network as it is now; a broken loss ends the trial where it was best."""
        self.done += 1
        self.steps, self.loss = reading.step, reading.loss
        score = self._score()
        values = {"loss": reading.loss, "lr": reading.lr, "validation": score[0]}
        self.logs.scalars(reading.step, values)
        if not (isfinite(reading.loss) and isfinite(score[1])):
            what = "loss" if not isfinite(reading.loss) else "validation loss"
            value = reading.loss if not isfinite(reading.loss) else -score[1]
            self.broken = f"{what} is {value} at step {reading.step}"
            return self.broken
        if score > self.score:
            self.score, self.best = score, self.done
            self.weights = copy.deepcopy(self.network.state_dict())
        return None

    def _score(self) -> tuple[float, float]:
        logits, labels = outputs(self.network, self.held_out.images), self.held_out.labels
        right = (logits.argmax(dim=1) == labels).float()
        recalls = [right[labels == c].mean() for c in torch.unique(labels)]
        loss = F.cross_entropy(logits, labels)
        return float(torch.stack(recalls).mean()), -float(loss)

    def trial(self, setting: Setting, order: Order) -> Trial:
        """What the trial came to."""
        weights = {name: tensor.cpu() for name, tensor in self.weights.items()}
        return Trial(
            setting=setting,
            score=self.score,
            best_epoch=self.best * setting.length,
            epochs=self.done * setting.length,
            still_improving=self.broken is None and self.best > LATE * self.done,
            learned=self.broken is None and self.loss < LEARNED * self.class_loss,
            steps=self.steps,
            images=order.images(self.steps),
            weights=weights,
            broken=self.broken,
        )

    def state(self) -> dict[str, Any]:
        """Trials are short: one killed is begun again, so nothing travels."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing travels."""
