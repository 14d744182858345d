"""End-to-end training on labels: the supervised arm, and every fine-tuned one in the same way."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, replace
from itertools import product
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.config import Finetune, Optim, View
from headstart.data.batches import Images, LabelledBatches, Order
from headstart.data.splits import LabelBudget
from headstart.engine import Reading, Training
from headstart.methods.supervised import Supervised
from headstart.nn.checkpoint import DamagedError, load_state, save_state
from headstart.nn.encoder import weights_hash
from headstart.nn.optim import build_optimizer, lr_factor
from headstart.runtime.logs import Logs
from headstart.runtime.memory import fitting
from headstart.runtime.networks import load_encoder, outputs, save_weights
from headstart.runtime.run import Cell, Dataset, Run
from headstart.store import Entry

# Crops and flips only: what a label survives. The same for every job.
VIEW = View(crop=(0.3, 1.0), jitter_p=0, gray_p=0, blur_p=0)
# For the arm that trains as long as pretraining does, and would else learn its images by heart.
STRONG_VIEW = View(crop=(0.2, 1.0), gray_p=0.1, blur_p=0)


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
        return cls(0.0, 0.0, (-inf, 0.0), 0, 0, False, 0, 0, {})

    def summary(self) -> dict[str, Any]:
        """The trial for people; shares in [0, 1], None for one that broke before it was scored."""
        return {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "validation": self.score[0] if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "still_improving": self.still_improving,
        }


def finetune(job: FinetuneJob, entry: Entry) -> None:
    """Every arm gets the same trials; the best on validation is kept, and the rest is told.

    The entry's info holds ``status``: "failed" where no trial could be scored.
    """
    run, cell, budget = job.run, job.cell, job.budget
    settings = run.study.classify.finetune
    started = time.perf_counter()
    grid = list(product(settings.lrs, settings.weight_decays))
    trials: list[Trial] = []
    best = Trial.none()
    for number, (lr, weight_decay) in enumerate(grid):
        run.tell.progress(f"classify {cell.label}", number, len(grid))
        trial = _trial(job, entry.folder / f"checkpoint-trial-{number}.pt", lr, weight_decay)
        best = max(best, trial, key=lambda trial: trial.score)
        trials.append(replace(trial, weights={}))
    run.tell.progress(f"classify {cell.label}", len(grid), len(grid))
    begin = load_encoder(run, job.begin)
    start = weights_hash(begin)
    network = Supervised(begin, len(job.data.index.classes))
    network.load_state_dict(best.weights)
    save_weights(network, entry, "network")
    rates = sorted(settings.lrs)
    chosen = best.summary()
    chosen["lr_at_edge"] = len(rates) > 2 and best.lr in (rates[0], rates[-1])
    info = {
        **_outcome(job, best),
        "labels": budget.labels,
        "chosen": chosen,
        "trials": [trial.summary() for trial in trials],
        "start": start,
        "train_images": sum(trial.images for trial in trials),
        "train_steps": sum(trial.steps for trial in trials),
    }
    entry.finish(info, started)
    forget_trials(entry)


def forget_trials(entry: Entry) -> None:
    """Only once the artifact is whole: until then they are all there is."""
    for path in entry.folder.glob("checkpoint-trial-*.pt"):
        path.unlink()


def _trial(job: FinetuneJob, path: Path, lr: float, weight_decay: float) -> Trial:
    """One trial, kept at ``path``; one that was stopped halfway is begun again."""
    run, name = job.run, f"{job.cell.label}, learning rate {lr:g}"
    if path.exists():
        try:
            return Trial(**load_state(path))
        except DamagedError:
            run.tell.line(f"{name}: {path.name} is damaged; training it again")
    done: list[Trial] = []
    fitting(
        lambda: done.append(job.trial(lr, weight_decay)),
        lambda size: job.with_batch(size).training(lr, weight_decay)[1],
        (name, "--set classify.finetune.batch_size=", job.order.batch_size),
        run.engine,
    )
    save_state(path, vars(done[0]))
    return done[0]


def _outcome(job: FinetuneJob, best: Trial) -> dict[str, str | None]:
    """``status`` and ``reason``: failed where not even the best trial was ever scored."""
    if best.best_epoch:
        return {"status": "ok", "reason": None}
    reason = (
        f"training failed: not a number in every trial, the {best.broken}. Likely cause: learning "
        "rates too large for it; try smaller ones in classify.finetune.lrs. Its network is kept as "
        "it began."
    )
    job.run.tell.line(f"{job.cell.label}: {reason}")
    return {"status": "failed", "reason": reason}


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
        """Optimiser steps of a trial that is not stopped early."""
        study = self.run.study
        settings = study.classify.finetune
        steps = max(settings.epochs * order.steps_per_epoch, settings.min_steps)
        if not self.matched:
            return steps
        pool = len(self.data.pool(study.data.train_joins_pool))
        return max(steps, pool * study.pretrain.epochs // min(order.batch_size, order.count))

    def with_batch(self, size: int) -> FinetuneJob:
        """The same training with another batch size."""
        study = self.run.study
        settings = study.classify.finetune.model_copy(update={"batch_size": size})
        classify = study.classify.model_copy(update={"finetune": settings})
        study = study.model_copy(update={"classify": classify})
        return replace(self, run=replace(self.run, study=study))

    def training(self, lr: float, weight_decay: float) -> tuple[Supervised, Training]:
        """The network at its start, and how it is to be trained."""
        run, data = self.run, self.data
        network = Supervised(load_encoder(run, self.begin), len(data.index.classes))
        network = run.engine.place(network)
        order = self.order
        steps, per_epoch = self.steps(order), order.steps_per_epoch
        optim = Optim(lr=lr, weight_decay=weight_decay, warmup_epochs=1)
        view = STRONG_VIEW if self.matched else VIEW
        labels = torch.from_numpy(data.index.labels[self.budget.train]).to(run.engine.device)
        images = data.images(self.budget.train)
        augment = run.study.classify.finetune.augment
        training = Training(
            network=network,
            optimizer=build_optimizer(network, optim, min(order.batch_size, order.count)),
            batch=LabelledBatches(images, order, labels, view if augment else None),
            lr_factor=lambda step: lr_factor(optim, step, steps, per_epoch),
            steps=steps,
            seed=self.cell.seed,
        )
        return network, training

    def trial(self, lr: float, weight_decay: float) -> Trial:
        """Train with one setting and see how it does on validation."""
        run = self.run
        network, training = self.training(lr, weight_decay)
        name = f"{self.cell.label}-lr{lr:g}-decay{weight_decay:g}"
        logs = Logs(run.folder / "tensorboard" / "classify" / name)
        settings = run.study.classify.finetune
        held_out = validation_images(self.data, self.budget)
        watch = ValidationWatch(network, held_out, settings, training.steps, logs)
        try:
            run.engine.fit(training, watch)
        finally:
            logs.close()
        return watch.trial(lr, weight_decay, self.order)


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
    """Keeps the weights that do best on validation, and stops when they stay the best for long."""

    def __init__(
        self,
        network: Supervised,
        held_out: LabelledImages,
        settings: Finetune,
        steps: int,
        logs: Logs,
    ) -> None:
        self.network, self.held_out, self.logs = network, held_out, logs
        self.read_every = max(1, round(steps / settings.epochs))
        self.patience = max(5.0, settings.patience * steps / self.read_every)
        self.score, self.best, self.done, self.stopped = (-1.0, 0.0), 0, 0, False
        self.steps = 0
        self.broken: str | None = None
        self.weights = copy.deepcopy(network.state_dict())

    def __call__(self, reading: Reading) -> str | None:
        """Score the network as it is now; a broken loss ends the trial where it was best."""
        self.done += 1
        self.steps = reading.step
        score = self._score()
        values = {"loss": reading.loss, "lr": reading.lr, "validation": score[0]}
        self.logs.scalars(reading.step, values)
        if not (isfinite(reading.loss) and isfinite(score[1])):
            self.stopped = True
            what = "loss" if not isfinite(reading.loss) else "validation loss"
            value = reading.loss if not isfinite(reading.loss) else -score[1]
            self.broken = f"{what} is {value} at step {reading.step}"
            return self.broken
        if score > self.score:
            self.score, self.best = score, self.done
            self.weights = copy.deepcopy(self.network.state_dict())
        self.stopped = self.done - self.best >= self.patience
        return "no better for long" if self.stopped else None

    def _score(self) -> tuple[float, float]:
        logits, labels = outputs(self.network, self.held_out.images), self.held_out.labels
        right = (logits.argmax(dim=1) == labels).float()
        recalls = [right[labels == c].mean() for c in torch.unique(labels)]
        loss = F.cross_entropy(logits, labels)
        return float(torch.stack(recalls).mean()), -float(loss)

    def trial(self, lr: float, weight_decay: float, order: Order) -> Trial:
        """What the trial came to."""
        weights = {name: tensor.cpu() for name, tensor in self.weights.items()}
        still = not self.stopped and self.best > 0.9 * self.done
        return Trial(
            lr=lr,
            weight_decay=weight_decay,
            score=self.score,
            best_epoch=self.best,
            epochs=self.done,
            still_improving=still,
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
