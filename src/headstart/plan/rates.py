"""How fast: rates that ``headstart bench`` measured, or a GPU's published peak times a share.

Only a rate measured for the same network on the same kind of processor counts as measured; all
others are assumptions, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from headstart.config import EncoderSettings, EngineSettings, Study, StudyError
from headstart.plan.networks import Counted, count

DECODED = {80: 1588.0, 160: 912.0, 280: 587.0}
"""Files a second and core by the side they are cached at: photographs of 400 × 533 px, on another
machine (benchmarks/README.md). Larger ones are slower; a bench file of your own images is better.
"""
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


class Bench(BaseModel):
    """What ``headstart bench --json`` wrote, as far as a plan uses it."""

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

    @property
    def on_gpu(self) -> bool:
        """Whether its training ran on a GPU."""
        return self.device not in ("cpu", "mps")


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

    def training(self, study: Study, method: str | None, counted: Counted) -> Rate:
        """Of the training step of a method, or with None of training on labels."""
        nearest = _nearest(self._timed, study, method)
        if nearest is None:
            return self._published(bf16=True)
        flops = counted if _is_of(nearest, study, method) else _counted_as(nearest)
        work = flops.flops.share(nearest.batch_size) / nearest.batch_size
        return _rate(nearest, nearest.train_images_per_s * work, _is_of(nearest, study, method))

    def forward(self, study: Study, counted: Counted) -> Rate:
        """Of the encoder alone, in float32."""
        nearest = _nearest(self._timed, study, None)
        if nearest is None:
            return self._published(bf16=False)
        same = _same_encoder(nearest, study)
        work = (counted if same else _counted_as(nearest)).forward
        cores = 1 if nearest.on_gpu else nearest.threads
        return _rate(nearest, nearest.forward_images_per_s_per_core * cores * work, same)

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
        """Image files read, decoded and scaled to a side, a second and core."""
        if self.benches:
            return self.benches[0].cache_images_per_s_per_core
        return float(np.interp(side, list(DECODED), list(DECODED.values())))

    def head(self, rows: float, features: int, classes: int) -> float:
        """Core-seconds of a linear head on so many labelled images, scaled from the bench's."""
        if not self.benches:
            return 0.0
        bench = self.benches[0]
        known = 5_000 * 5 * (0.05 + 0.1 + 0.2 + 0.5 + 1.0) * _counted_as(bench).features * 10
        return bench.heads_core_seconds * rows * features * classes / known


def _nearest(benches: Sequence[Bench], study: Study, method: str | None) -> Bench | None:
    """The measurement that is most like what is planned."""

    def likeness(bench: Bench) -> tuple[bool, bool, bool]:
        same = _same_encoder(bench, study)
        return same and bench.method == method, same, bench.method == method

    return max(benches, key=likeness, default=None)


def _same_encoder(bench: Bench, study: Study) -> bool:
    own = study.encoder.backbone, study.encoder.image_size, study.encoder.stem
    return own == (bench.backbone, bench.image_size, "standard")


def _is_of(bench: Bench, study: Study, method: str | None) -> bool:
    again = study.engine.activation_checkpointing == bench.activation_checkpointing
    return again and bench.method == method and _same_encoder(bench, study)


def _rate(bench: Bench, flops: float, same: bool) -> Rate:
    where = f"{bench.device}, {bench.threads} threads" if not bench.on_gpu else bench.device
    network = f"{bench.method}, {bench.backbone} at {bench.image_size} px"
    said = f"{network}, measured on {where}, {bench.date}"
    return Rate(flops, same, said if same else f"{said}; scaled by operations, an assumption")


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
