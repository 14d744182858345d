"""One cell to be trained end to end: what a trial of it sees, for how long, and in what batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from headstart.config import Augmentation, Optim, Study, View
from headstart.data.batches import LabelledBatches, Order
from headstart.data.mixup import Mixed
from headstart.data.splits import LabelBudget
from headstart.engine import Training
from headstart.methods.supervised import Supervised
from headstart.nn.optim import build_optimizer, lr_factor
from headstart.runtime.networks import load_encoder
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify.trials import Setting, Trial, ValidationWatch, validation_images
from headstart.store import Entry

_CROPS_AND_FLIPS = View(crop=(0.3, 1.0), jitter_p=0, gray_p=0, blur_p=0)
VIEWS: dict[Augmentation, View | None] = {
    "none": None,
    "light": _CROPS_AND_FLIPS,
    "strong": View(blur_p=0),  # what pretraining does to its views, but not blurred
    "mixup": _CROPS_AND_FLIPS,
}


@dataclass(frozen=True)
class FinetuneJob:
    """One cell to be trained end to end: its images, its labels and its starting weights."""

    run: Run
    data: Dataset
    cell: Cell
    budget: LabelBudget
    begin: Entry

    @property
    def matched(self) -> bool:
        """Whether it is to see as many images as pretraining did."""
        return self.cell.protocol == "matched"

    @property
    def order(self) -> Order:
        """Which images make up a step."""
        batch_size = self.run.study.classify.finetune.batch_size
        return Order(len(self.budget.train), batch_size, self.cell.seed, drop_last=False)

    def steps(self, order: Order) -> int:
        """Optimiser steps of a trial of the base length that is not stopped early."""
        study = self.run.study
        pool = len(self.data.pool(study.data.train_joins_pool)) if self.matched else None
        return base_steps(study, order, pool)

    def with_batch(self, size: int) -> FinetuneJob:
        """The same training with another batch size."""
        study = self.run.study
        settings = study.classify.finetune.model_copy(update={"batch_size": size})
        classify = study.classify.model_copy(update={"finetune": settings})
        study = study.model_copy(update={"classify": classify})
        return replace(self, run=replace(self.run, study=study))

    def training(self, setting: Setting) -> tuple[Supervised, Training]:
        """The network at its start, and how it is to be trained."""
        run, order = self.run, self.order
        network = Supervised(load_encoder(run, self.begin, self.data), len(self.data.index.classes))
        network = run.engine.place(network)
        steps, per_epoch = setting.length * self.steps(order), order.steps_per_epoch
        optim = Optim(lr=setting.lr, weight_decay=setting.weight_decay, warmup_epochs=1)
        training = Training(
            network=network,
            optimizer=build_optimizer(network, optim, min(order.batch_size, order.count)),
            batch=self._batches(order, setting.augmentation),
            lr_factor=lambda step: lr_factor(optim, step, steps, per_epoch),
            steps=steps,
            seed=self.cell.seed,
        )
        return network, training

    def _batches(self, order: Order, augmentation: Augmentation) -> LabelledBatches | Mixed:
        """Step -> images and what they are to be called."""
        rows = self.budget.train
        index = self.data.index
        labels = torch.from_numpy(index.labels[rows]).to(self.run.engine.device)
        view = VIEWS[augmentation]
        if view and self.data.bands:
            view = view.without_colours()
        batches = LabelledBatches(self.data.images(rows), order, labels, view)
        return Mixed(batches, len(index.classes)) if augmentation == "mixup" else batches

    @property
    def class_loss(self) -> float:
        """The cross-entropy of the class shares of the labels: what guessing with them costs."""
        counts = np.bincount(self.data.index.labels[self.budget.train])
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def trial(self, setting: Setting) -> Trial:
        """Train with one setting and see how it does on validation."""
        run = self.run
        network, training = self.training(setting)
        tell = partial(run.tell.curve, f"classify/{self.cell.label}-{setting.name}")
        held_out = validation_images(self.data, self.budget)
        read_every = max(1, round(training.steps / run.study.classify.finetune.epochs))
        watch = ValidationWatch(network, held_out, read_every, self.class_loss, tell)
        run.engine.fit(training, watch)
        return watch.trial(setting, self.order)


def base_steps(study: Study, order: Order, pool: int | None) -> int:
    """Steps of a trial of the base length; ``pool`` are the images of the pool where the arm is to
    see as many images as pretraining did.
    """
    settings = study.classify.finetune
    steps = max(settings.epochs * order.steps_per_epoch, settings.min_steps)
    if pool is None:
        return steps
    return max(steps, pool * study.pretrain.epochs // min(order.batch_size, order.count))
