"""Predictions from CSV files, whoever made them, joined by image and compared. No torch.

A file holds one row an image (and seed, and label fraction): ``id``, ``label``, and either
``prediction`` or a score for each class in columns ``p:<class>`` or named as the classes. Columns
``seed``, ``group``, ``label_fraction`` and ``label_draw`` may be there; others are passed over.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.arms import BASELINE, Arm
from headstart.config import StudyError
from headstart.reporting.safe import plain
from headstart.reporting.sentences import write_comparisons
from headstart.reporting.words import plural
from headstart.results import Comparisons, LostArm, Results, load_results
from headstart.stages.compare.families import (
    Judged,
    Key,
    PairComparisons,
    Question,
    against,
    beats_chance,
    between,
)
from headstart.stages.compare.findings import findings
from headstart.stats.bootstrap import grouped
from headstart.stats.gates import Gate, blocking
from headstart.store import write_json

Answers = Mapping[tuple[int, float, int], Mapping[str, str]]
"""(seed, label fraction, draw of the labels) -> id -> predicted class."""


@dataclass(frozen=True)
class Model:
    """One model's predictions: classes by id for every seed and label fraction it has."""

    arm: Arm
    path: Path
    labels: Mapping[str, str]
    answers: Answers
    classes: tuple[str, ...]
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """Its seeds, ascending."""
        return sorted({seed for seed, _, _ in self.answers})

    @property
    def fractions(self) -> set[float]:
        """Its label fractions."""
        return {fraction for _, fraction, _ in self.answers}


@dataclass(frozen=True)
class Compared:
    """What a comparison found, as ``comparison.json`` holds it, and what to know of it."""

    found: Comparisons
    notes: tuple[str, ...] = ()


def compare_paths(
    paths: Sequence[Path], baseline: Path | None, margin: float | None, *, are_files: bool
) -> Compared:
    """What ``headstart compare`` asks: one run folder, or two or more files of predictions.

    Raises:
        StudyError: paths of another kind or number, a margin that is none, files that do not fit.
    """
    if margin is not None and not 0 < margin <= 1:
        raise StudyError(f"--margin {margin:g}: write a share above 0 and up to 1, like 0.02")
    if are_files:
        asked = Question(margin or Question.margin, scope="this dataset, these models")
        return compare_files(paths, baseline, asked)
    folder = paths[0]
    if len(paths) > 1 or baseline is not None or folder.is_file():
        raise StudyError(
            f"compare {folder}: one run folder is wanted; for files of predictions write "
            "headstart compare --predictions a.csv b.csv"
        )
    if not folder.is_dir():
        raise StudyError(f"compare {folder}: there is no such folder")
    asked = run_question(folder)
    return compare_run(folder, asked if margin is None else replace(asked, margin=margin))


def write_comparison(compared: Compared, folder: Path) -> None:
    """Write ``<folder>/comparison.json``: what was found, and the notes on it.

    Raises:
        StudyError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = {"notes": list(compared.notes), **compared.found.to_json()}
        write_json(folder / "comparison.json", found)
    except OSError as error:
        raise StudyError(f"--out {folder}: {error.strerror or error}") from None


# --- any models --------------------------------------------------------------------------------


def compare_files(paths: Sequence[Path], baseline: Path | None, asked: Question) -> Compared:
    """Every model against the baseline (the first file unless named), and against each other.

    Raises:
        StudyError: a file that cannot be used, or files that do not fit together.
    """
    every = list(paths)
    if baseline is not None:
        every = [baseline, *(path for path in every if path.resolve() != baseline.resolve())]
    if len({path.resolve() for path in every}) < max(2, len(every)):
        raise StudyError("--predictions: two different files or more are needed")
    models = [replace(read_model(path), arm=Arm(name, "")) for path, name in _named(every).items()]
    notes: list[str] = []
    first, others = models[0], models[1:]
    fitted = [first, *(_fit(first, model, notes) for model in others)]
    compared = PairComparisons(_judge(fitted, asked), asked)
    arms = [model.arm for model in fitted]
    pairs = against(arms, first.arm)
    fractions = compared.judged.fractions
    comparisons = Comparisons(
        comparisons=tuple(compared.differences((pair, f) for f in fractions for pair in pairs)),
        method_pairs=tuple(
            row
            for f in fractions
            for row in compared.differences((pair, f) for pair in between(arms[1:]))
        ),
        area_differences=tuple(compared.areas(pairs)),
        label_saving=(),
    )
    return Compared(write_comparisons(comparisons), (*notes,))


def _named(paths: Sequence[Path]) -> dict[Path, str]:
    """Files by their stems, or by their whole paths where stems repeat."""
    stems = [path.stem for path in paths]
    return {p: p.stem if stems.count(p.stem) == 1 else str(p.with_suffix("")) for p in paths}


def _fit(first: Model, model: Model, notes: list[str]) -> Model:
    """A model whose images, labels, seeds and label fractions agree with the baseline's."""
    _require_same_images(first, model)
    if not first.fractions & model.fractions:
        raise StudyError(
            f"{model.path}: label_fraction {_some(model.fractions)} is not in {first.path} "
            f"({_some(first.fractions)})"
        )
    if first.seeds == model.seeds:
        return model
    common = sorted(set(first.seeds) & set(model.seeds))
    if common:
        notes.append(
            f"{model.path} has seeds {_some(model.seeds)}, {first.path} {_some(first.seeds)}: "
            f"compared on {_some(common)}"
        )
        return model
    pairs = dict(zip(model.seeds, first.seeds, strict=False))
    notes.append(
        f"{model.path} and {first.path} share no seed: their runs are paired in order "
        f"({', '.join(f'{a} with {b}' for a, b in pairs.items())}), which is right only if "
        "nothing but chance tells runs apart"
    )
    answers = {
        (pairs[seed], fraction, draw): classes
        for (seed, fraction, draw), classes in model.answers.items()
        if seed in pairs
    }
    return replace(model, answers=answers)


def _require_same_images(first: Model, model: Model) -> None:
    ours, theirs = set(first.labels.values()), set(model.labels.values())
    if ours != theirs:
        raise StudyError(
            f"{model.path}: its labels are {_some(sorted(theirs))}, those of {first.path} "
            f"{_some(sorted(ours))}"
        )
    for one, other in ((first, model), (model, first)):
        missing = [identity for identity in one.labels if identity not in other.labels]
        if missing:
            raise StudyError(
                f"{other.path}: {plural(len(missing), 'id')} of {one.path} missing, like "
                f"'{missing[0]}'"
            )
    for identity, label in first.labels.items():
        if model.labels[identity] != label:
            raise StudyError(
                f"{model.path}: id '{identity}' has label '{model.labels[identity]}', "
                f"'{label}' in {first.path}"
            )
        group = model.groups.get(identity)
        if group is not None and first.groups.get(identity, group) != group:
            raise StudyError(
                f"{model.path}: id '{identity}' is in group '{group}', "
                f"'{first.groups[identity]}' in {first.path}"
            )


def _judge(models: Sequence[Model], asked: Question) -> Judged:
    ids = sorted(models[0].labels)  # so that the order of the rows changes nothing
    classes = sorted({name for model in models for name in model.classes})
    number = {name: i for i, name in enumerate(classes)}
    groups = next((model.groups for model in models if model.groups), {})
    return _judged(
        np.array([number[models[0].labels[identity]] for identity in ids], dtype=np.int64),
        {
            Key(model.arm, *cell): np.array([number[classes[i]] for i in ids], dtype=np.int64)
            for model in models
            for cell, classes in model.answers.items()
        },
        grouped([groups[identity] for identity in ids]) if groups else None,
        (len(classes), asked.replicates),
    )


def _judged(
    y: np.ndarray,
    predicted: dict[Key, np.ndarray],
    groups: np.ndarray | None,
    chance: tuple[int, int],
) -> Judged:
    learned = {key: beats_chance(y, answers, *chance) for key, answers in predicted.items()}
    return Judged(y, predicted, learned, groups)


# --- a run of headstart --------------------------------------------------------------------------


def compare_run(folder: Path, asked: Question) -> Compared:
    """The comparisons of a finished run once more, from its ``predictions.csv``.

    Gates, label counts and arms that were lost are taken from ``results.json``.

    Raises:
        StudyError: the folder holds no such files, or they cannot be read.
    """
    path, results = folder / "predictions.csv", load_results(folder)
    models: dict[Arm, list[dict[str, str]]] = {}
    columns, rows = _table(path)
    for name in ("method", "protocol"):
        if name not in columns:
            raise StudyError(f"{path}: column '{name}' is missing; is this the folder of a run?")
    for row in rows:
        models.setdefault(Arm(row["method"], row["protocol"]), []).append(row)
    read = [_model(path, columns, mine, arm) for arm, mine in models.items()]
    for model in read[1:]:
        _require_same_images(read[0], model)
    if BASELINE not in models:
        raise StudyError(f"{path}: it holds no predictions of the supervised arm")
    judged = _judge(read, asked)
    gates = [Gate(**gate.model_dump()) for gate in results.gates]
    judged = replace(
        judged,
        labels={arm.label_fraction: arm.labels for arm in results.arms},
        blocked={
            (arm, fraction): blocking(gates, str(arm), arm.method, fraction=fraction)
            for arm in judged.arms
            for fraction in judged.fractions
        },
        validation=_validation(results),
    )
    comparisons = findings(judged, asked, _lost(results))
    return Compared(write_comparisons(comparisons).model_copy(update={"gates": results.gates}))


def _validation(results: Results) -> dict[Key, float]:
    """Balanced accuracy on validation of what was chosen there."""
    return {
        Key(arm.arm, arm.seed, arm.label_fraction, arm.label_draw): arm.chosen["validation"]
        for arm in results.arms
        if arm.chosen and arm.chosen.get("validation") is not None
    }


def run_question(folder: Path) -> Question:
    """The margin and the replicates a run was asked with."""
    settings = load_results(folder).study.get("compare", {})
    known = {key: settings[key] for key in ("margin", "replicates") if key in settings}
    return replace(Question(), **known)


def _lost(results: Results) -> list[LostArm]:
    return [
        LostArm(
            arm=arm.arm,
            fraction=arm.label_fraction,
            seed=arm.seed,
            status=arm.status,
            reason=arm.reason or "",
        )
        for arm in results.arms
        if arm.status != "ok"
    ]


# --- reading -------------------------------------------------------------------------------------


def read_model(path: Path) -> Model:
    """One file of predictions, checked by itself.

    Raises:
        StudyError: one line naming the file, the line in it where there is one, and the fault.
    """
    columns, rows = _table(path)
    return _model(path, columns, rows, Arm(path.stem, ""))


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows; every row carries its line number under the key ``""``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            rows = list(_records(path, columns, reader))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise StudyError(f"{path}: not readable as CSV: {error}") from None
    if not rows:
        raise StudyError(
            f"{path}: {'no rows below the header' if columns else 'the file is empty'}"
        )
    return columns, rows


def _records(path: Path, columns: list[str], reader: Any) -> Iterator[dict[str, str]]:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise StudyError(f"{path}: two columns are called '{twice[0]}'")
    for values in reader:
        if not values:
            continue
        if len(values) != len(columns):
            raise StudyError(
                f"{path}, line {reader.line_num}: {plural(len(values), 'value')} for "
                f"{plural(len(columns), 'column')}"
            )
        yield {"": str(reader.line_num), **dict(zip(columns, map(plain, values), strict=True))}


def _model(path: Path, columns: list[str], rows: list[dict[str, str]], arm: Arm) -> Model:
    for needed in ("id", "label"):
        if needed not in columns:
            raise StudyError(f"{path}: column '{needed}' is missing; found {_some(columns)}")
    scores = _score_columns(path, columns, {row["label"] for row in rows})
    classes = {row["label"] for row in rows} | set(scores)
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    answers: dict[tuple[int, float, int], dict[str, str]] = {}
    for row in rows:
        identity = row["id"]
        cell = _whole(path, row, "seed"), _fraction(path, row), _whole(path, row, "label_draw")
        mine = answers.setdefault(cell, {})
        if identity in mine:
            raise StudyError(
                f"{path}, line {row['']}: id '{identity}' is there twice"
                + (f" for seed {cell[0]}" if "seed" in columns else "")
                + "; a file holds one model"
            )
        mine[identity] = _answer(path, row, scores, classes)
        _agree(path, row, labels, "label")
        if "group" in columns:
            _agree(path, row, groups, "group")
    _require_whole(path, labels, answers)
    return Model(arm, path, labels, answers, tuple(sorted(classes)), groups)


def _score_columns(path: Path, columns: list[str], labels: set[str]) -> dict[str, str]:
    """Class -> the column of its scores; empty where there are answers and no scores."""
    named = {c.removeprefix("p:"): c for c in columns if c.startswith("p:")}
    if "prediction" in columns:
        return named
    if not named:
        named = {c: c for c in columns if c in labels}
    if not named:
        raise StudyError(
            f"{path}: column 'prediction' is missing, and no scores as 'p:<class>' either; found "
            f"{_some(columns)}"
        )
    missing = sorted(labels - set(named))
    if missing:
        raise StudyError(f"{path}: class '{missing[0]}' has no column of scores")
    return named


def _answer(path: Path, row: dict[str, str], scores: dict[str, str], classes: set[str]) -> str:
    if "prediction" in row:
        if row["prediction"] not in classes:
            raise StudyError(
                f"{path}, line {row['']}: prediction '{row['prediction']}' is none of the classes "
                f"{_some(sorted(classes))}"
            )
        return row["prediction"]
    return max(scores, key=lambda name: _number(path, row, scores[name]))


def _number(path: Path, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StudyError(f"{path}, line {row['']}: {column} is '{row[column]}', not a number")
    return value


def _whole(path: Path, row: dict[str, str], column: str) -> int:
    """A whole number; 0 where there is no such column."""
    text = row.get(column, "0")
    try:
        return int(text)
    except ValueError:
        raise StudyError(
            f"{path}, line {row['']}: {column} is '{text}', not a whole number"
        ) from None


def _fraction(path: Path, row: dict[str, str]) -> float:
    if "label_fraction" not in row:
        return 1.0
    value = _number(path, row, "label_fraction")
    if not 0 < value <= 1:
        raise StudyError(f"{path}, line {row['']}: label_fraction is {value:g}, not in (0, 1]")
    return value


def _agree(path: Path, row: dict[str, str], known: dict[str, str], column: str) -> None:
    """An image has one label, and one group, in every row of a file."""
    before = known.setdefault(row["id"], row[column])
    if before != row[column]:
        raise StudyError(
            f"{path}, line {row['']}: id '{row['id']}' has {column} '{row[column]}', and "
            f"'{before}' before"
        )


def _require_whole(path: Path, labels: Mapping[str, str], answers: Answers) -> None:
    for (seed, fraction, _), given in answers.items():
        missing = [identity for identity in labels if identity not in given]
        if missing:
            where = f"seed {seed}" + (f" at label_fraction {fraction:g}" if fraction < 1 else "")
            raise StudyError(
                f"{path}: {where} lacks {plural(len(missing), 'id')}, like '{missing[0]}'"
            )


def _some(values: Any) -> str:
    """The first few of some names or numbers."""
    names = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
