"""pretrain: unlabelled images -> an encoder, watched for collapse while it trains."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from headstart import interrupt
from headstart.config import Recipe, StudyError
from headstart.data.batches import Order, ViewPairs
from headstart.engine import Training, checkpoint_files
from headstart.methods import METHODS, Method
from headstart.nn.encoder import Encoder, build_encoder, weights_hash
from headstart.nn.optim import build_optimizer, lr_factor, peak_lr
from headstart.stages.memory import fitting
from headstart.stages.networks import backbone, load_encoder, save_encoder
from headstart.stages.run import Dataset, Run
from headstart.stages.watch import PretrainWatch
from headstart.stats.known_bad import REFUSE, known_bad
from headstart.store import Entry
from headstart.types import Ints


def start(run: Run, seed: int, weights: str) -> Entry:
    """The encoder that training starts from: the same weights for every arm of a seed.

    Raises:
        StudyError: an unknown backbone, or weights that are not there or do not fit it.
    """
    settings = run.study.encoder.model_dump() | {"weights": weights}
    # Weights from a file or a hub are the same for every seed; only random ones are drawn.
    settings["seed"] = seed if weights == "random" else 0
    entry = run.store.entry("pretrain", "random" if weights == "random" else "start", settings)
    if not entry.done:
        started = time.perf_counter()
        try:
            encoder = build_encoder(**backbone(run), weights=weights, seed=settings["seed"])
        except ValueError as error:
            raise StudyError(f"encoder: {error}") from None
        save_encoder(encoder, entry)
        entry.finish({"status": "ok", "start": weights_hash(encoder)}, started)
    return entry


def pretrain(run: Run, data: Dataset, method: str, seed: int, begin: Entry) -> Entry:
    """Train one method on the pool from the start ``begin``, and store its encoder.

    The entry's info holds ``status`` ("ok", "collapsed" or "failed") with its reason; nothing that
    goes wrong in one method's training stops another's.
    """
    pool = data.pool(run.study.data.train_joins_pool)
    recipe, cuts = fit_to_pool(run.study.recipe(method), len(pool))
    job = Job(run, data, method, seed, recipe, pool)
    entry = run.store.entry("pretrain", f"{method}-seed{seed}", job.settings(), [data.entry, begin])
    if entry.done:
        _forget_checkpoints(entry)  # where the end came between the two
        return entry
    warnings = [*cuts, *job.known_bad()]
    for line in warnings:
        run.tell.line(f"{method}: {line}")
    batch = f"{method} (seed {seed})", "--batch-size ", job.batch_size

    def smaller(size: int) -> Training:
        return job.with_batch(size).training(load_encoder(run, begin))[1]

    def kept() -> bool:
        return bool(checkpoint_files(entry.folder))

    with interrupt.deferred():  # a signal is looked for after every step, and what is learnt saved
        fitting(lambda: _train(job, entry, begin, warnings), smaller, batch, run.engine, kept)
    _forget_checkpoints(entry)
    return entry


def _train(job: Job, entry: Entry, begin: Entry, warnings: list[str]) -> None:
    """Train, and store the encoder; of a training that failed, the last healthy one."""
    run, started = job.run, time.perf_counter()
    encoder = load_encoder(run, begin)
    started_from = weights_hash(encoder)
    network, training = job.training(encoder)
    watch = PretrainWatch(job, network)
    minutes = run.study.pretrain.checkpoint_minutes
    try:
        reason = run.engine.fit(training, watch, entry.folder, minutes)
    finally:
        watch.logs.close()
    if watch.status != "ok":
        network.encoder.load_state_dict(watch.healthy)
        reason = f"{reason} Its encoder is kept as it was at step {watch.healthy_step}."
    save_encoder(network.encoder, entry)
    entry.finish(
        {
            "method": job.method,
            "seed": job.seed,
            "status": watch.status,
            "reason": reason,
            "warnings": warnings + watch.warnings,
            "epochs": run.study.pretrain.epochs,
            "steps": watch.steps,
            "images_seen": job.order.images(watch.steps),
            "start": started_from,
            "loss_floor": network.loss_floor(job.batch_size),
            "knn_random": watch.knn_random,
            "history": watch.history,
        },
        started,
    )


def _forget_checkpoints(entry: Entry) -> None:
    """Only once the artifact is whole: until then they are all there is."""
    for path in checkpoint_files(entry.folder):
        path.unlink()


def fit_to_pool(recipe: Recipe, pool: int) -> tuple[Recipe, list[str]]:
    """The recipe with a queue of at most half the pool, and a line where that changed it."""
    queue = recipe.settings.get("queue", 0)
    most = max(1, pool // 2)
    if queue <= most:
        return recipe, []
    settings = {**recipe.settings, "queue": most}
    line = f"queue of {queue} cut to {most}, half the pool: a longer one holds false negatives"
    return recipe.model_copy(update={"settings": settings}), [line]


@dataclass(frozen=True)
class Job:
    """One method's pretraining, laid out."""

    run: Run
    data: Dataset
    method: str
    seed: int
    recipe: Recipe
    pool: Ints

    @property
    def order(self) -> Order:
        """Which images make up a step."""
        settings = self.run.study.pretrain
        return Order(len(self.pool), settings.batch_size, self.seed, settings.drop_last)

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
            "method": self.method,
            "seed": self.seed,
            "recipe": self.recipe.model_dump(),
            "image_size": self.data.size,
            "cache_factor": self.run.study.data.cache_factor,
            "precision": self.run.engine.precision,
            **self.run.study.pretrain.model_dump(exclude={"recipe", "checkpoint_minutes"}),
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
            network = METHODS[self.method](encoder, self.steps, **self.recipe.settings)
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
            epoch=order.steps_per_epoch,
        )
        return network, training

    def known_bad(self) -> list[str]:
        """Combinations known to fail, said before they cost anything."""
        optim, batch = self.recipe.optim, self.batch_size
        lines = known_bad(optim.name, peak_lr(optim, batch), batch, has_batchnorm=True)
        return [line.removeprefix(REFUSE) for line in lines]
