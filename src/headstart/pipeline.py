"""READ FIRST: the eight verbs in order, for one cell and for the grid of cells.

index → pretrain → extract → classify → evaluate → explain → compare → report
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from headstart import ranks
from headstart.arms import (
    BASELINE,
    MAJORITY,
    MATCHED,
    PROTOCOLS,
    UNTRAINED,
    Arm,
    Origin,
    is_pretrained,
    is_start,
)
from headstart.attributions import ATTRIBUTIONS
from headstart.config import Study, StudyError
from headstart.cores import usable_cores
from headstart.cost import Todo, cost_lines, estimate, is_long
from headstart.engine import Engine
from headstart.executors import EXECUTORS
from headstart.results import Provenance
from headstart.runtime import process
from headstart.runtime.curves import tell_moments
from headstart.runtime.run import (
    Branch,
    Cell,
    CellResult,
    Classifiers,
    Dataset,
    Grid,
    Run,
    Silence,
    Tell,
)
from headstart.stages.cards import write_cards
from headstart.stages.classify import classify
from headstart.stages.compare import compare
from headstart.stages.evaluate import evaluate
from headstart.stages.explain import (
    Objects,
    explain,
    find_objects,
    untrained_cells,
)
from headstart.stages.extract import extract
from headstart.stages.gates import check_gates
from headstart.stages.index import DataCard, copy_lists, data_card, index, write_card
from headstart.stages.pretrain import (
    check_settings,
    further_weights,
    pretrain,
    start,
    start_from_further,
    train_along,
)
from headstart.stages.report import Answers, Asked, Outcome, report
from headstart.stages.review import review_lookalikes
from headstart.store import Entry, FinishedStore, Store, UnfinishedError, locked, write_json
from headstart.trackers import TRACKERS
from headstart.trackers.tracking import tracking

NOTE = "study.json"
WHOLE = "encoders with their classifiers"
NOT_YET = "not computed yet"


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
    if study.engine.devices > ranks.members():
        raise StudyError(
            f"engine.devices: {study.engine.devices} processes are started by `headstart run` or "
            "torchrun, not from Python"
        )
    begun = time.time()
    with (
        opened(study, out, tell or Silence()) as run,
        tracking(study, out, run.tell) as tracked,
    ):
        run = replace(run, tell=tracked)
        note(run, command)
        outcome = _whole(run, Asked(command, begun))
        tracked.answer(outcome.results, (outcome.report_path, outcome.results_path))
        return outcome


def help_study(study: Study, out: Path) -> None:
    """What the other processes of a study do: train along wherever rank zero calls them to.

    Raises:
        LostRankError: rank zero has ended.
    """
    place: tuple[Run, Dataset] | None = None
    for method, seed in ranks.calls():
        run, data = place = place or _opened_beside(study, out)
        train_along(run, data, method, seed, _begin(run, Task(method, seed)))


def _opened_beside(study: Study, out: Path) -> tuple[Run, Dataset]:
    """The run folder of another process, to read what it has finished."""
    store, further = FinishedStore(out), further_weights(study)
    run = Run(study, out, store, Engine(study.engine), Silence(), further)
    return run, index(run)


def _whole(run: Run, asked: Asked) -> Outcome:
    """All eight verbs."""
    study = run.study
    start(run, study.seeds[0], study.encoder.weights)  # an unknown backbone costs no waiting
    for name in study.encoder.further_weights:
        start_from_further(run, name)
    data = index(run)
    check_settings(run, data)
    objects = find_objects(run, data)  # masks that fit nothing are told before hours of training
    for line in data_card(run, data).lines:
        run.tell.line(line)
    left = todo(run, data)
    _tell_cost(run, data, left)
    grid = branches(run if left else replace(run, tell=Silence()), data)
    for one in grid.branches:  # what was finished before, and what a tracker missed
        if one.encoder:
            tell_moments(run.tell, one.method, one.seed, one.encoder.info.get("history", ()))
    review_lookalikes(run, data, grid)
    return answer(run, data, grid, objects, asked)


def _tell_cost(run: Run, data: Dataset, left: Sequence[Todo]) -> None:
    """Before anything long: what is left to do, and what it takes on this machine."""
    if ranks.members() > 1:
        return  # what is measured here is one process alone
    if is_long(run, data, left):
        for line in cost_lines(estimate(run, data, left), left):
            run.tell.line(line)


def todo(run: Run, data: Dataset) -> list[Todo]:
    """The encoders and classifiers that are still to be made."""
    finished = replace(run, store=FinishedStore(run.folder), tell=Silence())
    left = []
    for one in so_far(finished, data).branches:
        cells = tuple(cell.cell for cell in one.cells if cell.status == "unfinished")
        encoder = one.encoder is None and is_pretrained(one.method)
        if encoder or cells:
            left.append(Todo(one.method, one.seed, encoder, cells))
    return left


def note(run: Run, command: str) -> None:
    """Write ``study.json``: what is being run, so that a run that was stopped can be asked."""
    study = run.study.model_dump(mode="json")
    further = dict(run.further_weights)
    about = {"command": command, "precision": run.engine.precision, "further_weights": further}
    write_json(run.folder / NOTE, {**about, "study": study})


def answer(run: Run, data: Dataset, grid: Grid, objects: Objects | None, asked: Asked) -> Outcome:
    """What is left when all cells are judged: explain, compare, report."""
    classifiers = explainable(run, data, grid) if run.study.explain.images else {}
    explained = explain(run, data, classifiers, objects)
    gates = check_gates(run, data, grid)
    compared = compare(run, data, grid, gates)
    copy_lists(run, data)
    card = data_card(run, data)
    answers = Answers(card.data, card.warnings, explained, compared, gates)
    outcome = report(run, data, grid, answers, asked)
    write_cards(run, grid, outcome.results)
    return outcome


def check_study(study: Study, out: Path, tell: Tell | None = None) -> tuple[DataCard, Path]:
    """Look at the images of a study as a run would, and train nothing.

    Writes ``check.json`` and ``near_duplicates.csv`` into ``out``.

    Raises:
        StudyError: the user's mistake, in one line.
    """
    with opened(study, out, tell or Silence()) as run:
        return write_card(run, index(run))


def branches(run: Run, data: Dataset) -> Grid:
    """Every encoder of every seed with its classifiers, computed by the study's executor."""
    study = run.study
    tasks = tasks_of(study)
    for task in tasks:  # several share a start, so it is made before they may run side by side
        _begin(run, task)
    workers = study.engine.workers or usable_cores()
    executor = EXECUTORS[study.engine.executor](workers, run.tell)
    done: dict[Task, Branch] = {}
    run.tell.progress(WHOLE, 0, len(tasks))
    # The longest first, so that at the end no worker waits for one that began late.
    ordered = sorted(tasks, key=lambda task: not is_pretrained(task.method))
    for task, one in zip(ordered, executor.map(Work(run, data), ordered), strict=True):
        done[task] = one
        run.tell.progress(WHOLE, len(done), len(tasks))
    return Grid(tuple(done[task] for task in tasks))


@dataclass(frozen=True)
class Work:
    """What an executor does for each task; in another process it opens the run folder again."""

    run: Run
    data: Dataset

    def __call__(self, task: Task) -> Branch:
        """The branch of one task."""
        return branch(self.run, self.data, task)

    def __reduce__(self) -> tuple[Callable[..., Work], tuple[Study, Path, Mapping[str, str]]]:
        """The settings and the folder; the cores are shared out among the processes."""
        engine = self.run.study.engine
        share = max(1, usable_cores() // (engine.workers or usable_cores()))
        threads = engine.model_copy(update={"threads": engine.threads or share})
        study = self.run.study.model_copy(update={"engine": threads})
        return _reopened, (study, self.run.folder, self.run.further_weights)


def _reopened(study: Study, folder: Path, further: Mapping[str, str]) -> Work:
    """The work of a run folder that another process holds, in this process."""
    tell = process.tell or Silence()
    engine = Engine(study.engine, tell.line)
    run = Run(study, folder, Store(folder, tell.line), engine, tell, further)
    return Work(run, index(run))


@dataclass(frozen=True)
class Task:
    """One encoder to be made and judged: a method's, of one seed."""

    method: str
    seed: int

    @property
    def label(self) -> str:
        """A name for folders."""
        return f"{self.method}-seed{self.seed}"

    def __str__(self) -> str:
        """Its name in messages."""
        return f"{self.method} (seed {self.seed})"


def _begin(run: Run, task: Task) -> Entry:
    """The weights that a task starts from."""
    further = Origin.parse(task.method).start
    if further:
        return start_from_further(run, further)
    untrained = task.method == UNTRAINED.method
    return start(run, task.seed, "random" if untrained else run.study.encoder.weights)


def branch(run: Run, data: Dataset, task: Task) -> Branch:
    """One encoder, followed by its classifiers at every label fraction, each judged."""
    encoder = encoder_of(run, data, task)
    cells = list(cells_of(run.study, task.method, task.seed))
    status, reason = encoder.info["status"], encoder.info.get("reason")
    features = None
    judged = tuple(CellResult(cell, status, reason) for cell in cells)
    if status == "ok" and cells:  # random weights have none where only fine-tuning is asked for
        features = extract(run, data, encoder, task.label)
        judged = judge(run, data, cells, (encoder, features))
    return Branch(task.method, task.seed, encoder, features, judged)


def encoder_of(run: Run, data: Dataset, task: Task) -> Entry:
    """The task's encoder: pretrained, or the weights as they are."""
    begin = _begin(run, task)
    if not is_pretrained(task.method):
        return begin
    return pretrain(run, data, task.method, task.seed, begin)


def judge(
    run: Run, data: Dataset, cells: list[Cell], sources: tuple[Entry, Entry]
) -> tuple[CellResult, ...]:
    """Classify and evaluate the cells of one encoder; ``sources`` are its and its features'."""
    judged = []
    for cell, classifier in classify(run, data, cells, *sources).items():
        info = classifier.info
        if info["status"] == "ok":
            evaluated = evaluate(run, data, cell, classifier, sources)
            judged.append(CellResult(cell, "ok", None, classifier, evaluated))
        else:
            judged.append(CellResult(cell, info["status"], info["reason"]))
    return tuple(judged)


def so_far(run: Run, data: Dataset) -> Grid:
    """Every encoder and classifier of a study that is there, for a run with a finished store."""
    return Grid(tuple(_branch_so_far(run, data, task) for task in tasks_of(run.study)))


def _branch_so_far(run: Run, data: Dataset, task: Task) -> Branch:
    """What is there of an encoder and its classifiers; nothing is computed."""
    cells = list(cells_of(run.study, task.method, task.seed))
    not_yet = tuple(CellResult(cell, "unfinished", NOT_YET) for cell in cells)
    try:
        encoder = encoder_of(run, data, task)
    except UnfinishedError:
        return Branch(task.method, task.seed, None, None, not_yet)
    status, reason = encoder.info["status"], encoder.info.get("reason")
    if status != "ok":
        lost = tuple(CellResult(cell, status, reason) for cell in cells)
        return Branch(task.method, task.seed, encoder, None, lost)
    try:
        features = extract(run, data, encoder, task.label)
    except UnfinishedError:
        return Branch(task.method, task.seed, encoder, None, not_yet)
    judged = tuple(_cell_so_far(run, data, cell, (encoder, features)) for cell in cells)
    return Branch(task.method, task.seed, encoder, features, judged)


def _cell_so_far(run: Run, data: Dataset, cell: Cell, sources: tuple[Entry, Entry]) -> CellResult:
    try:
        return judge(run, data, [cell], sources)[0]
    except UnfinishedError:
        return CellResult(cell, "unfinished", NOT_YET)


def tasks_of(study: Study) -> list[Task]:
    """Every encoder of every seed, in the order in which they are made."""
    return [Task(method, seed) for seed in study.seeds for method in _encoders(study)]


def _encoders(study: Study) -> list[str]:
    """Whose encoders a seed has: the start, random weights, each method's, and further ones."""
    given = ["start"] if study.encoder.weights != "random" else []
    further = [
        str(origin)
        for name in study.encoder.further_weights
        for origin in (Origin.of_weights(name), *(Origin(m, name) for m in study.methods))
    ]
    return [BASELINE.method, UNTRAINED.method, *given, *study.methods, *further]


def cells_of(study: Study, method: str, seed: int) -> Iterator[Cell]:
    """The cells of one encoder: its protocols at every label fraction."""
    protocols: tuple[str, ...] = study.classify.protocols
    if method == BASELINE.method:  # the start itself, trained end to end
        protocols = (BASELINE.protocol, MATCHED.protocol)[: 1 + study.classify.compute_matched]
    elif is_start(method):  # fine-tuning these is the supervised arm
        protocols = tuple(p for p in protocols if not PROTOCOLS[p].trained)
    arms = [Arm(method, protocol) for protocol in protocols]
    if method == BASELINE.method:
        arms.insert(0, MAJORITY)
    for fraction in study.label_fractions:
        for draw in range(study.label_draws if fraction < 1 else 1):  # one way to draw them all
            yield from (Cell(arm, seed, fraction, draw) for arm in arms)


def explainable(run: Run, data: Dataset, grid: Grid) -> Classifiers:
    """All classifiers, and the untrained ones that explaining needs beside them."""
    found = dict(grid.classifiers)
    for cell in untrained_cells(run.study):
        if cell not in found:
            encoder = start(run, cell.seed, "random")
            features = extract(run, data, encoder, f"{cell.method}-seed{cell.seed}")
            found[cell] = encoder, classify(run, data, [cell], encoder, features)[cell]
    return found


@contextmanager
def opened(study: Study, out: Path, tell: Tell, earlier: Provenance | None = None) -> Iterator[Run]:
    """The run folder, made or found again and locked; what could fail late is asked for now.

    A finished run does without the files of its weights: its provenance says what they held.
    """
    further = dict(earlier.further_weights) if earlier else further_weights(study)
    for name in study.explain.attributions:
        if name not in ATTRIBUTIONS:
            near = get_close_matches(name, ATTRIBUTIONS, n=1, cutoff=0)[0]
            raise StudyError(f"explain.attributions: unknown '{name}'; did you mean '{near}'?")
        if fault := ATTRIBUTIONS.fault(name):
            raise StudyError(f"explain.attributions: {fault}")
    for name in study.engine.track:
        if name not in TRACKERS:
            raise StudyError(f"engine.track: {TRACKERS.unknown(name)}")
    if study.engine.executor not in EXECUTORS:
        raise StudyError(f"engine.executor: {EXECUTORS.unknown(study.engine.executor)}")
    if study.engine.executor != "serial" and ranks.members() > 1:
        raise StudyError(
            f"engine.executor: {study.engine.executor}: with several processes for one training "
            "write serial"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror or error}") from None
    link = next((path for path in out.rglob("*") if path.is_symlink()), None)
    if link is not None:  # who made this folder may have aimed it at a file of yours
        raise StudyError(f"--out {out}: {link.relative_to(out)} is a link; a run folder holds none")
    with locked(out, tell.line):
        engine = Engine(study.engine, tell.line)
        yield Run(study, out, Store(out, tell.line), engine, tell, further)
