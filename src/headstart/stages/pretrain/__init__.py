"""pretrain: unlabelled images -> an encoder, watched for collapse while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart import interrupt, ranks
from headstart.arms import Origin
from headstart.config import Study, StudyError
from headstart.engine import Training, checkpoint_files
from headstart.files import digest
from headstart.nn.encoder import build_encoder, weights_hash
from headstart.recipes import fit_to_pool, resolve_recipe
from headstart.runtime.memory import fitting
from headstart.runtime.networks import backbone, load_encoder, save_encoder
from headstart.runtime.run import Dataset, Run
from headstart.stages.pretrain.job import Job
from headstart.stages.pretrain.watch import PROBE, NoWatch, PretrainWatch
from headstart.store import Entry

__all__ = [
    "PROBE",
    "Job",
    "PretrainWatch",
    "check_settings",
    "further_weights",
    "pretrain",
    "start",
    "start_from_further",
    "train_along",
]


def start(run: Run, seed: int, weights: str) -> Entry:
    """The encoder that training starts from: the same weights for every arm of a seed.

    Raises:
        StudyError: an unknown backbone, or weights that are not there or do not fit it.
    """
    # Weights from a file or a hub are the same for every seed; only random ones are drawn.
    settings = {"weights": weights, "seed": seed if weights == "random" else 0}
    return _begun(run, "random" if weights == "random" else "start", weights, settings)


def start_from_further(run: Run, name: str) -> Entry:
    """The encoder with the further weights of that name: the same for every seed.

    The key holds what the file holds, and not where it lies.

    Raises:
        StudyError: weights that are not there or do not fit the backbone.
    """
    content, weights = run.further_weights[name], run.study.encoder.further_weights[name]
    label = str(Origin.of_weights(name))
    return _begun(run, label, weights, {"weights": content, "seed": 0})


def further_weights(study: Study) -> dict[str, str]:
    """What each of the further weights of a study holds, by name: the SHA-256 of the file.

    Raises:
        StudyError: a file that cannot be read.
    """
    contents = {}
    for name, file in study.encoder.further_weights.items():
        try:
            found = file if file == "pretrained" else f"sha256:{digest(Path(file))}"
        except OSError as error:
            reason = error.strerror or error
            raise StudyError(f"encoder.further_weights.{name}: {file}: {reason}") from None
        contents[name] = found
    return contents


def _begun(run: Run, label: str, weights: str, changes: Mapping[str, object]) -> Entry:
    """An encoder as it is before any training; ``changes`` say what its weights are."""
    settings = {**backbone(run), **changes}
    entry = run.store.entry("pretrain", label, settings)

    def work() -> dict[str, object]:
        try:
            encoder = build_encoder(**backbone(run), weights=weights, seed=settings["seed"])
        except ValueError as error:
            raise StudyError(f"encoder: {error}") from None
        save_encoder(encoder, entry)
        if encoder.left_out:
            names = ", ".join(encoder.left_out[:4]) + (", …" if len(encoder.left_out) > 4 else "")
            run.tell.line(f"{weights}: left out, as they are no part of the encoder: {names}")
        return {"status": "ok", "start": weights_hash(encoder)}

    return entry.make(work)


def check_settings(run: Run, data: Dataset) -> None:
    """Refuse a study with a method whose settings cannot work, before any other trains.

    Raises:
        StudyError: the setting and what to change, in one line.
    """
    for method in run.study.methods:
        job, _ = _job(run, data, method, run.study.seeds[0])
        job.settings_warnings()


def pretrain(run: Run, data: Dataset, method: str, seed: int, begin: Entry) -> Entry:
    """Train one method on the pool from the start ``begin``, and store its encoder.

    ``method`` names the further weights too where these are the start, as ``arms.Origin`` does.
    The entry's info holds ``status`` ("ok", "collapsed" or "failed") with its reason; nothing that
    goes wrong in one method's training stops another's.
    """
    job, cuts = _job(run, data, method, seed)
    entry = run.store.entry("pretrain", f"{method}-seed{seed}", job.settings(), [data.entry, begin])
    if entry.done:
        _forget_checkpoints(entry)  # where the end came between the two
        return entry
    warnings = [*cuts, *job.settings_warnings()]
    for line in warnings:
        run.tell.line(f"{method}: {line}")
    batch = f"{method} (seed {seed})", "--batch-size ", job.batch_size

    def train() -> dict[str, Any]:
        return _train(job, entry, begin, warnings)

    def smaller(size: int) -> Training:
        return job.with_batch(size).training(load_encoder(run, begin, data))[1]

    def kept() -> bool:
        return bool(checkpoint_files(entry.folder))

    with interrupt.deferred():  # a signal is looked for after every step, and what is learnt saved
        if ranks.members() > 1:  # a smaller batch could not be tried without the others
            entry.make(train)
        else:
            fitting(lambda: entry.make(train), smaller, batch, run.engine, kept)
    _forget_checkpoints(entry)
    return entry


def train_along(run: Run, data: Dataset, method: str, seed: int, begin: Entry) -> None:
    """The part of the other ranks in ``pretrain``: their share of every batch, and no files."""
    job, _ = _job(run, data, method, seed)
    with interrupt.deferred(), run.engine.together():
        _, training = job.training(load_encoder(run, begin, data))
        run.engine.fit(training, NoWatch(job))


def _job(run: Run, data: Dataset, method: str, seed: int) -> tuple[Job, list[str]]:
    """The training, and what was changed in its recipe to fit a small pool."""
    pool = data.pool(run.study.data.train_joins_pool)
    recipe, cuts = fit_to_pool(resolve_recipe(run.study, Origin.parse(method).method), len(pool))
    return Job(run, data, method, seed, recipe, pool), cuts


def _train(job: Job, entry: Entry, begin: Entry, warnings: list[str]) -> dict[str, Any]:
    """Train, and store the encoder; of a training that failed, the last healthy one."""
    run = job.run
    encoder = load_encoder(run, begin, job.data)
    started_from = weights_hash(encoder)
    network, training = job.training(encoder)
    watch = PretrainWatch(job, network)
    minutes = run.study.pretrain.checkpoint_minutes
    with run.engine.together((job.method, job.seed)):
        reason = run.engine.fit(training, watch, entry.folder, minutes)
    if watch.status != "ok":
        network.encoder.load_state_dict(watch.healthy)
        reason = f"{reason} Its encoder is kept as it was at step {watch.healthy_step}."
    save_encoder(network.encoder, entry)
    return {
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
        "probe": watch.probe_facts,
    }


def _forget_checkpoints(entry: Entry) -> None:
    """Only once the artifact is whole: until then they are all there is."""
    for path in checkpoint_files(entry.folder):
        path.unlink()
