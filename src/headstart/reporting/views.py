"""The results in the words of the page: every function answers one question of the reader.

Nothing here knows HTML or Markdown. The templates get texts and numbers already written out, and
escape every one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from headstart.arms import BASELINE, method_title
from headstart.reporting import answer_chart, feature_chart, figures, tables, words
from headstart.reporting.answer import detectable
from headstart.results import Compute, Pretraining, Results

Context = dict[str, Any]

FEW_IMAGES = 20  # test images of a class; below it a recall says too little


def data_card(results: Results) -> Context:
    """What was compared on: images, classes, what was taken out, what the test set can show."""
    data = results.data
    counts = data.counts
    parts = [
        ("unlabelled images for pretraining", counts.pool, data.unlabeled),
        ("of these, training images without their labels", counts.pool_from_train, ""),
        ("labelled images for training", counts.train, data.labeled),
        ("labelled images for choosing settings (validation)", counts.validation, ""),
        ("labelled images for the final test", counts.test, ""),
    ]
    classes = [
        (
            entry.name,
            *(words.count(getattr(entry, part)) for part in ("train", "validation", "test")),
        )
        for entry in data.classes
    ]
    return {
        "parts": [(name, words.count(n), where) for name, n, where in parts],
        "classes": classes,
        "fewest": min((entry.test for entry in data.classes), default=None),
        "split": words.SPLITS.get(data.split, ""),
        "removed": _removed(data.removed),
        "quarantine": data.quarantine,
        "detectable": detectable(results),
        "warnings": _warnings(results),
    }


def arm_table(results: Results) -> Context:
    """The main table: one group of rows a label fraction, one row an arm."""
    groups: dict[float, list[Context]] = defaultdict(list)
    labels: dict[float, int] = {}
    for row in tables.summaries(results):
        groups[row.fraction].append(_arm_row(results, row))
        labels[row.fraction] = max(row.labels, labels.get(row.fraction, 0))
    return {
        "metric": words.METRICS[tables.primary_metric(results)],
        "groups": [
            (_labels_title(fraction, labels[fraction]), rows) for fraction, rows in groups.items()
        ],
        "seeds": len(tables.seeds(results)),
    }


def comparison_table(results: Results) -> list[Context]:
    """Every comparison of the run, with its p-values."""
    ordered = [*tables.against_supervised(results), *tables.other_comparisons(results)]
    return [
        {
            "arms": f"{entry.arm_a.label} − {entry.arm_b.label}",
            "metric": words.METRICS.get(entry.metric, entry.metric),
            "fraction": words.fraction_name(entry.fraction),
            "difference": words.points(entry.difference),
            "ends": words.points_bracket(entry.low, entry.high),
            "p": words.p_value(entry.p),
            "p_holm": words.p_value(entry.p_holm),
            "seeds": words.count(entry.seeds),
            "n": words.count(entry.n),
            "verdict": entry.verdict,
        }
        for entry in ordered
    ]


def class_table(results: Results) -> Context | None:
    """Precision, recall and F1 of every class for the best pretrained arm and for supervised."""
    arms = tables.best_arms(results)
    shown = [arm for arm in arms if arm.pretrained][:1]
    shown += [arm for arm in arms if arm.arm.method == BASELINE.method]
    if not shown:
        return None
    by_arm = [{entry["class"]: entry for entry in tables.recalls(arm)} for arm in shown]
    rows = [
        {
            "class": name,
            "support": words.count(entry["support"]),
            "few": entry["support"] < FEW_IMAGES,
            "cells": [_class_cell(found.get(name)) for found in by_arm],
        }
        for name, entry in by_arm[0].items()
    ]
    return {"arms": [arm.arm.label for arm in shown], "rows": rows}


def pretraining(results: Results) -> Context:
    """How pretraining went: one sentence an event, and one row a run."""
    runs = results.pretraining
    return {
        "events": _all_events(runs),
        "same_start": _same_start(runs),
        "rows": [_run_row(run) for run in runs],
    }


def reproduce(results: Results) -> Context:
    """How to get these numbers again: command, versions, times and the settings as YAML."""
    import yaml

    provenance = results.provenance
    times: dict[str, float] = defaultdict(float)
    for key, value in provenance.seconds.items():
        times[key.partition("/")[0]] += value
    settings = yaml.safe_dump(
        dict(results.study), sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    return {
        "command": provenance.command,
        "started": provenance.started,
        "device": provenance.device,
        "machine": provenance.machine,
        "headstart": provenance.headstart,
        "versions": [(name, v or words.NONE) for name, v in provenance.versions.items()],
        "seconds": [(verb, words.seconds(value)) for verb, value in times.items()],
        "settings": settings,
    }


def captions(results: Results) -> dict[str, Context]:
    """Per figure its title, what it shows and how to read it."""
    metric = words.METRICS[tables.primary_metric(results)]
    seeds = words.plural(len(tables.seeds(results)), "seed")
    delta = words.number(100 * tables.margin(results), 1)
    one = len(tables.fractions(results)) <= 1
    many = len(results.data.classes) > 20
    added = f"Counts are added over {seeds}. " if len(tables.seeds(results)) > 1 else ""
    answer = _answer_caption(results, one, delta)
    return {
        "answer": answer,
        "answer_narrow": answer,
        "label_efficiency": _caption(
            f"The {metric} of every arm" if one else "How the score grows with labels",
            "A marker is the mean over seeds, a line its 95 % interval from the test images, a "
            "tick one seed."
            if one
            else "A marker is the mean over seeds, a small dot one seed. The supervised curve is "
            "the same in every panel.",
        ),
        "differences": _caption(
            "The difference to supervised training",
            f"Right of zero, pretraining did better. In the grey band, below {delta} points, this "
            "study calls a difference too small to matter.",
        ),
        "seeds": _caption(
            "Every seed by itself",
            "A dot is one seed: the pretrained model less the supervised one of the same seed. The "
            "pale bar is the 95 % interval of the mean. Dots on both sides of zero mean that luck "
            "decides.",
        ),
        "confusion_matrices": _caption(
            "The twelve biggest confusions" if many else "Which classes are taken for which",
            ("Share of a class that was given the wrong name. " if many else "")
            + (
                ""
                if many
                else f"Rows: true class. Columns: predicted class. {added}An empty cell is 0. "
            )
            + "The pretrained arm shown is the one with the best test score, so its picture is a "
            "little flattering.",
        ),
        "other_matrices": _caption(
            "The other arms",
            f"Read like the matrices above. {added}An empty cell is 0." + _left_out(results),
        ),
        "feature_maps": _caption(
            "Test images, as each encoder sees them before any labels",
            feature_chart.describe(results),
        ),
        "per_class_recall": _caption(
            "How many of each class are found",
            "Recall of every class with its 95 % interval (Wilson). Long lines mean few test "
            "images.",
        ),
        "pretraining_health": _caption(
            "Pretraining, watched",
            "One line a seed. A network that learns nothing about the images has the trivial loss. "
            "When all images get the same features, √d · std falls to 0 and the effective rank to "
            "1. A cross marks where a run was stopped.",
        ),
    }


def _left_out(results: Results) -> str:
    """That some arms have no matrix on the page, and where their numbers are."""
    shown, arms = figures.arms_in_other_matrices(results), tables.other_arms(results)
    if len(shown) == len(arms):
        return ""
    return (
        f" Only the {len(shown)} of these {len(arms)} arms with the highest scores; results.json "
        "holds all."
    )


def _answer_caption(results: Results, one: bool, delta: str) -> Context:
    if one:
        return _caption(
            "Points gained or lost against supervised training",
            f"Line: 95 % interval. Grey band: less than {delta} points, which this study calls too "
            "small to matter.",
            f"Points against supervised training. {answer_chart.describe(results)}",
        )
    drawn = "Bands" if answer_chart.has_bands(results) else "Upright lines"
    said = [f"{drawn}: 95 % intervals from the test images."]
    said += ["Hollow markers: no verdict."] * bool(answer_chart.without_verdict(results))
    said += [
        "An arrow leads from a pretrained model to as many labels as supervised training needs to "
        "do as well."
    ] * answer_chart.saves_labels(results)
    metric = words.capital(words.METRICS[tables.primary_metric(results)])
    told = f"{metric} by number of labels. {answer_chart.describe(results)}"
    return _caption(f"{metric} by number of labels", " ".join(said), told)


def _caption(title: str, text: str, alternative: str = "") -> Context:
    """A figure's title, how to read it, and what stands for it where it is not seen."""
    return {"title": title, "text": text, "alternative": alternative or title}


def _removed(removed: Mapping[str, int]) -> list[str]:
    return [
        f"{words.REMOVED.get(key, key.replace('_', ' '))} ({words.count(n)})"
        for key, n in removed.items()
        if n
    ]


def _warnings(results: Results) -> list[str]:
    trained: dict[str, list[bool]] = defaultdict(list)
    for row in tables.summaries(results):
        name = row.arm.label
        trained[name] += [(c.chosen or {}).get("converged") is False for c in row.cells]
    return [
        *results.warnings,
        *(
            f"{name[0].upper()}{name[1:]}: still improving when training ended, {sum(late)} of "
            f"{words.plural(len(late), 'time')}. Longer training might lift it."
            for name, late in trained.items()
            if any(late)
        ),
    ]


def _arm_row(results: Results, row: tables.ArmSummary) -> Context:
    entry = tables.comparison_of(results, row)
    return {
        "name": row.arm.label,
        "method": row.arm.method,
        "lost": _lost(row),
        "empty": not row.cells,
        "score": _score(row, row.metric),
        "seeds": _seed_range(row),
        "accuracy": _score(row, "accuracy"),
        "macro_f1": _score(row, "macro_f1"),
        "kappa": words.number(row.mean.get("kappa")),
        "chance": _chance(row),
        "difference": words.points(entry.difference) if entry else "",
        "ends": words.points_bracket(entry.low, entry.high) if entry else "",
        "verdict": entry.verdict if entry else "",
        **_compute(row),
    }


def _compute(row: tables.ArmSummary) -> dict[str, str]:
    """Images seen in pretraining, and in training with all its trials; means over seeds."""
    known = [cell.compute for cell in row.cells if cell.compute]
    return {key: _mean_count(known, key) for key in ("pretrain_images", "train_images")}


def _mean_count(records: Sequence[Compute], key: str) -> str:
    values = [value for record in records if (value := getattr(record, key)) is not None]
    return words.count(round(fmean(values))) if values else words.NONE


def _score(row: tables.ArmSummary, metric: str) -> tuple[str, str]:
    return words.percent(row.mean.get(metric)), words.bracket(row.interval.get(metric))


def _seed_range(row: tables.ArmSummary) -> str:
    if len(row.scores) < 2 or min(row.scores) == max(row.scores):
        return ""
    return f"{100 * min(row.scores):.1f} to {100 * max(row.scores):.1f}"


def _lost(row: tables.ArmSummary) -> str:
    if not row.lost:
        return ""
    first = row.lost[0]
    reason = words.lost(first.status, first.reason)
    if not row.cells:
        return reason
    total = len(row.lost) + len(row.cells)
    return f"{len(row.lost)} of {total} seeds lost ({reason}). The mean is over the others"


def _chance(row: tables.ArmSummary) -> str:
    known = [cell.chance.beats_chance for cell in row.cells if cell.chance]
    if not known:
        return words.NONE
    if len(known) == 1 or all(known) or not any(known):
        return "yes" if all(known) else "no"
    return f"{sum(known)} of {len(known)} seeds"


def _labels_title(fraction: float, labels: int) -> str:
    name = words.fraction_name(fraction)
    return f"{name[0].upper()}{name[1:]} ({words.plural(labels, 'labelled image')})"


def _class_cell(entry: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if entry is None:
        return (words.NONE, "", words.NONE, words.NONE)
    recall, ends = words.percent(entry["recall"]), words.bracket(entry["interval"])
    return recall, ends, words.percent(entry["precision"]), words.percent(entry["f1"])


def _all_events(runs: Sequence[Pretraining]) -> list[str]:
    """One sentence an event; runs of one method that met the same one share it."""
    met: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in runs:
        for event in _events(run):
            met[method_title(run.method), event].append(str(run.seed))
    return [
        f"{name}, seed{'s' * (len(found) > 1)} {words.listed(found)}: {event}"
        for (name, event), found in met.items()
    ]


def _events(run: Pretraining) -> list[str]:
    said = [words.sentence(warning) for warning in run.warnings]
    last = run.history[-1] if run.history else None
    if run.status != "ok":
        where = f" at epoch {last.epoch:g} (step {words.count(last.step)})" if last else ""
        why = words.sentence(run.reason or "no reason given")
        said.append(f"{run.status}{where}. {why} The answer leaves this run out.")
    score, floor = _last(run, "knn"), run.knn_random
    if run.status == "ok" and score is not None and floor is not None and score <= floor:
        said.append(
            f"k-NN on the training images reached {words.percent(score)}, no more than random "
            f"weights with {words.percent(floor)}. By this check pretraining learned nothing."
        )
    return said


def _same_start(runs: Sequence[Pretraining]) -> str:
    starts: dict[int, set[str]] = defaultdict(set)
    for run in runs:
        if run.start is None:
            return "not recorded"
        starts[run.seed].add(run.start)
    if not starts:
        return ""
    return "yes" if all(len(found) == 1 for found in starts.values()) else "no"


def _run_row(run: Pretraining) -> Context:
    return {
        "name": method_title(run.method),
        "seed": str(run.seed),
        "status": run.status,
        "epochs": words.count(run.epochs),
        "steps": words.count(run.steps),
        "images": words.count(run.images_seen),
        "loss": words.number(_last(run, "loss")),
        "std": words.number(_last(run, "std_ratio")),
        "rank": words.number(_last(run, "effective_rank"), 1),
        "knn": words.percent(_last(run, "knn")),
        "knn_random": words.percent(run.knn_random),
    }


def _last(run: Pretraining, key: str) -> float | None:
    known = [value for moment in run.history if (value := getattr(moment, key)) is not None]
    return known[-1] if known else None
