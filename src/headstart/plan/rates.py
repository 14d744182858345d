"""How fast: rates that ``headstart bench`` measured, or a GPU's published peak times a share.

Only a rate measured for the same network and batch on the same kind of processor counts as
measured; all others are assumptions, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from headstart.config import EncoderSettings, EngineSettings, Study, StudyError
from headstart.plan.networks import Counted, count

DECODED = {80: 1588.0, 160: 912.0, 280: 587.0}
"""Files a second and core by the side they are cached at: photographs of 400 × 533 px, on another
machine (benchmarks/README.md). Larger ones are slower; a bench file of your own images is better.
"""
HASHED, HASHED_PIXEL = 5.3e-5, 2.3e-9
"""Core-seconds that the hashes of an image take, and each of its cached pixels besides: measured at
40 to 280 px."""
LINK = 50e9
"""Bytes a second between the GPUs of two machines, 400 Gbit/s each: an assumption."""


@dataclass(frozen=True)
class Gpu:
    """What its maker publishes: operations a second in bfloat16 (dense) and in float32 without
    TF32, in which networks are judged, and bytes of memory.
    """

    name: str
    bf16: float
    fp32: float
    memory: float


# Data sheets of NVIDIA, SXM where there are several; figures with sparsity halved.
GPUS = {
    "a100": Gpu("A100", 312e12, 19.5e12, 80e9),
    "h100": Gpu("H100", 989e12, 67e12, 80e9),
    "h200": Gpu("H200", 989e12, 67e12, 141e9),
    "l4": Gpu("L4", 121e12, 30.3e12, 24e9),
    "l40s": Gpu("L40S", 362e12, 91.6e12, 48e9),
}


def gpu(name: str) -> Gpu:
    """The GPU of that name, in either case.

    Raises:
        StudyError: one that is not in the list.
    """
    if name.lower() not in GPUS:
        raise StudyError(
            f"--gpu {name}: no published peak is kept for it; known: {', '.join(GPUS)}; or run "
            "headstart bench on it, and give its file with --bench"
        )
    return GPUS[name.lower()]


@dataclass(frozen=True)
class Line:
    """Seconds that some work takes: ``fixed`` each time, and ``each`` for every image in it."""

    fixed: float
    each: float

    @classmethod
    def through(cls, seconds: Mapping[int, float]) -> Self:
        """From seconds by the number of images: through the fewest and the most of them, neither
        part below nought.
        """
        few, many = min(seconds), max(seconds)
        if few == many:
            return cls(0.0, seconds[many] / many)
        each = (seconds[many] - seconds[few]) / (many - few)
        each = min(max(0.0, each), seconds[many] / many)
        return cls(seconds[many] - each * many, each)

    def seconds(self, times: float, images: float) -> float:
        """Of so many times with so many images in all."""
        return times * self.fixed + images * self.each

    def scaled(self, factor: float) -> Line:
        """An image takes so many times as long, what is fixed as long as before."""
        return replace(self, each=factor * self.each)


class Stages(BaseModel):
    """What a bench file says of the work beside pretraining; see ``bench.stages.stages_cost``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    labelled_step_s: dict[int, float]
    judged_images_per_s: float
    look_s: float
    look_images: int
    head_s: dict[int, float]
    score_s: dict[int, float]


class Bench(BaseModel):
    """What ``headstart bench --json`` wrote, as far as a plan uses it; files of older versions have
    no ``stages``.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    method: str
    backbone: str
    image_size: int
    batch_size: int
    settings: dict[str, Any]
    device: str
    precision: str
    threads: int
    date: str
    train_images_per_s: float
    forward_images_per_s_per_core: float
    cache_images_per_s_per_core: float
    heads_core_seconds: float
    activation_checkpointing: bool = False
    stages: Stages | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether its training ran on a GPU."""
        return self.device not in ("cpu", "mps")

    @property
    def judged_images_per_s(self) -> float:
        """Images that the encoder is asked about a second, by all threads."""
        if self.stages:
            return self.stages.judged_images_per_s
        return self.forward_images_per_s_per_core * (1 if self.on_gpu else self.threads)

    @property
    def head(self) -> Line:
        """Of one linear head in ten classes."""
        if self.stages:
            return Line.through(self.stages.head_s)
        return Line(0.0, self.heads_core_seconds / (5_000 * 5 * (0.05 + 0.1 + 0.2 + 0.5 + 1.0)))


def read_bench(path: Path) -> Bench:
    """A file of ``headstart bench``.

    Raises:
        StudyError: no such file, or one that holds something else.
    """
    try:
        return Bench.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StudyError(f"--bench {path}: {error.strerror or error}") from None
    except ValidationError:
        raise StudyError(f"--bench {path}: is no file that headstart bench --json wrote") from None


@dataclass(frozen=True)
class Rate:
    """Operations a second, whether they were measured for this very network, and where from."""

    flops: float
    measured: bool
    said: str


@dataclass(frozen=True)
class Pace:
    """Seconds of a step and of an image in it, whether they were measured, and where from."""

    line: Line
    measured: bool
    said: str


@dataclass(frozen=True)
class Rates:
    """Where all rates come from: bench files, and perhaps a GPU that none of them is of."""

    benches: tuple[Bench, ...] = ()
    gpu: Gpu | None = None
    utilisation: float = 0.3

    def __post_init__(self) -> None:
        if not self.benches and self.gpu is None:
            raise StudyError(
                "--gpu or --bench: a plan needs a rate; name a GPU whose peak is published, or "
                "give a file of headstart bench --json"
            )

    @property
    def _timed(self) -> list[Bench]:
        """The measurements of the kind of processor that is planned for."""
        return [b for b in self.benches if b.on_gpu or self.gpu is None]

    @property
    def on_gpu(self) -> bool:
        """Whether the plan is for GPUs."""
        return self.gpu is not None or any(bench.on_gpu for bench in self.benches)

    def training(self, study: Study, method: str, counted: Counted) -> Rate:
        """Of the training step of a method."""
        nearest = self._nearest(study, method)
        if nearest is None:
            return self._published(bf16=True)
        same = nearest.method == method and _trains_alike(nearest, study)
        flops = _flops(nearest, counted if same else _counted_as(nearest))
        measured = same and nearest.batch_size == study.pretrain.batch_size
        return Rate(flops, measured, _said(nearest, nearest.batch_size, measured=measured))

    def labelled(self, study: Study, counted: Counted) -> Pace:
        """Of a step of end-to-end training on labels, ``counted`` as such."""
        nearest, work = self._nearest(study), counted.flops.share(64) / 64
        if nearest is None:
            rate = self._published(bf16=True)
            return Pace(Line(0.0, work / rate.flops), measured=False, said=rate.said)
        if nearest.stages is None:
            each = work / _flops(nearest, _counted_as(nearest))
            said = _said(nearest, nearest.batch_size, measured=False)
            return Pace(Line(0.0, each), measured=False, said=said)
        same, steps = _trains_alike(nearest, study), nearest.stages.labelled_step_s
        line = Line.through(steps).scaled(_growth(nearest, study, counted))
        said = _said(nearest, max(steps), measured=same, what="training on labels")
        return Pace(line, same, said)

    def judged(self, study: Study, counted: Counted) -> Pace:
        """Of the encoder alone, in float32."""
        nearest = self._nearest(study)
        if nearest is None:
            rate = self._published(bf16=False)
            return Pace(Line(0.0, counted.forward / rate.flops), measured=False, said=rate.said)
        each = _growth(nearest, study, counted) / nearest.judged_images_per_s
        same = _same_encoder(nearest, study)
        return Pace(Line(0.0, each), same, _said(nearest, None, measured=same, what="judging"))

    def looked(self, study: Study, counted: Counted) -> float:
        """Seconds an image of a look for collapse."""
        nearest = self._nearest(study)
        if nearest is None or nearest.stages is None:
            return self.judged(study, counted).line.each
        stages = nearest.stages
        return stages.look_s / stages.look_images * _growth(nearest, study, counted)

    def scored(self, study: Study) -> Line:
        """Of an arm's scores and intervals, by its test images; nought where never timed."""
        nearest = self._nearest(study)
        stages = nearest.stages if nearest else None
        return Line.through(stages.score_s) if stages else Line(0.0, 0.0)

    def head(self, study: Study, features: int, classes: int) -> Line:
        """Of a linear head, by the labelled images it is fitted to."""
        nearest = self._nearest(study)
        if nearest is None:
            return Line(0.0, 0.0)
        own = nearest.head
        return own.scaled(features * classes / (_counted_as(nearest).features * 10))

    def _nearest(self, study: Study, method: str | None = None) -> Bench | None:
        """The measurement that is most like what is planned."""

        def likeness(bench: Bench) -> tuple[bool, bool, bool, bool]:
            same = _same_encoder(bench, study)
            timed = bench.stages is not None
            return same and bench.method == method, same, bench.method == method, timed

        return max(self._timed, key=likeness, default=None)

    def _published(self, *, bf16: bool) -> Rate:
        assert self.gpu
        peak = self.gpu.bf16 if bf16 else self.gpu.fp32
        kind = "bfloat16" if bf16 else "float32"
        return Rate(
            self.utilisation * peak,
            measured=False,
            said=f"{self.gpu.name}: {self.utilisation:.0%} of its published {peak / 1e12:g} "
            f"TFLOP/s in {kind}, an assumption, not measured",
        )

    def decoded(self, side: int) -> float:
        """Image files read, decoded, scaled to a side and hashed, a second and core."""
        if self.benches:
            return self.benches[0].cache_images_per_s_per_core
        decoded = float(np.interp(side, list(DECODED), list(DECODED.values())))
        return 1 / (1 / decoded + HASHED + HASHED_PIXEL * side**2)


def _same_encoder(bench: Bench, study: Study) -> bool:
    own = study.encoder.backbone, study.encoder.image_size, study.encoder.stem
    return own == (bench.backbone, bench.image_size, "standard")


def _trains_alike(bench: Bench, study: Study) -> bool:
    again = study.engine.activation_checkpointing == bench.activation_checkpointing
    return again and _same_encoder(bench, study)


def _flops(bench: Bench, counted: Counted) -> float:
    """Operations a second while it pretrained the network that was ``counted``."""
    return bench.train_images_per_s * counted.flops.share(bench.batch_size) / bench.batch_size


def _growth(bench: Bench, study: Study, counted: Counted) -> float:
    """How many times the operations of an image ``counted`` takes, of those that were timed."""
    return 1.0 if _same_encoder(bench, study) else counted.forward / _counted_as(bench).forward


def _said(bench: Bench, batch: int | None, *, measured: bool, what: str | None = None) -> str:
    where = f"{bench.device}, {bench.threads} threads" if not bench.on_gpu else bench.device
    of = f", batch {batch}" if batch else ""
    network = f"{what or bench.method}, {bench.backbone} at {bench.image_size} px{of}"
    said = f"{network}, measured on {where}, {bench.date}"
    return said if measured else f"{said}; scaled by operations, an assumption"


def _counted_as(bench: Bench) -> Counted:
    """The network that was timed."""
    return _count_once(bench.model_dump_json())


@cache
def _count_once(bench: str) -> Counted:
    timed = Bench.model_validate_json(bench)
    encoder = EncoderSettings(backbone=timed.backbone, image_size=timed.image_size)
    engine = EngineSettings(activation_checkpointing=timed.activation_checkpointing)
    methods = {timed.method: timed.settings}
    return count(Study(encoder=encoder, methods=methods, engine=engine), timed.method)
