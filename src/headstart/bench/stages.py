"""What a study does beside pretraining, timed by the code of its own stages, for ``plan``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from headstart.arms import BASELINE
from headstart.bench.timed import Clock, Turns, wait
from headstart.data.cache import PixelCache
from headstart.data.splits import LabelBudget
from headstart.engine import Engine, Reading, Training
from headstart.nn.linear import STRENGTHS, fit_heads
from headstart.runtime.networks import load_encoder, outputs
from headstart.runtime.run import Cell, Dataset, Run, Silence
from headstart.stages.classify import FinetuneJob, base_grid
from headstart.stages.evaluate import confidence, score
from headstart.stages.pretrain import PROBE, Job, PretrainWatch, start
from headstart.store import Entry
from headstart.types import Ints, Predictions

Work = Callable[[], object]
CLASSES = 10
REPEATS = 5
STEP_SECONDS = 0.5  # a segment of training on labels lasts about this long
SCORED = (100, 1_000)  # test images of an arm whose scores and intervals are timed


def brightness_classes(cache: PixelCache, rows: Ints) -> Ints:
    """Classes (N,) of equal size by mean brightness: a thing to learn in images without labels."""
    means = [float(cache.pixels[row][:, ::4, ::4].mean()) for row in rows]
    places = np.argsort(np.argsort(means, kind="stable"))
    return (places * CLASSES // max(1, len(rows))).astype(np.int64)


def stages_cost(job: Job, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Seconds of each kind of work that is not a step of pretraining.

    ``labelled_step_s`` of a step of end-to-end training, by its images; ``judged_images_per_s``
    of the encoder asked without training, by all threads; ``look_s`` of a look for collapse at
    ``look_images``; ``head_s`` of one linear head with 45 strengths, by the images it is fitted
    to; ``score_s`` of one arm's scores and intervals, by its test images. Linear heads, training
    and scores have ten classes.
    """
    run, data = replace(job.run, tell=Silence()), job.data
    begin = start(run, job.seed, "random")
    some = data.index.where("train")[:PROBE]
    return {
        "labelled_step_s": _labelled_steps(run, data, begin, clock),
        "judged_images_per_s": len(some) / _seconds(_judging(run, data, begin, some), clock),
        "look_s": _seconds(_looking(replace(job, run=run), begin), clock),
        "look_images": min(PROBE, len(job.pool)) + len(some),
        "head_s": {
            rows: _seconds(fit, clock) for rows, fit in _heads(run, data, begin, some).items()
        },
        "score_s": {
            images: _seconds(_scoring(images, run.study.compare.replicates), clock)
            for images in SCORED
        },
    }


def _labelled_steps(run: Run, data: Dataset, begin: Entry, clock: Clock) -> dict[int, float]:
    """Of the study's batch, and of a quarter of it: small label budgets have small batches."""
    settings, train = run.study.classify.finetune, data.index.where("train")
    job = FinetuneJob(run, data, Cell(BASELINE, 0, 1.0), LabelBudget(train, train[:0]), begin)
    setting = replace(base_grid(settings)[0], length=1 << 20)
    batch = min(settings.batch_size, len(train))
    return {
        size: _seconds_a_step(run.engine, job.with_batch(size).training(setting)[1], clock)
        for size in sorted({max(2, batch // 4), batch})
    }


def _seconds_a_step(engine: Engine, training: Training, clock: Clock) -> float:
    tried = Turns(engine, [], 2, 2, clock)
    engine.fit(training, tried)
    steps = max(2, round(2 * STEP_SECONDS / tried.seconds["train"][1]))
    turns = Turns(engine, [], steps, REPEATS + 1, clock)
    engine.fit(training, turns)
    return float(np.median(turns.seconds["train"][1:])) / steps


def _judging(run: Run, data: Dataset, begin: Entry, positions: Ints) -> Work:
    return partial(outputs, load_encoder(run, begin, data), data.images(positions))


def _looking(job: Job, begin: Entry) -> Work:
    network, _ = job.training(load_encoder(job.run, begin, job.data))
    watch = PretrainWatch(job, network)

    def look() -> None:
        watch(Reading(watch.next_check, loss=1.0, lr=0.0, gradient_norm=1.0))
        wait(job.run.engine.device)

    return look


def _heads(run: Run, data: Dataset, begin: Entry, positions: Ints) -> dict[int, Work]:
    """On a quarter of the images and on all, with the features of random weights."""
    x = outputs(load_encoder(run, begin, data), data.images(positions))
    y = torch.from_numpy(data.index.labels[positions])
    drawn = np.random.default_rng(0).permutation(len(positions))
    return {
        rows: partial(fit_heads, x, y, [drawn[:rows]], CLASSES, STRENGTHS)
        for rows in (max(2, len(positions) // 4), len(positions))
    }


def _scoring(images: int, replicates: int) -> Work:
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, images)
    logits = rng.normal(0, 1, (images, CLASSES)).astype(np.float32)
    logits[np.arange(images), y] += 1
    drawn = Predictions(np.arange(images).astype(np.str_), logits, y)
    names = [str(c) for c in range(CLASSES)]

    def judge() -> None:
        score(drawn, names, replicates)
        confidence(drawn, drawn, replicates)

    return judge


def _seconds(work: Work, clock: Clock) -> float:
    """The median, after once to warm up."""
    work()
    took = []
    for _ in range(REPEATS):
        begun = clock()
        work()
        took.append(clock() - begun)
    return float(np.median(took))
