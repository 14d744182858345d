"""bench: a study's training, timed in turns with the bare network and with a peer."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.bench.parts import decode_rate, heads_cost, views_rate
from headstart.bench.peer import Peer, check_peer
from headstart.bench.stages import CLASSES, brightness_classes, stages_cost
from headstart.bench.timed import Clock, Floor, Product, Turns, core_seconds
from headstart.config import Study, StudyError
from headstart.data.batches import ViewPairs
from headstart.data.cache import open_cache
from headstart.data.scan import find_unlabeled
from headstart.data.synthetic import BagsSpec, generate
from headstart.engine import Engine
from headstart.methods import METHODS
from headstart.nn.encoder import Encoder, build_encoder
from headstart.recipes import resolve_recipe
from headstart.runtime.run import Dataset, Run, Tell
from headstart.stages.pretrain import Job
from headstart.store import Store
from headstart.types import DatasetIndex, Doubles

PHOTO_SIDE = 400  # short side of the generated photographs, pixels
DECODED = 96  # files that the decoding is timed on
SEGMENT_SECONDS = 2.0  # a segment has so many steps as take the bare network about this long


@dataclass(frozen=True)
class Options:
    """What to time: ``method`` by name, on the images of ``data`` (generated bags if None)."""

    method: str = "simclr"
    data: Path | None = None
    peer: str | None = None
    rounds: int = 7
    core_seconds: bool = False
    """Time by what processors gave to it, not by the clock: for a machine that has other work."""


def bench(study: Study, options: Options, out: Path, tell: Tell) -> dict[str, Any]:
    """Time the training of one method; see ``benchmarks/README.md`` for what each key means.

    Args:
        study: its encoder, precision, batch size and recipe are used; its data are not.
        options: what to time.
        out: folder for the generated images and the cache, used again by the next call.
        tell: where progress is shown.

    Raises:
        StudyError: an unknown method or peer, or fewer images than a batch.
    """
    if options.method not in METHODS:
        near = get_close_matches(options.method, METHODS, n=1, cutoff=0)[0]
        raise StudyError(f"--method: unknown '{options.method}'; did you mean '{near}'?")
    if study.data.channels != "rgb":
        raise StudyError("data.channels: bench times colour photographs; leave it out")
    if options.peer:
        check_peer(options.peer, options.method)
    run = Run(study, out, Store(out), Engine(study.engine), tell)
    if options.core_seconds and (run.engine.device.type, sys.platform) != ("cpu", "linux"):
        raise StudyError("--core-seconds: times a CPU, on Linux; leave it out")
    folder = options.data or _draw_photos(study, out, tell)
    data, paths = _read(run, folder)
    job = _job(run, data, options.method)
    clock = time.process_time if options.core_seconds else time.perf_counter
    results = _parts(job, paths, _encoder(run), clock)
    tell.line("timing training on labels, judging and looking for collapse")
    results["stages"] = stages = stages_cost(job, clock)
    batch, seconds = max(stages["labelled_step_s"].items())
    results["labelled_images_per_s"] = batch / seconds
    tell.line("timing the training in turns with the bare network")
    return results | _race(job, folder, options) | _machine(run, job, options)


def _draw_photos(study: Study, out: Path, tell: Tell) -> Path:
    """Bags the size of photographs, a whole number of batches of them."""
    count = max(512, 2 * study.pretrain.batch_size)
    spec = BagsSpec(count, 0, 0, 0, size=PHOTO_SIDE)
    folder = out / f"photos-{count}"
    generate(folder, spec, lambda d, n: tell.progress("drawing photographs", d, n))
    return folder / "unlabeled"


def _read(run: Run, folder: Path) -> tuple[Dataset, list[Path]]:
    """The images of a folder: to pretrain on, and with classes by brightness to train on too."""
    study = run.study
    files = find_unlabeled(folder)
    cache = open_cache(files, study.cached_side, run.folder / ".headstart-cache", run.tell.progress)
    rows = np.array([i for i, reason in enumerate(cache.reasons) if not reason], dtype=np.int64)
    if len(rows) < study.pretrain.batch_size:
        raise StudyError(
            f"--data {folder}: {len(rows)} readable images are fewer than a batch of "
            f"{study.pretrain.batch_size}; give more images or a smaller --batch-size"
        )
    names = np.array([files[i].id for i in rows])
    index = DatasetIndex(
        ids=names,
        paths=np.array([files[i].path for i in rows]),
        labels=brightness_classes(cache, rows),
        splits=np.full(len(rows), "train"),
        groups=np.arange(len(rows)),
        rows=rows,
        classes=np.arange(CLASSES).astype(np.str_),
        digest=np.array(""),
    )
    entry = run.store.entry("index", "bench", {"images": names.tolist()})
    readable = [Path(files[i].path) for i in rows]
    return Dataset(entry, index, cache, study.encoder.image_size, run.engine), readable


def _job(run: Run, data: Dataset, method: str) -> Job:
    recipe = resolve_recipe(run.study, method)
    return Job(run, data, method, 0, recipe, data.pool(train_joins=True))


def _encoder(run: Run) -> Encoder:
    settings = run.study.encoder.model_dump(exclude={"further_weights"}) | {"weights": "random"}
    try:
        return run.engine.place(build_encoder(**settings))
    except ValueError as error:
        raise StudyError(f"encoder: {error}") from None


def _parts(job: Job, paths: list[Path], encoder: Encoder, clock: Clock) -> dict[str, Any]:
    batches = ViewPairs(job.data.images(job.pool), job.order, job.recipe.view1, job.recipe.view2)
    side = job.data.cache.pixels.shape[-1]
    job.run.tell.line("timing views, decoding and linear heads")
    return {
        "views_per_s": views_rate(batches, clock),
        "cache_images_per_s_per_core": decode_rate(paths[:DECODED], side, clock),
        **heads_cost(encoder, batches.images, clock),
    }


def _race(job: Job, folder: Path, options: Options) -> dict[str, Any]:
    """Rates and ratios from segments that take turns; the first round only warms up."""
    run, engine = job.run, job.run.engine
    floor = Floor(engine, job.training(_encoder(run))[1])
    flops = floor.flops()
    floor.run(2)
    steps = _steps_in(SEGMENT_SECONDS, floor)
    training = replace(job.training(_encoder(run))[1], steps=(options.rounds + 1) * steps)
    with _peer(job, folder, options) as peer:
        clock = time.perf_counter
        if options.core_seconds:
            clock = partial(core_seconds, [n for one in peer for n in one.workers()])
        turns = Turns(engine, [floor, Product(engine), *peer], steps, options.rounds + 1, clock)
        engine.fit(training, turns)
    seconds = {name: np.array(times[1:]) for name, times in turns.seconds.items()}
    reached = flops / seconds["train"] / (Product.flops / seconds["product"])
    return {
        **_rates(seconds, steps * job.batch_size),
        "flops_utilisation": float(np.median(reached)),
        "peak_rss_bytes": turns.peak_rss,
        "peak_gpu_bytes": turns.peak_gpu or None,
        "steps_a_segment": steps,
        "rounds": options.rounds,
        "core_seconds": options.core_seconds,
    }


@contextmanager
def _peer(job: Job, folder: Path, options: Options) -> Iterator[list[Peer]]:
    if options.peer is None:
        yield []
        return
    peer = Peer(options.method, _encoder(job.run), folder, job.data.size, job.batch_size)
    try:
        yield [peer]
    finally:
        peer.close()


def _steps_in(seconds: float, floor: Floor) -> int:
    begun = time.perf_counter()
    floor.run(2)
    return max(2, round(2 * seconds / (time.perf_counter() - begun)))


def _rates(seconds: Mapping[str, Doubles], images: int) -> dict[str, Any]:
    """Medians over the rounds; a ratio is taken within each round, then its median."""
    results: dict[str, Any] = {"train_images_per_s": float(images / np.median(seconds["train"]))}
    for name in ("floor", "peer"):
        ratios = seconds[name] / seconds["train"] if name in seconds else None
        rate = float(images / np.median(seconds[name])) if name in seconds else None
        results[f"{name}_images_per_s"] = rate
        key = f"ratio_to_{name}"
        # The training's rate over the peer's, and over the floor's: above 1 it is the faster one.
        results[key] = None if ratios is None else float(np.median(ratios))
        results[f"{key}_range"] = (
            None if ratios is None else [float(ratios.min()), float(ratios.max())]
        )
    return results


def _machine(run: Run, job: Job, options: Options) -> dict[str, Any]:
    """What was timed, on what."""
    engine, study = run.engine, run.study
    gpu = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else None
    return {
        "method": options.method,
        "backbone": study.encoder.backbone,
        "image_size": study.encoder.image_size,
        "batch_size": job.batch_size,
        "settings": job.recipe.settings,
        "peer": options.peer,
        "compile": study.engine.compile,
        "activation_checkpointing": study.engine.activation_checkpointing,
        "precision": engine.precision,
        "device": gpu or str(engine.device),
        "threads": torch.get_num_threads(),
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("headstart", "torch", "timm", "numpy")},
        "date": datetime.now(UTC).date().isoformat(),
    }
