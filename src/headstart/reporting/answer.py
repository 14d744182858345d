"""The answer itself, its scope, and what it leaves open.

The sentences of the verdict come from the comparison; this module only orders them. A headline
says no more than the verdict words do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from headstart.arms import PROTOCOLS, method_title
from headstart.reporting import tables, validity, words
from headstart.results import Comparison, MaskInfo, Results

Context = dict[str, Any]

ONLY_TOLD = "G8"  # beats guessing: it takes no verdict away


def first_screen(results: Results) -> Context:
    """What is seen before anything else: the headline, what it rests on, and what to do next."""
    from headstart.reporting.sentences import headline, next_steps  # bring NumPy

    comparisons = tables.against_supervised(results)
    main, *others = _by_protocol(comparisons) or [[]]
    said = headline.headline(results, main)
    if results.unfinished:
        said = headline.so_far(results, said)
    return {
        "headline": f"{said.title}." if ". " in said.title else said.title,
        "deck": said.deck,
        "frozen": headline.frozen([entry for part in others for entry in part]),
        "validity": validity.line(results),
        "failed": any(r.result == "FAIL" and r.gate != ONLY_TOLD for r in results.gates),
        "scope": _scope(results),
        "steps": next_steps.next_steps(results, main),
    }


def verdict(results: Results) -> Context:
    """Every single answer: the sentences in three groups, the main protocol first."""
    comparisons = tables.against_supervised(results)
    return {
        "parts": [_part(results, part) for part in _by_protocol(comparisons)],
        "count": len(comparisons),
        "missing": [
            f"{method_title(method)} was not compared with supervised training. "
            + words.sentence(reason)
            for method, reason in tables.never_compared(results)
        ],
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


def _by_protocol(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    parts: dict[str, list[Comparison]] = defaultdict(list)
    for entry in comparisons:
        parts[entry.arm_a.protocol].append(entry)
    return list(parts.values())


def _part(results: Results, entries: Sequence[Comparison]) -> Context:
    protocol = entries[0].arm_a.protocol
    several = len(tables.fractions(results)) > 1
    return {
        "title": PROTOCOLS[protocol].heading,
        "groups": [
            (name, _items(group, several)) for name, group in tables.grouped(entries).items()
        ],
        "grid": _grid(entries) if several else None,
    }


def _items(entries: Iterable[Comparison], several: bool) -> list[Context]:
    """One item a sentence; comparisons of which the same is said share it."""
    by_sentence: dict[str, list[Comparison]] = defaultdict(list)
    for entry in entries:
        by_sentence[entry.sentence].append(entry)
    return [_item(sentence, same, several) for sentence, same in by_sentence.items()]


def _item(sentence: str, same: Sequence[Comparison], several: bool) -> Context:
    methods = dict.fromkeys(method_title(entry.arm_a.method) for entry in same)
    shares = dict.fromkeys(words.fraction_name(entry.fraction) for entry in same)
    return {
        "name": words.listed([name for name in methods if name not in sentence]),
        "fraction": words.listed(list(shares)) if several else "",
        "sentence": words.sentence(sentence),
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
    data, seeds = results.data, len(tables.seeds(results))
    encoder = results.study.get("encoder", {}).get("backbone")
    parts = [
        f"these {words.plural(len(data.classes), 'class', 'classes')} of images",
        f"the encoder {encoder}" if encoder else "one encoder",
        words.plural(data.counts.test, "test image"),
        words.plural(seeds, "seed"),
    ]
    metric = words.METRICS[tables.primary_metric(results)]
    models = "so for these trained models, not for the methods. " if seeds == 1 else ""
    return f"For {words.listed(parts)}{', ' * bool(models)}{models or '. '}Scores are {metric}."


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
        f"{rough}Attribution on the object does not prove what a model uses. Pictures with an "
        "exchanged background are stronger evidence, though they are cut and pasted."
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
