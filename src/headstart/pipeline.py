"""READ FIRST: the eight verbs in order, for one cell and for the grid of cells.

index → pretrain → extract → classify → evaluate → explain → compare → report
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from headstart.attributions import ATTRIBUTIONS
from headstart.config import Study, StudyError
from headstart.engine import Engine
from headstart.stages.check import Checked, card, write_card
from headstart.stages.classify import classify
from headstart.stages.compare import compare
from headstart.stages.evaluate import evaluate
from headstart.stages.explain import explain
from headstart.stages.extract import extract
from headstart.stages.gates import check_gates
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start
from headstart.stages.report import Outcome, report
from headstart.stages.review import review_lookalikes
from headstart.stages.run import Cell, Dataset, Grid, Run, Silence, Tell
from headstart.store import Entry, Store, locked


def run_study(study: Study, out: Path, tell: Tell | None = None, command: str = "") -> Outcome:
    """Answer the question of a study; running it again takes up what is already there.

    Args:
        study: what to compare, on which images.
        out: the run folder; made where it is missing.
        tell: who is told of progress.
        command: how it was asked for, for the report.

    Returns:
        The results, and where ``results.json`` and ``report.html`` lie.

    Raises:
        StudyError: the user's mistake, in one line.
    """
    begun = time.time()
    with _opened(study, out, tell or Silence()) as run:
        return _answer(run, command, begun)


def _answer(run: Run, command: str, begun: float) -> Outcome:
    study = run.study
    start(run, study.seeds[0], study.encoder.weights)  # an unknown backbone costs no waiting
    data = index(run)
    for line in card(run, data)["lines"]:
        run.tell.line(line)
    grid = Grid()
    for seed in study.seeds:
        _run_seed(run, data, seed, grid)
    review_lookalikes(run, data, grid)
    explained = explain(run, data, grid.classifiers)
    gates = check_gates(run, data, grid)
    compared = compare(run, data, grid, gates)
    return report(run, data, grid, explained, compared, (command, begun))


def check_study(study: Study, out: Path, tell: Tell | None = None) -> Checked:
    """Look at the images of a study as a run would, and train nothing.

    Writes ``check.json`` and ``near_duplicates.csv`` into ``out``.

    Raises:
        StudyError: the user's mistake, in one line.
    """
    with _opened(study, out, tell or Silence()) as run:
        return write_card(run, index(run))


def _run_seed(run: Run, data: Dataset, seed: int, grid: Grid) -> None:
    """All encoders of one seed, each followed by its classifiers at every label fraction."""
    study = run.study
    begin = start(run, seed, study.encoder.weights)
    encoders = {"supervised": begin, "random": start(run, seed, "random")}
    if study.encoder.weights != "random":
        encoders["start"] = begin
    for method in study.methods:
        encoders[method] = pretrain(run, data, method, seed, begin)
    for method, encoder in encoders.items():
        grid.pretrained[method, seed] = encoder
        cells = list(_cells(study, method, seed))
        info = encoder.info
        if info["status"] != "ok":
            grid.stopped.update(dict.fromkeys(cells, (info["status"], info["reason"])))
        elif cells:  # random weights have none where only fine-tuning is asked for
            _judge(run, data, cells, encoder, grid)


def _judge(run: Run, data: Dataset, cells: list[Cell], encoder: Entry, grid: Grid) -> None:
    """Classify and evaluate the cells of one encoder."""
    method, seed = cells[0].method, cells[0].seed
    features = extract(run, data, encoder, f"{method}-seed{seed}")
    grid.extracted[method, seed] = features
    for cell, classifier in classify(run, data, cells, encoder, features).items():
        info = classifier.info
        if info["status"] != "ok":
            grid.stopped[cell] = (info["status"], info["reason"])
            continue
        grid.classifiers[cell] = (encoder, classifier)
        grid.evaluated[cell] = evaluate(run, data, cell, classifier, (encoder, features))


def _cells(study: Study, method: str, seed: int) -> Iterator[Cell]:
    """The cells of one encoder: its protocols at every label fraction."""
    protocols: tuple[str, ...] = study.classify.protocols
    if method == "supervised":  # the start itself: trained end to end, and the constant answer
        protocols = ("supervised", "matched")[: 1 + study.classify.compute_matched]
    elif method in ("random", "start"):
        protocols = tuple(p for p in protocols if p != "finetune")
    for fraction in study.label_fractions:
        if method == "supervised":
            yield Cell("majority", "majority", seed, fraction)
        for protocol in protocols:
            yield Cell(method, protocol, seed, fraction)


@contextmanager
def _opened(study: Study, out: Path, tell: Tell) -> Iterator[Run]:
    """The run folder, made or found again and locked; what could fail late is asked for now."""
    for name in study.explain.attributions:
        if name not in ATTRIBUTIONS:
            near = get_close_matches(name, ATTRIBUTIONS, n=1, cutoff=0)[0]
            raise StudyError(f"explain.attributions: unknown '{name}'; did you mean '{near}'?")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror or error}") from None
    with locked(out, tell.line):
        yield Run(study, out, Store(out, tell.line), Engine(study.engine, tell.line), tell)
