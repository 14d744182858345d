"""report: what the other stages measured -> results.json, predictions.csv and the page."""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from headstart.attributions import ATTRIBUTIONS
from headstart.config import Study
from headstart.methods import METHODS
from headstart.reporting.page import write_report
from headstart.reporting.safe import csv_row
from headstart.reporting.sentences import (
    with_sentences,
    write_comparisons,
    write_explanations,
)
from headstart.reporting.sentences.images import about_further_weights, cautions
from headstart.results import (
    SCHEMA,
    ArmResult,
    Comparisons,
    Compute,
    Confidence,
    Data,
    Gate,
    Pretraining,
    Provenance,
    Results,
    Scores,
    Status,
    Times,
)
from headstart.runtime.run import Cell, Dataset, Explained, Grid, Run
from headstart.stages.report.shown import show
from headstart.stats.gates import Gate as Checked
from headstart.store import Entry, write_json, write_text
from headstart.types import Predictions

__all__ = ["Answers", "Asked", "Outcome", "gather", "report", "show"]

LIBRARIES = ("torch", "torchvision", "timm", "lightning", "captum", "numpy", "scipy")


@dataclass(frozen=True)
class Outcome:
    """What a study came to, and where it is written."""

    results: Results
    results_path: Path
    report_path: Path


@dataclass(frozen=True)
class Answers:
    """What was found out, for the report: of the images, by explaining, and by comparing."""

    data: Data
    warnings: tuple[str, ...]
    """What may make a score look better than it is."""
    explained: Explained
    compared: Entry
    gates: Sequence[Checked]


@dataclass(frozen=True)
class Asked:
    """How the report was asked for: the command, and the time (seconds since 1970) of it."""

    command: str
    begun: float
    earlier: Provenance | None = None
    """Provenance of the finished run that was explained anew."""


def report(run: Run, data: Dataset, grid: Grid, answers: Answers, asked: Asked) -> Outcome:
    """Put the results together and write them for programs and for people."""
    write_text(run.folder / "predictions.csv", _predictions(data, grid.evaluated))
    found = gather(run, data, grid, answers, asked)
    results = found.model_copy(update={"shown": show(run, data, grid)})
    path = run.folder / "results.json"
    write_json(path, results.to_json())
    return Outcome(results, path, write_report(results, run.folder))


def gather(run: Run, data: Dataset, grid: Grid, answers: Answers, asked: Asked) -> Results:
    """Everything that was measured, and the sentences that say it."""
    explained = answers.explained
    stored = (answers.compared.folder / "comparison.json").read_bytes()
    compared = write_comparisons(Comparisons.model_validate_json(stored))
    findings = explained.findings
    return Results(
        schema=SCHEMA,
        title=run.folder.resolve().name,
        data=answers.data,
        study=run.study.model_dump(mode="json"),
        arms=tuple(_arms(data, grid)),
        pretraining=tuple(_pretraining(grid)),
        gates=tuple(Gate.model_validate(asdict(gate)) for gate in answers.gates),
        comparisons=compared.comparisons,
        method_pairs=compared.method_pairs,
        area_differences=compared.area_differences,
        label_saving=compared.label_saving,
        attribution_similarity=with_sentences(explained.similarity),
        explained=explained.images,
        explanations=write_explanations(findings) if findings else None,
        warnings=(
            *cautions(answers.data, min(run.study.label_fractions)),
            *about_further_weights(list(run.study.encoder.further_weights)),
            *answers.warnings,
        ),
        provenance=_provenance(run, grid, asked),
    )


def _arms(data: Dataset, grid: Grid) -> Iterator[ArmResult]:
    for cell, entry in grid.evaluated.items():
        classifier = grid.classifiers[cell][1].info
        stored = {name: entry.info[name] for name in Scores.model_fields}
        scores = Scores.model_validate(stored)
        yield ArmResult(
            method=cell.method,
            protocol=cell.protocol,
            seed=cell.seed,
            label_fraction=cell.fraction,
            label_draw=cell.draw,
            labels=classifier["labels"],
            status="ok",
            reason=None,
            metrics=scores.metrics,
            intervals=scores.intervals,
            confusion_matrix=scores.confusion_matrix,
            per_class=scores.per_class,
            chance=scores.chance,
            chosen=classifier["chosen"],
            compute=_compute(grid.classifiers[cell]),
            confidence=Confidence.model_validate(entry.info["confidence"]),
        )
    for cell, (status, reason) in grid.stopped.items():
        yield _stopped(data, cell, status, reason)


def _stopped(data: Dataset, cell: Cell, status: Status, reason: str) -> ArmResult:
    """An arm without a classifier, and why."""
    return ArmResult(
        method=cell.method,
        protocol=cell.protocol,
        seed=cell.seed,
        label_fraction=cell.fraction,
        label_draw=cell.draw,
        labels=data.budget(cell).labels,
        status=status,
        reason=reason,
        metrics=None,
        intervals=None,
        confusion_matrix=None,
        per_class=None,
        chance=None,
        chosen={},
        compute=None,
    )


def _compute(entries: tuple[Entry, Entry]) -> Compute:
    """Images seen and steps taken for one arm, all trials of its tuning together."""
    encoder, classifier = entries[0].info, entries[1].info
    return Compute(
        pretrain_images=encoder.get("images_seen", 0),
        train_images=classifier.get("train_images"),
        train_steps=classifier.get("train_steps"),
    )


def _pretraining(grid: Grid) -> Iterator[Pretraining]:
    for entry in grid.encoders.values():
        if "history" in entry.info:
            yield Pretraining.model_validate(entry.info)


def _provenance(run: Run, grid: Grid, asked: Asked) -> Provenance:
    """What made the results; a run explained anew keeps its own command and times."""
    entries = {entry.folder for entry in grid.encoders.values()}
    entries |= {e.folder for pair in grid.classifiers.values() for e in pair}
    now = _times(asked)
    asked_first = asked.earlier or now
    made = Provenance(
        headstart=version("headstart"),
        versions={name: version(name) for name in LIBRARIES}
        | {"python": platform.python_version()}
        | _extensions(run.study),
        command=asked_first.command,
        started=asked_first.started,
        finished=asked_first.finished,
        total_seconds=asked_first.total_seconds,
        seconds={
            f"{folder.parent.name}/{folder.name}": Entry(folder, "").seconds
            for folder in sorted(entries)
        },
        device=str(run.engine.device),
        precision=run.engine.precision,
        threads=torch.get_num_threads(),
        machine=f"{platform.system()} {platform.machine()}",
    )
    if run.further_weights:
        made = made.model_copy(update={"further_weights": dict(run.further_weights)})
    return made.model_copy(update={"explained_anew": now}) if asked.earlier else made


def _extensions(study: Study) -> dict[str, str]:
    """The versions of the packages whose methods and attributions the study uses."""
    used = [METHODS.extension(name) for name in study.methods]
    used += [ATTRIBUTIONS.extension(name) for name in study.explain.attributions]
    return {part.package: part.version for part in used if part}


def _times(asked: Asked) -> Times:
    """The command, and when it began and ended."""
    return Times(
        command=asked.command,
        started=datetime.fromtimestamp(asked.begun, UTC).isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        total_seconds=time.time() - asked.begun,
    )


def _predictions(data: Dataset, evaluated: Mapping[Cell, Entry]) -> str:
    """One row an image and cell: who said what, and how sure."""
    classes = data.index.classes.tolist()
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["id", "label", "prediction", "group"]
    header += ["method", "protocol", "seed", "label_fraction", "label_draw"]
    groups = dict(zip(data.index.ids.tolist(), data.index.groups.tolist(), strict=True))
    writer.writerow([*header, *(f"p:{name}" for name in classes)])
    for cell, entry in evaluated.items():
        predictions = Predictions.load(entry.folder)
        logits = predictions.logits.astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        about = [cell.method, cell.protocol, cell.seed, cell.fraction, cell.draw]
        for i, predicted in enumerate(predictions.predicted.tolist()):
            identity = str(predictions.ids[i])
            said = [identity, classes[predictions.y[i]], classes[predicted], str(groups[identity])]
            writer.writerow([*csv_row(said), *about, *(f"{share:.6f}" for share in shares[i])])
    return text.getvalue()
