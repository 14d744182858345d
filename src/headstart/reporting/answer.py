"""The answer itself, its scope, and what it leaves open.

The sentences of the verdict come from the comparison; this module only orders them. A headline
says no more than the verdict words do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headstart.arms import PROTOCOLS, method_title
from headstart.reporting import tables, words
from headstart.results import Comparison, MaskInfo, Results

Context = dict[str, Any]

MANY_SENTENCES = 8
HEADLINES = {
    "better": "A head start with {}.",
    "worse": "Worse than supervised training with {}.",
    "no difference that matters": "No difference that matters with {}.",
    "can't tell": "Can't tell for {}.",
    "neither learned": "Neither model learned the task with {}.",
    "no verdict": "No verdict for {}.",
}


def verdict(results: Results) -> Context:
    """The answer: a headline, the sentences in three groups, main protocol first, and the scope."""
    comparisons = tables.against_supervised(results)
    return {
        "headline": _headline(results, comparisons),
        "parts": [
            _part(results, part, first=i == 0) for i, part in enumerate(_by_protocol(comparisons))
        ],
        "missing": [
            f"{method_title(method)} was not compared with supervised training. "
            + words.sentence(reason)
            for method, reason in tables.never_compared(results)
        ],
        "scope": _scope(results),
    }


def limits(results: Results) -> list[str]:
    """What this run cannot show, from what it held."""
    n, seeds = results.data.counts.test, len(tables.seeds(results))
    said = [
        "One data set. Other images, other classes or another camera may give another answer.",
        _about_seeds(seeds),
        f"{words.plural(n, 'test image')}. {detectable(results)}".strip(),
        f"A difference below {words.number(100 * tables.margin(results), 1)} points counts as one "
        "that does not matter. That is a choice of this study, not a fact.",
        "One encoder and one set of settings for each method. A method that lost here may win "
        "with other settings, more images or a longer pretraining.",
        "Every label used to choose settings counts as a label, so the label counts include "
        "validation images.",
    ]
    if len(tables.fractions(results)) == 1:
        said.append(
            "One amount of labels. How the answer changes with more or fewer labels, and how many "
            "labels pretraining saves, was not measured."
        )
    return said + _limits_of_parts(results)


def _headline(results: Results, comparisons: Sequence[Comparison]) -> list[str]:
    """One line in all, or with several amounts of labels one line a method."""
    parts = _by_protocol(comparisons)
    if not parts:
        return ["No answer: no arm was compared with supervised training."]
    missing = [method_title(method) for method, _ in tables.never_compared(results)]
    if len(tables.fractions(results)) > 1:
        return _lines(parts[0]) + [f"{name}: not compared." for name in missing]
    by_verdict: dict[str, list[str]] = defaultdict(list)
    for entry in parts[0]:
        name = method_title(entry.arm_a.method)
        sure = entry.verdict in ("better", "worse")
        size = f" ({words.points(entry.difference)} points)" if sure else ""
        by_verdict[entry.verdict].append(name + size)
    said = [
        form.format(words.listed(by_verdict[v])) for v, form in HEADLINES.items() if v in by_verdict
    ]
    return [" ".join(said + [f"No comparison for {words.listed(missing)}."] * bool(missing))]


def _lines(entries: Sequence[Comparison]) -> list[str]:
    by_verdict: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        by_verdict[entry.arm_a.method][entry.verdict].append(entry.fraction)
    return [
        f"{method_title(method)}: {_verdicts(verdicts)}." for method, verdicts in by_verdict.items()
    ]


def _verdicts(verdicts: Mapping[str, Sequence[float]]) -> str:
    ordered = [verdict for verdict in HEADLINES if verdict in verdicts]
    if len(ordered) == 1 and len(verdicts[ordered[0]]) > 1:
        return f"{ordered[0]} at every amount of labels"
    shares = {v: [words.percent(f, "{:.3g}") for f in sorted(verdicts[v])] for v in ordered}
    first, *rest = [f"{verdict} at {words.listed(shares[verdict])}" for verdict in ordered]
    return ", ".join([f"{first} of the labels", *rest])


def _by_protocol(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    parts: dict[str, list[Comparison]] = defaultdict(list)
    for entry in comparisons:
        parts[entry.arm_a.protocol].append(entry)
    return list(parts.values())


def _part(results: Results, entries: Sequence[Comparison], *, first: bool) -> Context:
    protocol = entries[0].arm_a.protocol
    several = len(tables.fractions(results)) > 1
    return {
        "title": PROTOCOLS[protocol].heading,
        "groups": [
            (name, [_item(entry, several) for entry in group])
            for name, group in tables.grouped(entries).items()
        ],
        "grid": _grid(entries) if several else None,
        "folded": len(entries) > MANY_SENTENCES or (several and not first),
        "count": len(entries),
    }


def _item(entry: Comparison, several: bool) -> Context:
    method = method_title(entry.arm_a.method)
    return {
        "name": "" if method in entry.sentence else method,
        "fraction": words.fraction_name(entry.fraction) if several else "",
        "sentence": words.sentence(entry.sentence),
    }


def _grid(entries: Sequence[Comparison]) -> Context:
    fractions = sorted({entry.fraction for entry in entries})
    rows: dict[str, dict[float, Comparison]] = defaultdict(dict)
    for entry in entries:
        rows[entry.arm_a.method][entry.fraction] = entry
    return {
        "fractions": [words.fraction_name(fraction) for fraction in fractions],
        "rows": [
            (method_title(method), [_grid_cell(found.get(f)) for f in fractions])
            for method, found in rows.items()
        ],
    }


def _grid_cell(entry: Comparison | None) -> Context | None:
    if entry is None:
        return None
    return {
        "verdict": entry.verdict,
        "group": tables.GROUPS.get(entry.verdict, tables.CANNOT_TELL),
        "difference": words.points(entry.difference),
        "ends": words.points_bracket(entry.low, entry.high),
    }


def _scope(results: Results) -> str:
    data = results.data
    encoder = results.study.get("encoder", {}).get("backbone")
    parts = [
        f"the data set {data.labeled}",
        f"the encoder {encoder}" if encoder else "one encoder",
        words.plural(len(data.classes), "class", "classes"),
        words.plural(len(tables.seeds(results)), "seed"),
        words.plural(data.counts.test, "test image"),
    ]
    metric = words.METRICS[tables.primary_metric(results)]
    return f"This answer holds for {words.listed(parts)}. Scores are {metric} on the test images."


def _about_seeds(seeds: int) -> str:
    if seeds <= 1:
        return "One seed. This compares single trained models; another seed may turn the order."
    if seeds < 5:
        return (
            f"{seeds} seeds. That is few: the intervals of the differences include the luck of "
            "the seeds, but know it only roughly."
        )
    return f"{seeds} seeds. The intervals of the differences include the luck of the seeds."


def _limits_of_parts(results: Results) -> list[str]:
    said = []
    explained = results.explanations
    if explained is None:
        said.append("No attribution maps were made. Where the models look was not asked.")
    elif explained.masks is None:
        said.append(
            "No object masks were used. Whether a model looks at the object or at the background "
            "is not measured; the maps only show which pixels move one score."
        )
    else:
        said.append(_about_masks(explained.masks))
    lost = {run.method for run in results.pretraining if run.status != "ok"}
    if lost:
        names = words.listed([method_title(m) for m in sorted(lost)])
        said.append(
            f"{names} did not finish pretraining in every seed. That speaks of these settings on "
            "these images, not of the method."
        )
    return said


def _about_masks(masks: MaskInfo) -> str:
    """What masks leave open."""
    rough = "The masks are boxes, so all that rests on them is approximate. " * masks.approximate
    return (
        f"{rough}A share of attribution on the object is no proof of what a model uses: pictures "
        "with the background exchanged are the stronger evidence, and these are cut and pasted."
    )


def detectable(results: Results) -> str:
    """What the size of the test set lets one see, as a sentence; empty if it is not known."""
    smallest = results.data.detectable_difference
    if smallest is None:
        return ""
    return (
        f"This test set can show differences of about {words.number(100 * smallest, 1)} points "
        "or more. Smaller ones stay unseen, whether they exist or not."
    )
