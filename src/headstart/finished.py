"""What can be asked of a run folder later, when its run is over or has been stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

from headstart.config import Study, StudyError
from headstart.data.channels import endings_of
from headstart.data.scan import Found, find_unlabeled
from headstart.engine import Engine
from headstart.layers import Layers, build_study
from headstart.pipeline import (
    NOTE,
    answer,
    branches,
    explainable,
    opened,
    so_far,
)
from headstart.reporting.answer import first_screen
from headstart.reporting.page import write_report
from headstart.results import Provenance, Results, load_results
from headstart.runtime.run import (
    Dataset,
    Explained,
    Grid,
    Run,
    Silence,
    Tell,
)
from headstart.stages.compare import compare
from headstart.stages.explain import ExplainedImage, find_objects
from headstart.stages.explain import explain_image as explain_picture
from headstart.stages.gates import check_gates
from headstart.stages.index import data_card, index
from headstart.stages.predict import Asker, Predicted, Wanted, choose, predict
from headstart.stages.report import Answers, Asked, Outcome, gather, show
from headstart.stages.suggest import Suggested, as_csv, check, draw_sheet, suggest
from headstart.store import FinishedStore, Store, UnfinishedError, write_json, write_text
from headstart.types import Ints


def explain_run(
    folder: Path, changes: Layers = (), tell: Tell | None = None, command: str = ""
) -> Outcome:
    """Explain the networks of a finished run anew, under other settings, and train nothing.

    Args:
        folder: the run.
        changes: settings laid over those of the run; those of ``explain`` may change.
        tell: who is told of progress.
        command: how it was asked for.

    Returns:
        The results and the report, written anew.

    Raises:
        StudyError: no run, an unfinished one, or the user's mistake, in one line.
    """
    begun = time()
    with taken_up(folder, changes, tell or Silence()) as (run, data, grid, earlier):
        return answer(run, data, grid, find_objects(run, data), Asked(command, begun, earlier))


def explain_image(
    folder: Path,
    picture: Path,
    target: str | None = None,
    changes: Layers = (),
    tell: Tell | None = None,
) -> ExplainedImage:
    """Show one picture to the networks of a finished run; see ``stages.one_image``.

    Raises:
        StudyError: no run, an unfinished one, or the user's mistake, in one line.
    """
    with taken_up(folder, changes, tell or Silence()) as (run, data, grid, _):
        return explain_picture(run, data, explainable(run, data, grid), picture, target)


def predict_images(
    folder: Path, images: Sequence[Path], wanted: Wanted | None = None, tell: Tell | None = None
) -> Predicted:
    """Ask a classifier of a finished run for the classes of images from anywhere.

    Args:
        folder: the run.
        images: image files, and locations of images such as a folder or a ``.zip``.
        wanted: which classifier (default: the best on validation).
        tell: who is told of progress.

    Raises:
        StudyError: no finished run, no such classifier, no images, or none that can be read.
    """
    with taken_up(folder, (), tell or Silence()) as (run, data, grid, _):
        files = _files(images, endings_of(data.bands))
        asker = Asker(run, data, grid, choose(run, grid, wanted or Wanted()))
        predicted = predict(run, data, asker, files)
    if (predicted.predicted < 0).all():
        raise StudyError(
            f"predict: none of the {len(files)} images can be read; {files[0].path}: "
            f"{predicted.reasons[0]}"
        )
    return predicted


def suggest_images(
    folder: Path, n: int, out: Path | None = None, seed: int = 0, tell: Tell | None = None
) -> Suggested:
    """Choose unlabelled images of a finished run that are worth labelling first.

    Args:
        folder: the run.
        n: how many.
        out: where ``suggestions.csv`` and ``sheet.jpg`` go; nothing is written without.
        seed: of k-means.
        tell: who is told of progress.

    Raises:
        StudyError: no finished run, no or too few unlabelled images, or a folder that cannot be
            written.
    """
    check(n)
    with taken_up(folder, (), tell or Silence()) as (run, data, grid, _):
        if out is not None:
            _make(out)
        found = suggest(run, data, grid, n, seed)
        found = found.named(_named(run, data, grid, found.positions))
        if out is not None:
            write_text(out / "suggestions.csv", as_csv(found))
            draw_sheet(data.images(found.positions), out / "sheet.jpg")
    return found


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror or error}") from None


def _named(run: Run, data: Dataset, grid: Grid, positions: Ints) -> tuple[str, ...]:
    """What the best classifier on validation takes images for; nothing where there is none."""
    try:
        cell = choose(run, grid, Wanted())
    except StudyError:
        return ()
    return Asker(run, data, grid, cell).classes(data.images(positions))


def _files(images: Sequence[Path], endings: frozenset[str]) -> list[Found]:
    """The images at some paths, in their order; what is inside a location in the location's."""
    files = []
    for path in images:
        if path.is_file() and path.suffix.lower() in endings:
            files.append(Found(str(path), str(path)))
        elif not path.exists():
            raise StudyError(f"{path}: no such image or folder")
        else:
            files += find_unlabeled(path, endings=endings)
    if not files:
        raise StudyError("predict: no images given; name files or a folder, or - for a list")
    return files


def report_run(folder: Path, tell: Tell | None = None) -> Results:
    """Write the page of a run anew; of one that was stopped or still runs, of what is there.

    Of an unfinished run only the page, its Markdown and its figures are written: there is no
    ``results.json`` before the end. Nothing is trained, and no lock is waited for. Where a finished
    run lacks the small pictures of test images, as those of older versions do, they are made and
    named in its ``results.json``; only for that its images are needed.

    Returns:
        The results, whose ``progress`` says how many classifiers of how many are judged.

    Raises:
        StudyError: no run lies there, or none of its images are known yet.
    """
    finished = _finished(folder)
    if finished is None:
        finished = _so_far(folder, tell or Silence())
    elif not _is_illustrated(finished, folder):
        finished = _illustrated(finished, folder, tell or Silence())
    write_report(finished, folder)
    return finished


def _is_illustrated(results: Results, folder: Path) -> bool:
    """Whether the small pictures of test images are there; older versions made none."""
    return results.shown is not None and all(
        (folder / image.photo).is_file() for image in results.shown.images
    )


def _illustrated(results: Results, folder: Path, tell: Tell) -> Results:
    """The results with pictures of test images, made anew from what the run stored."""
    try:
        study = _study_of(results, folder / "results.json", ())
        run = _to_read(study, folder, results.provenance.further_weights, tell)
        data = index(run)
        grid = so_far(run, data)
        if not grid.evaluated:
            raise UnfinishedError("evaluate", "")
    except (StudyError, UnfinishedError):
        tell.line(
            f"{folder}: its images have changed, or another version made this run; the page has "
            "no pictures of test images"
        )
        return results.model_copy(update={"shown": None})
    found = results.model_copy(update={"shown": show(run, data, grid)})
    write_json(folder / "results.json", found.to_json())
    return found


def _to_read(study: Study, folder: Path, further: Mapping[str, str], tell: Tell) -> Run:
    """A run folder of which only what is there is asked; others may be at work in it."""
    return Run(study, folder, FinishedStore(folder), Engine(study.engine, tell.line), tell, further)


def _finished(folder: Path) -> Results | None:
    """The results of the run, unless another study has begun in its folder since."""
    if not (folder / "results.json").is_file():
        return None
    results = load_results(folder)
    begun = _note(folder) if (folder / NOTE).is_file() else {"study": results.study}
    asked = [{**study, "explain": 0, "engine": 0} for study in (begun["study"], results.study)]
    return results if asked[0] == asked[1] else None


def _note(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf8"))
        about["study"]["engine"]["precision"] = about["precision"]
        dict(about["further_weights"]), str(about["command"])
    except OSError:
        raise StudyError(
            f"{folder}: neither {NOTE} nor results.json there; give the folder of a run"
        ) from None
    except (ValueError, LookupError, TypeError):
        raise StudyError(f"{folder / NOTE}: damaged; run the study again to write it") from None
    return about


def _so_far(folder: Path, tell: Tell) -> Results:
    """The results of an unfinished run; where the networks look is not asked."""
    begun = time()
    about = _note(folder)
    study = build_study([(str(folder / NOTE), about["study"])])
    run = _to_read(study, folder, about["further_weights"], tell)
    try:
        data = index(run)
    except UnfinishedError:
        raise StudyError(
            f"{folder}: its images are not read to the end yet, or have changed; there is nothing "
            "to report"
        ) from None
    grid = so_far(run, data)
    writing = replace(run, store=Store(folder, tell.line))
    gates = check_gates(writing, data, grid)
    compared = compare(writing, data, grid, gates)
    card = data_card(run, data)
    answers = Answers(card.data, card.warnings, Explained(), compared, gates)
    found = gather(run, data, grid, answers, Asked(about["command"], begun))
    return found.model_copy(update={"shown": show(run, data, grid)})


@contextmanager
def taken_up(
    folder: Path, changes: Layers, tell: Tell
) -> Iterator[tuple[Run, Dataset, Grid, Provenance]]:
    """A finished run with its data and its cells, and its provenance; nothing is computed."""
    _only_questions(changes)
    path = folder / "results.json"
    if not path.is_file():
        raise StudyError(f"{folder}: no results.json there; give the folder of a finished run")
    results = load_results(path)
    earlier = results.provenance
    with opened(_study_of(results, path, changes), folder, tell, earlier) as run:
        finished = replace(run, store=FinishedStore(folder))
        try:
            data = index(finished)
            grid = branches(finished, data)
        except UnfinishedError as missing:
            raise StudyError(_unfinished(folder, missing)) from None
        yield run, data, grid, earlier


def _study_of(results: Results, path: Path, changes: Layers) -> Study:
    """The study of a finished run, as it was run, with ``changes`` laid over it."""
    stored = deepcopy(dict(results.study))
    if results.provenance.precision:  # "auto" may mean something else on this machine
        stored["engine"]["precision"] = results.provenance.precision
    return build_study([(str(path), stored), *changes])


def _only_questions(changes: Layers) -> None:
    """What was trained stays as the run has it: results of fewer seeds would replace its own."""
    for source, values in changes:
        named = {f"engine.{key}" for key in values.get("engine", {})} | (values.keys() - {"engine"})
        if named - {"explain", "engine.device"}:
            raise StudyError(
                f"{source}: of a finished run only explain.* and engine.device can be set; "
                "headstart run makes another"
            )


def _unfinished(folder: Path, missing: UnfinishedError) -> str:
    if missing.verb == "index":
        return (
            f"{folder}: its images are not what they were, or another version read them; explain "
            "needs them as they were"
        )
    return (
        f"{folder}: {missing} is not there under these settings: the run is unfinished or of "
        "another version; run its own command again first (explain trains nothing)"
    )


@dataclass(frozen=True)
class Listed:
    """A run in a list: its folder, how far it is, when it was begun, and its answer or none."""

    folder: Path
    state: str
    begun: str
    said: str


def list_runs(root: Path) -> list[Listed]:
    """The runs in a folder and in the folders below it, the newest first; nothing is computed.

    Raises:
        StudyError: the folder is not there.
    """
    if not root.is_dir():
        raise StudyError(f"{root}: no such folder")
    notes = {path.parent for path in root.rglob(NOTE)}
    folders = notes | {path.parent for path in root.rglob("results.json")}
    return sorted((_listed(folder) for folder in folders), key=lambda run: run.begun, reverse=True)


def _listed(folder: Path) -> Listed:
    marker = next(p for p in (folder / NOTE, folder / "results.json") if p.is_file())
    begun = datetime.fromtimestamp(marker.stat().st_mtime).astimezone().isoformat(" ", "minutes")
    try:
        results = _finished(folder)
    except StudyError as error:
        return Listed(folder, "unreadable", begun[:16], str(error))
    if results is None:
        return Listed(folder, "unfinished", begun[:16], "headstart report shows how far it is")
    return Listed(folder, "finished", begun[:16], str(first_screen(results)["headline"]))
