"""One method's pretraining, laid out: its images, its order, its optimiser and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from headstart import ranks
from headstart.arms import Origin
from headstart.config import Recipe, StudyError
from headstart.data.batches import BUFFER, Order, ViewPairs
from headstart.engine import Training
from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.optim import build_optimizer, lr_factor, peak_lr
from headstart.runtime.run import Dataset, Run
from headstart.stats.settings_risks import settings_risks
from headstart.types import Ints


@dataclass(frozen=True)
class Job:
    """One method's pretraining, laid out; ``method`` says what it starts from too."""

    run: Run
    data: Dataset
    method: str
    seed: int
    recipe: Recipe
    pool: Ints

    @property
    def kind(self) -> str:
        """The method itself, by its name in the registry."""
        return Origin.parse(self.method).method

    @property
    def order(self) -> Order:
        """Which images make up a step."""
        settings, shards = self.run.study.pretrain, self.data.shards_of(self.pool)
        return Order(len(self.pool), settings.batch_size, self.seed, settings.drop_last, shards)

    @property
    def batch_size(self) -> int:
        """Images in a full step: no more than there are in the pool."""
        return min(self.run.study.pretrain.batch_size, len(self.pool))

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.order.steps_per_epoch * self.run.study.pretrain.epochs

    def settings(self) -> dict[str, object]:
        """All that changes the result, for the artifact's key."""
        return {
            "method": self.kind,
            "seed": self.seed,
            "recipe": self.recipe.model_dump(),
            "image_size": self.data.size,
            "cache_factor": self.run.study.data.cache_factor,
            "precision": self.run.engine.precision,
            **self.run.study.pretrain.model_dump(exclude={"recipe", "checkpoint_minutes"}),
            **({"shuffled": BUFFER} if self.order.by_shard else {}),
            **METHODS.made_by(self.kind),
        }

    def with_batch(self, size: int) -> Job:
        """The same training with another batch size."""
        settings = self.run.study.pretrain.model_copy(update={"batch_size": size})
        study = self.run.study.model_copy(update={"pretrain": settings})
        return replace(self, run=replace(self.run, study=study))

    def training(self, encoder: Encoder) -> tuple[Method, Training]:
        """The method around its encoder, and how it is to be trained."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = METHODS[self.kind](encoder, self.steps, **self.recipe.settings)
        network = self.run.engine.place(network)
        order, optim, steps = self.order, self.recipe.optim, self.steps
        images = self.data.images(self.pool)
        training = Training(
            network=network,
            optimizer=build_optimizer(network, optim, self.batch_size),
            batch=ViewPairs(images, order, self.recipe.view1, self.recipe.view2),
            lr_factor=lambda step: lr_factor(optim, step, steps, order.steps_per_epoch),
            steps=steps,
            seed=self.seed,
            steps_per_epoch=order.steps_per_epoch,
        )
        return network, training

    @property
    def check_every(self) -> int:
        """Steps between two looks for collapse."""
        return max(1, round(self.run.study.pretrain.check_epochs * self.order.steps_per_epoch))

    @property
    def read_every(self) -> int:
        """Steps between two readings of the loss."""
        return min(self.check_every, 50)

    def settings_warnings(self) -> list[str]:
        """What is known to go badly with these settings, one line each.

        Raises:
            StudyError: settings that no data can save; the line says what to change.
        """
        self._fit_to_processes()
        optim, batch = self.recipe.optim, self.batch_size
        risks = settings_risks(optim.name, peak_lr(optim, batch), batch)
        for risk in risks:
            if risk.refuse:
                raise StudyError(f"methods.{self.kind}.optim: {risk.line}")
        return [risk.line for risk in risks]

    def _fit_to_processes(self) -> None:
        """Refuse more processes than can share the smallest batch."""
        smallest = len(self.order.positions(self.order.steps_per_epoch - 1))
        most = METHODS[self.kind].most_ranks(smallest, self.recipe.settings)
        if ranks.members() > most:
            raise StudyError(
                f"{self.kind}: {ranks.members()} processes cannot share a batch of {smallest} "
                f"images, {most} can; take fewer processes or a larger --batch-size"
            )
