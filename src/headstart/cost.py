"""What a study will cost on this machine, from a few seconds of the very steps it is made of.

Pretraining has a fixed number of steps. An arm that is trained end to end is lengthened until that
helps no more, which nobody knows beforehand: its cost is given as a range, from two doublings in
vain to the cap of the settings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from headstart.arms import PROTOCOLS, Origin
from headstart.config import Finetune
from headstart.cores import usable_cores
from headstart.data.batches import Images
from headstart.engine import Reading, Training
from headstart.recipes import fit_to_pool, resolve_recipe
from headstart.reporting.words import plural, seconds
from headstart.runtime.memory import peak_memory
from headstart.runtime.networks import load_encoder, outputs
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify import FinetuneJob, base_grid
from headstart.stages.pretrain import PROBE, Job, start
from headstart.store import Entry

SECONDS = 1.5  # of measuring a kind of step
AN_HOUR = 3600.0
LONG_STEPS = 500
"""A study of fewer steps is not long: it is not measured beforehand."""


@dataclass(frozen=True)
class Todo:
    """One encoder that is still to be made, or has classifiers that are: what an executor runs."""

    method: str
    seed: int
    encoder: bool
    """Whether it is still to be pretrained."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, from the least to the most, and what else is taken.

    ``pretraining`` and ``classifiers`` are seconds of work, summed over the workers.
    """

    low: float
    high: float
    pretraining: float
    classifiers: tuple[float, float]
    workers: int
    disk: int
    """Bytes of weights in the run's folder."""
    memory: int
    """Bytes that this process has held while measuring, times the workers."""
    gpu_memory: int


def steps_of(settings: Finetune) -> tuple[int, int]:
    """The least and the most that one arm trains, in units of the base length.

    All trials together: the grid, the rates beyond it, the doublings, the other augmentations, and
    the doublings of one of these where it is best. A network that does not begin to learn at the
    base length has the grid once more at twice the length; that is not counted.
    """
    others = len(settings.augmentations) - 1
    lengths = [1 << k for k in range(settings.max_lengthening.bit_length())]
    cap = lengths[-1]
    doublings = min(settings.patience, len(lengths) - 1)
    grid = len(base_grid(settings))
    least = grid + (2 ** (doublings + 1) - 2) + others
    changed = max(others * length + 2 * (cap - length) for length in lengths) if others else 0
    return least, grid + settings.widen + 2 * (cap - 1) + changed


def trials_of(settings: Finetune) -> tuple[int, int]:
    """The least and the most trials of one arm, counted as ``steps_of`` counts their lengths."""
    others, grid = len(settings.augmentations) - 1, len(base_grid(settings))
    doublings = settings.max_lengthening.bit_length() - 1
    most = grid + settings.widen + doublings + others + (doublings if others else 0)
    return grid + min(settings.patience, doublings) + others, most


def is_long(run: Run, data: Dataset, todo: Sequence[Todo]) -> bool:
    """Whether there is enough to do that measuring it is worth some seconds."""
    steps = sum(_job(run, data, one).steps for one in todo if one.encoder)
    return (
        steps + sum(_base_steps(run, data, c) for one in todo for c in _trained(one)) > LONG_STEPS
    )


def estimate(run: Run, data: Dataset, todo: Sequence[Todo]) -> Cost:
    """Measure some steps of each kind on these images, and add up what is left to do."""
    workers = 1
    if run.study.engine.executor != "serial":
        workers = run.study.engine.workers or usable_cores()
    threads = torch.get_num_threads()
    torch.set_num_threads(run.study.engine.threads or max(1, usable_cores() // workers))
    try:
        measured = _Measured(run, data)
        costs = [measured.of(one) for one in todo]
    finally:
        torch.set_num_threads(threads)
    pretraining = sum(cost[0] for cost in costs)
    low, high = (sum(cost[end] for cost in costs) for end in (1, 2))
    network = measured.bytes_of_network
    networks = sum(one.encoder + len(list(_trained(one))) for one in todo)
    return Cost(
        low=makespan([cost[0] + cost[1] for cost in costs], workers),
        high=makespan([cost[0] + cost[2] for cost in costs], workers),
        pretraining=pretraining,
        classifiers=(low, high),
        workers=min(workers, max(1, len(todo))),
        disk=networks * network,
        memory=workers * peak_memory(),
        gpu_memory=_peak_gpu(run),
    )


def cost_lines(cost: Cost, todo: Sequence[Todo]) -> list[str]:
    """What will be done and what it costs, for a person; a cheaper way where it is over an hour."""
    encoders, cells = sum(one.encoder for one in todo), sum(len(one.cells) for one in todo)
    least, most = cost.classifiers
    alone = f" in {plural(cost.workers, 'process', 'processes')} at once" * (cost.workers > 1)
    memory = f"about {size(cost.memory)} of memory"
    if cost.gpu_memory:
        memory += f" and {size(cost.gpu_memory)} of the GPU's"
    lines = [
        f"To do: {plural(encoders, 'encoder')} to pretrain, {plural(cells, 'classifier')}. On this "
        f"machine, measured for some seconds{alone}: {between(cost.low, cost.high)}, and "
        "explaining comes on top.",
        f"Pretraining takes {seconds(cost.pretraining)} of work, training on labels "
        f"{between(least, most)}: it goes on until longer training helps no more. Weights need "
        f"{size(cost.disk)} of disk; it takes {memory}.",
    ]
    if cost.high > AN_HOUR:
        lines.append(
            "To try first: the same command with --preset quick, or with --limit 200, and another "
            "--out; headstart presets says what each preset does."
        )
    return lines


def between(low: float, high: float) -> str:
    """Two durations in seconds for a person; one where they are the same."""
    ends = dict.fromkeys(seconds(end) for end in (low, high))
    return "about " + " to ".join(ends)


def size(amount: float) -> str:
    """Bytes for a person."""
    return f"{amount / 1e9:.1f} GB" if amount > 1e9 else f"{max(1, round(amount / 1e6))} MB"


class _Measured:
    """Seconds a step of each kind, measured when first asked for."""

    def __init__(self, run: Run, data: Dataset) -> None:
        self.run, self.data = run, data
        self.pretraining: dict[str, float] = {}
        self.labelled: dict[float, float] = {}

    @cached_property
    def begin(self) -> Entry:
        """The weights that the networks measured here start from."""
        return start(self.run, self.run.study.seeds[0], "random")

    @cached_property
    def bytes_of_network(self) -> int:
        """Of the weights of one encoder."""
        tensors = load_encoder(self.run, self.begin).state_dict().values()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @cached_property
    def asked(self) -> float:
        """Seconds that evaluating one image takes."""
        index = self.data.index
        labelled = self.data.images(index.where("train", "validation", "test"))
        encoder = load_encoder(self.run, self.begin, self.data)
        return _seconds_an_image(encoder, labelled)

    def labelled_step(self, cell: Cell) -> float:
        """Seconds that a step of end-to-end training takes with so many labels."""
        if cell.fraction not in self.labelled:
            job = FinetuneJob(self.run, self.data, cell, self.data.budget(cell), self.begin)
            setting = replace(base_grid(self.run.study.classify.finetune)[0], length=1 << 20)
            seconds = _seconds_a_step(self.run, job.training(setting)[1])
            self.labelled[cell.fraction] = seconds
        return self.labelled[cell.fraction]

    def of(self, one: Todo) -> tuple[float, float, float]:
        """Seconds of pretraining, and of classifiers at the least and at the most."""
        index = self.data.index
        labelled = len(index.where("train", "validation", "test"))
        pretraining = self._pretraining(one) if one.encoder else 0.0
        seen = self.asked * labelled if one.cells else 0.0
        low = high = seen + self.asked * len(one.cells) * len(index.where("test"))
        for cell in _trained(one):
            least, most = self._arm(cell)
            low, high = low + least, high + most
        return pretraining, low, high

    def _pretraining(self, one: Todo) -> float:
        job = _job(self.run, self.data, one)
        if one.method not in self.pretraining:
            network = job.training(load_encoder(self.run, self.begin, self.data))[1]
            self.pretraining[one.method] = _seconds_a_step(self.run, network)
        settings = self.run.study.pretrain
        checks = settings.epochs / settings.check_epochs + 1  # before and after, half a look each
        images = min(PROBE, len(job.pool)) + min(PROBE, len(self.data.index.where("train")))
        return job.steps * self.pretraining[one.method] + checks * images * self.asked

    def _arm(self, cell: Cell) -> tuple[float, float]:
        """Seconds of all trials of an arm, at the least and at the most: its steps, and its
        readings of the validation images, which are as many in a long trial as in a short one.
        """
        settings = self.run.study.classify.finetune
        base = _base_steps(self.run, self.data, cell) * self.labelled_step(cell)
        readings = settings.epochs * len(self.data.budget(cell).validation) * self.asked
        ends = zip(steps_of(settings), trials_of(settings), strict=True)
        low, high = (lengths * base + trials * readings for lengths, trials in ends)
        return low, high


class _Clock:
    """Lets a training warm up, times it for a while, and stops it."""

    def __init__(self) -> None:
        self.read_every = 2
        self.begun = 0.0
        self.first = 0
        self.seconds = 0.0

    def __call__(self, reading: Reading) -> str | None:
        """Begin at the first reading; afterwards note the mean, until it has lasted long enough."""
        now = time.perf_counter()
        if not self.begun:
            self.begun, self.first = now, reading.step
            return None
        self.seconds = (now - self.begun) / (reading.step - self.first)
        return "measured" if now - self.begun > SECONDS else None

    def state(self) -> dict[str, Any]:
        """Nothing: it never resumes."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def _seconds_a_step(run: Run, training: Training) -> float:
    clock = _Clock()
    run.engine.fit(training, clock)
    return clock.seconds


def _seconds_an_image(encoder: torch.nn.Module, images: Images) -> float:
    some = replace(images, rows=np.resize(images.rows, 256))
    outputs(encoder, replace(some, rows=some.rows[:32]))  # the first call prepares
    begun, asked = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS / 3:
        outputs(encoder, some)
        asked += len(some)
    return (time.perf_counter() - begun) / asked


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Until the last of the tasks is done, the longest first, each to the worker free first."""
    busy = [0.0] * workers
    for task in sorted(seconds, reverse=True):
        free = busy.index(min(busy))
        busy[free] += task
    return max(busy)


def _peak_gpu(run: Run) -> int:
    """Bytes that were taken of the GPU's memory at most; 0 without one."""
    device = run.engine.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def _job(run: Run, data: Dataset, one: Todo) -> Job:
    pool = data.pool(run.study.data.train_joins_pool)
    recipe, _ = fit_to_pool(resolve_recipe(run.study, Origin.parse(one.method).method), len(pool))
    return Job(run, data, one.method, one.seed, recipe, pool)


def _base_steps(run: Run, data: Dataset, cell: Cell) -> int:
    nowhere = Entry(run.folder, "")  # the number of steps depends on no weights
    job = FinetuneJob(run, data, cell, data.budget(cell), nowhere)
    return job.steps(job.order)


def _trained(one: Todo) -> Iterator[Cell]:
    """Its cells whose network is trained on labels."""
    return (cell for cell in one.cells if PROTOCOLS[cell.protocol].trained)
