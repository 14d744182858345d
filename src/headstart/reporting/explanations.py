"""Where the networks look, in the words of the page.

Nothing here knows HTML or Markdown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from headstart.arms import BASELINE, UNTRAINED, Arm
from headstart.attributions import title
from headstart.reporting import words
from headstart.results import (
    Background,
    BackgroundDifference,
    Centre,
    Drawn,
    ExplainedImage,
    ExplainedNetwork,
    Explanations,
    Faithfulness,
    Focus,
    Interval,
    MaskInfo,
    Results,
    Sanity,
    Similarity,
    WorstGroup,
)

Context = dict[str, Any]
R = TypeVar("R", Similarity, Background, Centre)
AskedOnce = Faithfulness | Background | Centre
"""Rows about one network of an arm."""

MEASURES = ("spearman", "ssim", "rmse", "top_iou", "pearson")
NULLS = ("floor", "shuffled", "edges", "ceiling")
MAIN = ("finetune", "supervised")  # protocols whose sentences are shown first
KINDS = ("original", "only_fg", "only_bg", "mixed_same", "mixed_rand")
SHORT = {
    "same": "same things",
    "different": "different things",
    "unclear": "can't tell",
    "not_reproducible": "not reproducible",
    "no_ceiling": "no ceiling",
    "no_maps": "too few maps",
}
NO_CEILING = (
    "Whether two arms look at the same things can't be told from one seed. It takes two "
    "(--seeds 0,1): only two seeds of one arm show how alike maps can be."
)


def explanations(results: Results) -> Context | None:
    """The whole part of the page; None where nothing was explained."""
    explained = results.explanations
    if explained is None and not results.explained and not results.attribution_similarity:
        return None
    compared = likeness(results)
    for part in compared[1:]:  # what holds for all attributions is said once
        if part["sentences"] == [NO_CEILING]:
            part["sentences"] = []
    return {
        **_shared(explained),
        "gallery": gallery(results),
        "likeness": compared,
        "raw": raw_table(results),
        "splits": split_table(results),
    }


def _shared(explained: Explanations | None) -> Context:
    """What is said of each network by itself; nothing where only pictures are left."""
    if explained is None:
        nothing: Context = dict.fromkeys(("faithful", "masks", "background", "centre"))
        nothing |= {name: [] for name in ("notes", "lacking", "sanity", "focus", "differences")}
        return {"about": "", **nothing}
    return {
        "about": _about(explained),
        "notes": [words.sentence(line) for line in explained.notes],
        "lacking": _lacking(explained),
        "sanity": [_sanity(row) for row in explained.sanity],
        "faithful": faithfulness(explained.faithfulness),
        "masks": _masks(explained.masks),
        "focus": focus(explained.focus),
        "background": background(explained.background),
        "differences": _differences(explained.background_differences),
        "centre": _centre(explained.centre),
    }


def lines(results: Results) -> list[str]:
    """What is said in sentences, for a terminal: the first attribution, and what masks showed."""
    view = explanations(results)
    if view is None:
        return ["Nothing was explained: explain.images or explain.attributions is empty."]
    parts = [*view["likeness"][:1], *view["focus"], *filter(None, [view["background"]])]
    said: list[str] = [line for part in parts for line in part["sentences"]]
    return [*said, *view["notes"]]


def gallery(results: Results) -> Context | None:
    """Rows are images, columns are networks, random weights last; paths still point at files."""
    images = results.explained
    columns = list(dict.fromkeys((a.arm, a.seed) for image in images for a in image.arms))
    if not columns:
        return None
    columns.sort(key=lambda column: column[0] == UNTRAINED)  # stable: the others keep order
    first = min(seed for _, seed in columns)
    names = list(dict.fromkeys(n for image in images for a in image.arms for n in a.maps))
    return {
        "columns": [
            arm.label + ("" if seed == first else f", seed {seed}") for arm, seed in columns
        ],
        "rows": [_gallery_row(image, columns, names) for image in images],
        "more": 0,
        "attributions": [title(name) for name in names],
        "classes": list(dict.fromkeys(image.true for image in images)),
        "has_random": any(arm == UNTRAINED for arm, _ in columns),
        "outlined": results.explanations is not None and results.explanations.masks is not None,
    }


def likeness(results: Results) -> list[Context]:
    """A matrix of calibrated similarity for each attribution, and a sentence for each method.

    Without a ceiling the cells hold the raw rank correlation.
    """
    groups: dict[str, list[Similarity]] = defaultdict(list)
    for row in results.attribution_similarity:
        if row.calibrated is not None:
            groups[row.attribution].append(row)
    return [_matrix(name, rows) for name, rows in groups.items()]


def raw_table(results: Results) -> list[Context]:
    """Every pair with its raw measures, each beside floor, shuffled pairs, edges and ceiling."""
    return [
        {
            "arms": _pair(row),
            "attribution": title(row.attribution),
            "measures": [_beside(row, measure) for measure in MEASURES],
            "images": words.count(row.images),
            "left_out": words.count(row.left_out),
            "seeds": words.listed([str(seed) for seed in row.seeds]),
        }
        for row in results.attribution_similarity
        if row.nulls is not None
    ]


def split_table(results: Results) -> list[Context]:
    """Rank correlation of every pair by whose class is explained, and by who was right."""
    groups: dict[tuple[str, str, str], dict[str, Similarity]] = defaultdict(dict)
    for row in results.attribution_similarity:
        groups[_pair(row), row.attribution, row.target][row.answers] = row
    kinds = ("all", "both right", "one right", "both wrong")
    return [
        {
            "arms": pair,
            "attribution": title(name),
            "target": target,
            "cells": [
                (words.number(row.spearman), words.plural(row.images, "image"))
                for row in (by_kind[kind] for kind in kinds if kind in by_kind)
            ],
        }
        for (pair, name, target), by_kind in groups.items()
    ]


def faithfulness(rows: Sequence[Faithfulness]) -> Context | None:
    """Rows are arms; for each attribution the two gaps to a random order."""
    if not rows:
        return None
    names = list(dict.fromkeys(row.attribution for row in rows))
    by_arm: dict[Arm, dict[str, Faithfulness]] = defaultdict(dict)
    for row in rows:
        by_arm[row.arm][row.attribution] = row
    return {
        "attributions": [title(name) for name in names],
        "images": words.count(max(row.images for row in rows)),
        "weights": _weights(rows),
        "rows": [
            (arm.label, [_gaps(by_name.get(name)) for name in names])
            for arm, by_name in by_arm.items()
        ],
        "sentences": [_faithful_sentence(name, rows) for name in names],
    }


def focus(rows: Sequence[Focus]) -> list[Context]:
    """A table for each attribution; random weights stand last."""
    groups: dict[str, list[Focus]] = defaultdict(list)
    for row in rows:
        groups[row.attribution].append(row)
    return [
        {
            "attribution": title(name),
            "sentences": _focus_sentences(name, [r for r in group if r.answers == "all"]),
            "all": [_focus_row(row) for row in group if row.answers == "all"],
            "right": [_focus_row(row) for row in group if row.answers == "right"],
            "wrong": [_focus_row(row) for row in group if row.answers == "wrong"],
        }
        for name, group in groups.items()
    ]


def background(rows: Sequence[Background]) -> Context | None:
    """A row an arm: accuracy on every kind of picture, and what follows from it."""
    if not rows:
        return None
    return {
        "images": words.count(rows[0].images),
        "weights": _weights(rows),
        "warnings": [words.sentence(line) for line in rows[0].warnings],
        "sentences": [words.sentence(row.sentence) for row in _main(rows) if row.arm != UNTRAINED],
        "has_groups": any(row.worst_group for row in rows),
        "rows": [_background_row(row) for row in rows],
    }


def _about(explained: Explanations) -> str:
    seeds = words.listed([str(seed) for seed in explained.seeds])
    which = "seed " + seeds if len(explained.seeds) == 1 else "seeds " + seeds
    return (
        f"{words.plural(explained.images, 'test image')}, drawn evenly from all classes, were "
        f"explained for every arm's network with the most labels ({which}). A map always explains "
        "the score of the true class."
    )


def _lacking(explained: Explanations) -> list[str]:
    """Which networks lack maps of some images, a line an attribution; and why, where known."""
    networks = explained.networks
    names = dict.fromkeys(name for network in networks for name in network.without_map)
    lines = []
    for name in names:
        missing = [
            f"{network.without_map[name]} for {_network(network)}"
            for network in networks
            if network.without_map.get(name)
        ]
        if missing:
            images = words.plural(explained.images, "image")
            lines.append(f"{_named(name)}, {images}, without a map: {'; '.join(missing)}.")
    reasons = [(_network(network), why) for network in networks for why in network.reasons]
    return lines + [words.sentence(f"No map for {name}: {why}") for name, why in reasons]


def _network(row: ExplainedNetwork) -> str:
    return f"{row.arm.label} (seed {row.seed})"


def _weights(rows: Sequence[AskedOnce]) -> str:
    """What was asked of one network an arm holds for that network."""
    return f"One network of each arm was asked ({_seeds(rows)}): this holds for these models."


def _seeds(rows: Sequence[AskedOnce]) -> str:
    seeds = sorted({row.seed for row in rows})
    return ("seed " if len(seeds) == 1 else "seeds ") + words.listed([str(s) for s in seeds])


def _matrix(name: str, rows: Sequence[Similarity]) -> Context:
    arms = list(dict.fromkeys(arm for row in rows for arm in (row.arm_a, row.arm_b)))
    by_pair = {(row.arm_a, row.arm_b): row for row in rows}
    scaled = any(row.calibrated is not None and row.calibrated.value is not None for row in rows)
    return {
        "attribution": title(name),
        "calibrated": scaled,
        "columns": [arm.label for arm in arms[1:]],
        "rows": [
            (
                a.label,
                [_matrix_cell(by_pair.get((a, b)), scaled) for b in arms[1:]],
            )
            for a in arms[:-1]
        ],
        "sentences": _likeness_sentences(rows),
    }


def _matrix_cell(row: Similarity | None, scaled: bool) -> Context | None:
    if row is None or row.calibrated is None:
        return None
    calibrated, raw, null = row.calibrated, words.number(row.spearman), _null(row)
    said = SHORT[row.verdict or "no_maps"]
    if not scaled:
        return {"value": raw, "ends": null, "said": "" if row.verdict == "no_ceiling" else said}
    if calibrated.value is None:
        return {"value": words.NONE, "ends": f"raw {raw}, {null}", "said": said}
    ends = f"[{words.number(calibrated.low)}, {words.number(calibrated.high)}]"
    return {"value": words.number(calibrated.value), "ends": ends, "said": said}


def _null(row: Similarity) -> str:
    """The strongest null of a pair by name, with its rank correlation."""
    if row.calibrated is None or row.nulls is None:
        return ""
    name = row.calibrated.strongest
    null = row.nulls.floor if name == "untrained" else row.nulls.shuffled
    return f"{name} {words.number(null.spearman)}"


def _likeness_sentences(rows: Sequence[Similarity]) -> list[str]:
    """One a method, against supervised training; what is the same for all pairs is said once."""
    if all(row.verdict == "no_ceiling" for row in rows):
        return [NO_CEILING]
    asked = [row for row in _main(rows) if BASELINE in (row.arm_a, row.arm_b)]
    return [words.sentence(f"{row.sentence}{_calibrated(row)}") for row in asked or rows]


def _calibrated(row: Similarity) -> str:
    """The numbers behind a sentence about two arms; "different" may still be much alike."""
    calibrated = row.calibrated
    if calibrated is None or calibrated.value is None:
        return ""
    ends = f"{words.number(calibrated.low)}, {words.number(calibrated.high)}"
    size = f" (calibrated similarity {words.number(calibrated.value)} [{ends}])"
    less = ", less alike than two seeds of one arm" if row.verdict == "different" else ""
    return f"{less}{size}"


def _main(rows: Sequence[R]) -> list[R]:
    """The rows of fine-tuned arms and of supervised training; all where there are none."""
    kept = [row for row in rows if all(arm.protocol in MAIN for arm in _arms(row))]
    several = len({_arms(row)[-1] for row in kept}) > 1
    return kept if several else list(rows)


def _arms(row: Similarity | Background | Centre) -> tuple[Arm, ...]:
    return (row.arm_a, row.arm_b) if isinstance(row, Similarity) else (row.arm,)


def _beside(row: Similarity, measure: str) -> tuple[str, str]:
    """A raw measure, and its four companions in one line."""
    lines = []
    for null in NULLS:
        other = getattr(row.nulls, null)
        lines.append(f"{null} {words.number(getattr(other, measure, None))}")
    return words.number(getattr(row, measure)), ", ".join(lines)


def _sanity(row: Sanity) -> str:
    name = title(row.attribution)
    ends = ""
    if row.low is not None:
        ends = (
            f" (two seeds minus random weights: {_signed(row.difference)} "
            f"[{_signed(row.low)}, {_signed(row.high)}])"
        )
    if row.complexity.value is not None:
        more = words.percent(abs(row.complexity.value))
        way = "more" if row.complexity.value >= 0 else "less"
        ends += f"; an untrained network's maps are {more} {way} complex"
    return words.sentence(f"{name}: {row.sentence}{ends}")


def _gaps(row: Faithfulness | None) -> Context | None:
    if row is None:
        return None
    return {"deletion": _estimate(row.deletion), "insertion": _estimate(row.insertion)}


def _faithful_sentence(name: str, rows: Sequence[Faithfulness]) -> str:
    own = [r for r in rows if r.attribution == name and r.arm != UNTRAINED]
    better = [
        sum(gap.low is not None and gap.low > 0 for gap in gaps)
        for gaps in ([row.deletion for row in own], [row.insertion for row in own])
    ]
    return (
        f"{_named(name)} finds what matters better than chance for {better[0]} of {len(own)} "
        f"trained arms by taking parts away, for {better[1]} by bringing them back "
        f"({_seeds(own or rows)})."
    )


def _masks(masks: MaskInfo | None) -> Context | None:
    if masks is None:
        return None
    kind = "approximate masks, made of boxes" if masks.approximate else "masks"
    return {
        "text": (
            f"{words.plural(masks.test_images, 'test image')} have {kind} "
            f"({masks.source}); {words.count(masks.images)} of them are explained. The "
            f"object covers {words.percent(masks.area)} of these on average."
        ),
        "warnings": [words.sentence(line) for line in masks.warnings],
        "approximate": masks.approximate,
        "overlays": masks.overlays,
    }


def _focus_sentences(name: str, rows: Sequence[Focus]) -> list[str]:
    """One a verdict, with all arms it is true of; the table says it arm by arm."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.verdict:
            groups[row.verdict].append(row.arm.label)
    more = {
        "more": "look at the object more than an untrained network",
        "less": "look at the object less than an untrained network",
        "no more": "look at the object no more than an untrained network, as far as these images "
        "can tell",
    }
    return [
        f"By {title(name)}, these {more[verdict]}: {'; '.join(groups[verdict])}."
        for verdict in more
        if verdict in groups
    ] + [
        f"By {title(name)}, this was not measured for {'; '.join(a)}."
        for v, a in groups.items()
        if v not in more
    ]


def _focus_row(row: Focus) -> Context:
    return {
        "arm": row.arm.label,
        "control": row.arm == UNTRAINED,
        "share": (words.percent(row.rma.value), words.percent(row.area.value)),
        "lift": _estimate(row.lift),
        "centre": words.number(row.centre_lift),
        "untrained": words.number(row.untrained_lift),
        "against": _estimate(row.against_untrained, signed=True),
        "pointing": words.percent(row.pointing.value),
        "rra": words.percent(row.rra.value),
        "auc": words.number(row.auc.value),
        "images": words.count(row.images),
        "verdict": row.verdict or "",
    }


def _background_row(row: Background) -> Context:
    worst = row.worst_group
    return {
        "arm": row.arm.label,
        "control": row.arm == UNTRAINED,
        "accuracy": [words.percent(getattr(row.accuracy, kind).value) for kind in KINDS],
        "gap": _points(row.gap),
        "paste": _points(row.paste_cost),
        "skill": _points(row.skill),
        "skill_p": words.p_value(row.skill_p),
        "follows": (words.percent(row.follows), words.percent(row.expected)),
        "worst": _worst(worst) if worst else ("", ""),
    }


def _worst(group: WorstGroup) -> tuple[str, str]:
    """The worst group's accuracy; which it is, and what random groups would give."""
    return words.percent(group.accuracy), (
        f"group {group.group}, {words.plural(group.images, 'image')}; at random "
        f"{words.percent(group.expected)}, p {words.p_value(group.p)}"
    )


def _differences(rows: Sequence[BackgroundDifference]) -> list[Context]:
    return [
        {
            "arms": f"{row.arm_a.label} − {row.arm_b.label}",
            "difference": _points(row),
            "sentence": words.sentence(row.sentence),
        }
        for row in rows
    ]


def _centre(rows: Sequence[Centre]) -> Context | None:
    if not rows:
        return None
    return {
        "weights": _weights(rows),
        "sentences": [words.sentence(row.sentence) for row in _main(rows)],
        "rows": [
            (
                row.arm.label,
                _points(row.centre),
                _points(row.border),
                _points(row.difference),
            )
            for row in rows
        ],
    }


def _gallery_row(
    image: ExplainedImage, columns: Sequence[tuple[Arm, int]], names: Sequence[str]
) -> Context:
    by_column = {(arm.arm, arm.seed): arm for arm in image.arms}
    return {
        "id": str(image.id),
        "true": image.true,
        "chosen": image.chosen,
        "photo": image.photo,
        "answers": _answers(image),
        "right": " ".join(_right(by_column.get(column), image.true) for column in columns),
        "agree": "yes" if len({a.predicted for a in _learned(image)}) <= 1 else "no",
        "cells": [_gallery_cell(by_column.get(column), image.true, names) for column in columns],
    }


def _learned(image: ExplainedImage) -> list[Drawn]:
    """The networks that learned something, whose answers are worth comparing."""
    return [arm for arm in image.arms if arm.arm != UNTRAINED]


def _answers(image: ExplainedImage) -> str:
    right = [arm.predicted == image.true for arm in _learned(image)]
    return "right" if all(right) else "some" if any(right) else "wrong"


def _right(arm: Drawn | None, true: str) -> str:
    """For the script: whether a network's answer is right; – where it was not asked."""
    return "–" if arm is None else "right" if arm.predicted == true else "wrong"


def _gallery_cell(arm: Drawn | None, true: str, names: Sequence[str]) -> Context | None:
    if arm is None:
        return None
    return {
        "predicted": arm.predicted,
        "right": arm.predicted == true,
        "probability": words.percent(arm.probability),
        "maps": [
            (title(name), arm.maps.get(name), f"{arm.scale.get(name, 0):.2g}") for name in names
        ],
    }


def _pair(row: Similarity) -> str:
    return f"{row.arm_a.label} and {row.arm_b.label}"


def _named(name: str) -> str:
    """At the beginning of a sentence."""
    plain = title(name)
    return plain[0].upper() + plain[1:]


def _estimate(interval: Interval | None, *, signed: bool = False) -> tuple[str, str]:
    """A number and its interval, two decimals each."""
    if interval is None or interval.value is None:
        return words.NONE, ""
    write = _signed if signed else words.number
    if interval.low is None:
        return write(interval.value), ""
    return write(interval.value), f"[{write(interval.low)}, {write(interval.high)}]"


def _points(interval: Interval) -> tuple[str, str]:
    return words.points(interval.value), words.points_bracket(interval.low, interval.high)


def _signed(value: float | None) -> str:
    text = words.number(value)
    return f"+{text}" if value is not None and float(f"{value:.2f}") > 0 else text
