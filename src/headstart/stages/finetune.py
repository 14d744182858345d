"""End-to-end training on labels: the supervised arm, and every fine-tuned one in the same way."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from itertools import product
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.config import Finetune, Optim, View
from headstart.data.batches import LabelledBatches, Order
from headstart.data.splits import LabelBudget
from headstart.engine import Reading, Training
from headstart.methods.supervised import Supervised
from headstart.nn.optim import build_optimizer, lr_factor
from headstart.stages.networks import load_encoder, outputs, save_weights
from headstart.stages.run import Cell, Dataset, Run
from headstart.store import Entry

# Crops and flips only: what a label survives. The same for every arm.
VIEW = View(crop=(0.3, 1.0), jitter_p=0, gray_p=0, blur_p=0)


@dataclass(frozen=True)
class Trial:
    """One learning rate and weight decay, and how it did on validation."""

    lr: float
    weight_decay: float
    score: tuple[float, float]
    """Balanced accuracy, and minus the cross-entropy to part equals."""
    best_epoch: int
    epochs: int
    still_improving: bool
    """The best epoch lies in the last tenth of a run that was not stopped early."""
    weights: dict[str, Tensor] = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """The trial for people; shares in [0, 1]."""
        return {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "validation": self.score[0],
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "still_improving": self.still_improving,
        }


def finetune(
    run: Run, data: Dataset, cell: Cell, budget: LabelBudget, entry: Entry, begin: Entry
) -> None:
    """Every arm gets the same trials; the best on validation is kept, and the rest is told."""
    settings = run.study.classify.finetune
    started = time.perf_counter()
    grid = list(product(settings.lrs, settings.weight_decays))
    trials = []
    for number, (lr, weight_decay) in enumerate(grid):
        run.tell.progress(f"classify {cell.label}", number, len(grid))
        trials.append(_trial(run, data, cell, budget, begin, (lr, weight_decay)))
    run.tell.progress(f"classify {cell.label}", len(grid), len(grid))
    best = max(trials, key=lambda trial: trial.score)
    network = Supervised(load_encoder(run, begin), len(data.index.classes))
    network.load_state_dict(best.weights)
    save_weights(network, entry, "network")
    rates = sorted(settings.lrs)
    chosen = best.summary()
    chosen["lr_at_edge"] = len(rates) > 1 and best.lr in (rates[0], rates[-1])
    info = {"labels": budget.labels, "chosen": chosen}
    entry.finish({**info, "trials": [trial.summary() for trial in trials]}, started)


def _trial(
    run: Run,
    data: Dataset,
    cell: Cell,
    budget: LabelBudget,
    begin: Entry,
    setting: tuple[float, float],
) -> Trial:
    lr, weight_decay = setting
    settings = run.study.classify.finetune
    network = run.engine.place(Supervised(load_encoder(run, begin), len(data.index.classes)))
    order = Order(len(budget.train), settings.batch_size, cell.seed, drop_last=False)
    batch = min(settings.batch_size, len(budget.train))
    per_epoch = order.steps_per_epoch
    steps = max(settings.epochs * per_epoch, settings.min_steps)
    optim = Optim(lr=lr, weight_decay=weight_decay, warmup_epochs=1)
    labels = torch.from_numpy(data.index.labels[budget.train]).to(run.engine.device)
    images = data.images(budget.train)
    training = Training(
        network=network,
        optimizer=build_optimizer(network, optim, batch),
        batch=LabelledBatches(images, order, labels, VIEW if settings.augment else None),
        lr_factor=lambda step: lr_factor(optim, step, steps, per_epoch),
        steps=steps,
        seed=cell.seed,
    )
    watch = ValidationWatch(network, data, budget, settings, steps)
    run.engine.fit(training, watch)
    return watch.trial(lr, weight_decay)


class ValidationWatch:
    """Keeps the weights that do best on validation, and stops when they stay the best for long."""

    def __init__(
        self,
        network: Supervised,
        data: Dataset,
        budget: LabelBudget,
        settings: Finetune,
        steps: int,
    ) -> None:
        self.network, self.settings = network, settings
        self.read_every = max(1, round(steps / settings.epochs))
        self.patience = max(5.0, settings.patience * steps / self.read_every)
        self.images = data.images(budget.validation)
        self.labels = torch.from_numpy(data.index.labels[budget.validation])
        self.score, self.best, self.done, self.stopped = (-1.0, 0.0), 0, 0, False
        self.weights = copy.deepcopy(network.state_dict())

    def __call__(self, reading: Reading) -> str | None:
        """Score the network as it is now; a broken loss ends the trial where it was best."""
        self.done += 1
        score = self._score()
        if not (isfinite(reading.loss) and isfinite(score[1])):
            self.stopped = True
            return f"loss is {reading.loss}"
        if score > self.score:
            self.score, self.best = score, self.done
            self.weights = copy.deepcopy(self.network.state_dict())
        self.stopped = self.done - self.best >= self.patience
        return "no better for long" if self.stopped else None

    def _score(self) -> tuple[float, float]:
        logits = outputs(self.network, self.images)
        right = (logits.argmax(dim=1) == self.labels).float()
        recalls = [right[self.labels == c].mean() for c in self.labels.unique()]
        loss = F.cross_entropy(logits, self.labels)
        return float(torch.stack(recalls).mean()), -float(loss)

    def trial(self, lr: float, weight_decay: float) -> Trial:
        """What the trial came to."""
        weights = {name: tensor.cpu() for name, tensor in self.weights.items()}
        still = not self.stopped and self.best > 0.9 * self.done
        return Trial(lr, weight_decay, self.score, self.best, self.done, still, weights)

    def state(self) -> dict[str, Any]:
        """Trials are short: one killed is begun again, so nothing travels."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing travels."""
