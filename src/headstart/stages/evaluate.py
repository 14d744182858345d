"""evaluate: a classifier, test and validation images -> predictions, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.results import (
    CalibrationError,
    Chance,
    ClassScores,
    Confidence,
    Covered,
    Interval,
    MetricEnds,
    Metrics,
    Scores,
)
from headstart.runtime.heads import knn
from headstart.runtime.networks import load_network, outputs, preprocessing
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stats.bootstrap import Resampling, bootstrap_metrics
from headstart.stats.confidence import fit_temperature, trust
from headstart.stats.hypotheses import chance_test
from headstart.stats.intervals import wilson
from headstart.stats.metrics import METRICS, confusion_matrix, per_class
from headstart.store import Entry
from headstart.types import Features, Floats, Ints, Predictions

CHANCE_LEVEL = 0.05
MOST_REPLICATES = 2_000  # for the confidence: each takes a sum over all images


def evaluate(
    run: Run, data: Dataset, cell: Cell, classified: Entry, sources: tuple[Entry, Entry]
) -> Entry:
    """Predictions of one cell on held-out test images, scored with intervals.

    A temperature is fitted to its predictions on the validation images of its label budget.
    ``sources`` are the encoder's entry and its features' entry.
    """
    settings = {"replicates": run.study.compare.replicates}
    entry = run.store.entry("evaluate", cell.label, settings, [data.entry, classified])

    def work() -> dict[str, Any]:
        test = data.index.where("test")
        held_out = data.budget(cell).validation
        ask = _asked(run, data, cell, classified, sources)
        predictions, validation = (
            Predictions(data.index.ids[at], ask(at), data.index.labels[at])
            for at in (test, held_out)
        )
        predictions.save(entry.folder)
        classes = data.index.classes.tolist()
        scores = score(predictions, classes, run.study.compare.replicates)
        return {
            **scores.model_dump(mode="json"),
            "confidence": confidence(
                predictions, validation, run.study.compare.replicates
            ).model_dump(mode="json"),
            "preprocessing": _seen(data, cell, sources[1]),
        }

    return entry.make(work)


def _seen(data: Dataset, cell: Cell, extracted: Entry) -> str | None:
    """How the images were prepared that the answers rest on; None where none was looked at."""
    if cell.protocol == "majority":
        return None
    if cell.protocol == "knn":
        seen: str | None = extracted.info.get("preprocessing")
        return seen
    return preprocessing(data.images(data.index.where("test")), data)


def score(predictions: Predictions, classes: list[str], replicates: int) -> Scores:
    """Everything that one set of predictions says by itself; shares in [0, 1].

    Intervals are 95 %: Wilson's for accuracy and each class's recall, a bootstrap within true
    classes for the others.
    """
    M = confusion_matrix(predictions.y, predictions.predicted, len(classes))
    intervals = {k: (i.low, i.high) for k, i in bootstrap_metrics(M, replicates).items()}
    low, high = wilson(int(np.trace(M)), int(M.sum()))
    intervals["accuracy"] = (float(low), float(high))
    chance = chance_test(M, "balanced_accuracy", replicates)
    return Scores(
        metrics=Metrics(**{name: float(metric(M)) for name, metric in METRICS.items()}),
        intervals=MetricEnds(**{name: intervals[name] for name in METRICS}),
        confusion_matrix=tuple(map(tuple, M.tolist())),
        per_class=_report(M, classes),
        chance=Chance(p=chance.p, beats_chance=bool(chance.p < CHANCE_LEVEL)),
    )


def confidence(test: Predictions, validation: Predictions, replicates: int) -> Confidence:
    """How far the probabilities can be trusted; the temperature is the validation images' alone."""
    temperature = fit_temperature(validation.logits, validation.y)
    plan = Resampling(min(replicates, MOST_REPLICATES))
    found = trust(test.logits, test.y, temperature, plan)
    return Confidence(
        validation_images=len(validation.y),
        temperature=temperature,
        before=CalibrationError(**asdict(found.before)),
        after=CalibrationError(**asdict(found.after)),
        accuracy=tuple(
            Covered(coverage=share, accuracy=Interval(**accuracy._asdict()))
            for share, accuracy in found.accuracy.items()
        ),
    )


def _report(M: np.ndarray, classes: list[str]) -> tuple[ClassScores, ...]:
    each = per_class(M)
    return tuple(
        ClassScores.model_validate(
            {
                "class": name,
                "precision": float(each.precision[c]),
                "recall": float(each.recall[c]),
                "recall_interval": (float(each.recall_low[c]), float(each.recall_high[c])),
                "f1": float(each.f1[c]),
                "support": int(each.support[c]),
            }
        )
        for c, name in enumerate(classes)
    )


def _asked(
    run: Run, data: Dataset, cell: Cell, classified: Entry, sources: tuple[Entry, Entry]
) -> Callable[[Ints], Floats]:
    """The cell's classifier: the logits (N, C) of the images at N positions of the index."""
    pretrained, extracted = sources
    if cell.protocol == "majority":
        prior = _prior(data, cell)
        return lambda at: np.tile(prior, (len(at), 1))
    if cell.protocol == "knn":
        budget = data.budget(cell)
        features = Features.load(extracted.folder)
        return lambda at: knn(run, features, budget, data, data.index.ids[at])
    network = load_network(run, data, cell, classified, pretrained)
    return lambda at: outputs(network, data.images(at)).numpy()


def _prior(data: Dataset, cell: Cell) -> Floats:
    """The logarithm of the class shares among the labels, (C,)."""
    budget = data.budget(cell)
    counts = np.bincount(data.index.labels[budget.train], minlength=len(data.index.classes))
    prior: Floats = np.log(counts / counts.sum() + 1e-9).astype(np.float32)
    return prior
