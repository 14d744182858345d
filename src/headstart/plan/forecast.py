"""From work and rates: hours, GPU-hours, disk and memory, and on what they rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.config import Study
from headstart.cost import makespan
from headstart.plan.networks import Counted, count
from headstart.plan.rates import LINK, Rates
from headstart.plan.work import Sizes, Work, near_searches, work_of
from headstart.recipes import resolve_recipe

IMAGE_BYTES = 1300.0
"""Of this process's memory that an image takes beside its pixels, in paths and digests: 1,282 were
measured for 100,000 images with paths of 50 letters."""
PROCESS_BYTES = 1.2e9
"""Of a process before it holds an image: mostly libraries."""
HANDED = 7e-5
"""Seconds that the one process which hands images to the others takes for each: 58 µs were measured
for files, 69 for shards."""
EXCHANGE = 30e-6  # seconds that one exchange between processes takes, however little it carries
FEW = 32  # images a process below which a GPU is not kept busy
ASSUMED_LINK = (
    f"Exchanges between GPUs: {LINK / 1e9:.0f} GB/s and {EXCHANGE * 1e6:.0f} µs each, an "
    "assumption, not measured."
)


@dataclass(frozen=True)
class Machine:
    """What is planned for: ``gpus`` (0: the processor that a bench file is of), and the ``cores``
    of the machine that reads the images.
    """

    gpus: int
    cores: int


@dataclass(frozen=True)
class Layout:
    """One way to use the GPUs: how to ask for it, and seconds until all is done."""

    how: str
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """What a study would take.

    ``index``, ``pretraining`` and the two ends of ``classifiers`` are seconds of work: of all
    cores of one machine, and of one GPU or process. ``low`` and ``high`` are seconds on the clock
    in the best of ``layouts``, the first; ``disk``, ``memory`` and ``gpu_memory`` are bytes.
    ``basis`` says where each rate is from, ``warnings`` what will not go well.
    """

    sizes: Sizes
    machine: Machine
    index: float
    pretraining: float
    classifiers: tuple[float, float]
    layouts: tuple[Layout, ...]
    low: float
    high: float
    disk: float
    memory: float
    gpu_memory: float
    measured: bool
    basis: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def gpu_hours(self) -> tuple[float, float]:
        """All GPUs, from the first image read to the last classifier."""
        return self.machine.gpus * self.low / 3600, self.machine.gpus * self.high / 3600


@dataclass(frozen=True)
class _Encoder:
    """One encoder's seconds: of pretraining with so many processes, and of its classifiers."""

    work: Work
    alone: float
    together: float
    low: float
    high: float


def forecast(study: Study, sizes: Sizes, machine: Machine, rates: Rates) -> Plan:
    """What a study of so many images would take on a machine.

    Raises:
        StudyError: an unknown backbone, method or setting.
    """
    works = work_of(study, sizes)
    reckoner = _Reckoner(study, sizes, machine, rates)
    encoders = [reckoner.encoder(work) for work in works]
    index = reckoner.index()
    layouts = _layouts(encoders, machine, index)
    weights = reckoner.labelled.encoder * sum(work.networks for work in works)
    features = 4 * reckoner.labelled.features * sizes.labelled * len(works)
    return Plan(
        sizes=sizes,
        machine=machine,
        index=index,
        pretraining=sum(one.alone for one in encoders),
        classifiers=(sum(one.low for one in encoders), sum(one.high for one in encoders)),
        layouts=layouts,
        low=layouts[0].low,
        high=layouts[0].high,
        disk=reckoner.kept * sizes.all * 3 * study.cached_side**2 + weights + features,
        memory=PROCESS_BYTES + IMAGE_BYTES * sizes.all,
        gpu_memory=max((reckoner.memory(work) for work in works), default=0) * (machine.gpus > 0),
        measured=reckoner.measured,
        basis=reckoner.basis(),
        warnings=reckoner.warnings(works),
    )


def _layouts(encoders: Sequence[_Encoder], machine: Machine, index: float) -> tuple[Layout, ...]:
    """One training after the other on all GPUs, or one encoder a GPU; the shorter first."""
    serial = [one.together for one in encoders]
    low, high = (sum(serial) + sum(part) for part in _ends(encoders))
    if machine.gpus < 2:
        return (Layout("one process", index + low, index + high),)
    joint = Layout(f"--devices {machine.gpus}", index + low, index + high)
    ends = [
        makespan([one.alone + last for one, last in zip(encoders, part, strict=True)], machine.gpus)
        for part in _ends(encoders)
    ]
    apart = Layout("--executor ray, one encoder a GPU", index + ends[0], index + ends[1])
    return tuple(sorted((joint, apart), key=lambda layout: layout.high))


def _ends(encoders: Sequence[_Encoder]) -> tuple[list[float], list[float]]:
    return [one.low for one in encoders], [one.high for one in encoders]


class _Reckoner:
    """Seconds and bytes of each piece of work, and where the rates were from."""

    def __init__(self, study: Study, sizes: Sizes, machine: Machine, rates: Rates) -> None:
        self.study, self.sizes, self.machine, self.rates = study, sizes, machine, rates
        self.labelled = count(study, None, sizes.classes)
        self.counted = {method: count(study, method) for method in study.methods}
        self.labelling = rates.labelled(study, self.labelled)
        self.judging = rates.judged(study, self.labelled)
        self.pretraining = {
            method: rates.training(study, method, counted)
            for method, counted in self.counted.items()
        }

    @property
    def measured(self) -> bool:
        """Whether all training and judging has a rate measured for its very network."""
        labels = self.labelling.measured and self.judging.measured
        return labels and all(rate.measured for rate in self.pretraining.values())

    def index(self) -> float:
        """Reading and hashing on all cores, and the search for copies on one."""
        handed, cores = HANDED * self.sizes.all, self.machine.cores
        read = max(self._decoding(self.sizes.all) + handed / cores, handed)
        searched = self.study.data.near_duplicates
        return read + (sum(near_searches(self.study, self.sizes)) if searched else 0.0)

    @property
    def kept(self) -> float:
        """The share of all images whose pixels the cache has room for."""
        budget = self.study.data.cache_budget
        size = 3 * self.study.cached_side**2 * self.sizes.all
        return 1.0 if budget is None else min(1.0, budget / size)

    def _decoding(self, images: float) -> float:
        """Seconds in which all cores decode and hash images."""
        return images / self.rates.decoded(self.study.cached_side) / self.machine.cores

    def encoder(self, work: Work) -> _Encoder:
        """Seconds of an encoder and its classifiers."""
        judge = self.judging.line.each
        alike = self._heads(work) + self._scores(work) + judge * work.judged
        low, high = (
            alike + self.labelling.line.seconds(part.steps, part.images) + judge * part.judged
            for part in work.labelled
        )
        processes = max(1, self.machine.gpus)
        return _Encoder(
            work, self._pretraining(work, 1), self._pretraining(work, processes), low, high
        )

    def _heads(self, work: Work) -> float:
        head = self.rates.head(self.study, self.labelled.features, self.sizes.classes)
        return head.seconds(work.heads, work.solved)

    def _scores(self, work: Work) -> float:
        """Scores of the test images with their intervals, for every arm."""
        return self.rates.scored(self.study).seconds(work.arms, work.arms * self.sizes.test)

    def _pretraining(self, work: Work, processes: int) -> float:
        """Steps by all processes, as fast as images that are not kept are decoded, and looks for
        collapse by one.
        """
        if not work.steps:
            return 0.0
        rate, counted = self.pretraining[work.kind], self.counted[work.kind]
        processes = min(processes, work.batch)
        computing = counted.flops.share(work.batch, processes) / rate.flops
        stepping = work.steps * (computing + self._exchanging(counted, work.batch, processes))
        decoding = self._decoding((1 - self.kept) * work.steps * work.batch)
        return max(stepping, decoding) + work.looked_at * self.rates.looked(
            self.study, self.labelled
        )

    def _exchanging(self, counted: Counted, batch: int, processes: int) -> float:
        """Seconds a step: gradients in a ring, features of the batch, BatchNorm's statistics."""
        if processes == 1:
            return 0.0
        carried = 2 * (processes - 1) / processes * counted.trained
        carried += 2 * 2 * batch * counted.features * 4
        return carried / LINK + (2 * counted.norms + 3) * EXCHANGE

    def memory(self, work: Work) -> float:
        """Bytes of a GPU while it trains, with its part of the batch, in bfloat16."""
        if not work.steps:
            return self._held(self.labelled, self.study.classify.finetune.batch_size, 1, moments=1)
        optim = resolve_recipe(self.study, work.kind).optim
        moments = 2 if optim.name == "adamw" else 1
        processes = min(max(1, self.machine.gpus), work.batch)
        return self._held(self.counted[work.kind], work.batch, processes, moments=moments)

    @staticmethod
    def _held(counted: Counted, batch: int, processes: int, *, moments: int) -> float:
        kept = counted.kept.share(batch, processes, each=0.5)
        return counted.weights + (1 + moments) * counted.trained + kept

    def basis(self) -> tuple[str, ...]:
        """Where each rate is from, and what was assumed."""
        said = {f"Pretraining: {rate.said}." for rate in self.pretraining.values()}
        lines = [*sorted(said), f"Training on labels: {self.labelling.said}."]
        lines.append(f"Judging: {self.judging.said}.")
        if self.machine.gpus > 1:
            lines.append(ASSUMED_LINK)
        whose = "from the bench file" if self.rates.benches else "measured elsewhere, an assumption"
        rate, cores = self.rates.decoded(self.study.cached_side), self.machine.cores
        lines.append(f"Reading: {rate:,.0f} files a second and core, {whose}; {cores} cores.")
        if self.kept < 1:
            lines.append(f"{1 - self.kept:.0%} of the images are decoded again in every epoch.")
        lines.append("Explaining, comparing and the report come on top.")
        return tuple(lines)

    def warnings(self, works: Sequence[Work]) -> tuple[str, ...]:
        """What will not go as planned."""
        lines = []
        batch = max((work.batch for work in works if work.steps), default=0)
        gpus = self.machine.gpus
        if batch and gpus > batch:
            lines.append(f"A batch of {batch} images cannot be shared by {gpus} processes.")
        elif batch and gpus > 1 and batch / gpus < FEW:
            lines.append(
                f"With --devices {gpus} a process has {batch / gpus:.1f} images of a batch of "
                f"{batch}: so few keep no GPU busy, and the rate assumed will not be reached."
            )
        gpu = self.rates.gpu
        most = max((self.memory(work) for work in works), default=0)
        if gpu and most > 0.9 * gpu.memory:
            lines.append(
                f"About {most / 1e9:.0f} GB of a GPU's memory are needed, {gpu.name} has "
                f"{gpu.memory / 1e9:.0f}: take {self._less_memory()}."
            )
        return tuple(lines)

    def _less_memory(self) -> str:
        if self.study.engine.activation_checkpointing:
            return "a smaller batch or more GPUs"
        return "engine.activation_checkpointing, a smaller batch, or more GPUs"
