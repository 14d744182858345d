"""Where the networks look, in the words of the page.

Nothing here knows HTML or Markdown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.reporting import tables, words

View = dict[str, Any]

GALLERY_IMAGES = 12
SUPERVISED = "supervised/supervised"
MEASURES = ("spearman", "ssim", "rmse", "top_iou", "pearson")
NULLS = ("floor", "shuffled", "edges", "ceiling")
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
    "Whether two arms look at the same things can't be told: no ceiling. It needs two seeds "
    "(--seeds 0,1), as only the likeness of two seeds of one arm shows how alike maps can be."
)


def explanations(results: tables.Results) -> View | None:
    """The whole part of the page; None where nothing was explained."""
    found = results.get("explanations")
    if found is None and not results["explained"] and not results["attribution_similarity"]:
        return None
    found = found or {}
    compared = likeness(results)
    for part in compared[1:]:  # what holds for all attributions is said once
        if part["sentences"] == [NO_CEILING]:
            part["sentences"] = []
    return {
        "about": _about(found),
        "notes": [words.sentence(line) for line in found.get("notes", [])],
        "lacking": _lacking(found),
        "gallery": gallery(results),
        "likeness": compared,
        "raw": raw_table(results),
        "splits": split_table(results),
        "sanity": [_sanity(row) for row in found.get("sanity", [])],
        "faithful": faithfulness(found.get("faithfulness", [])),
        "masks": _masks(found.get("masks")),
        "focus": focus(found.get("focus", [])),
        "background": background(found.get("background", [])),
        "differences": _differences(found.get("background_differences", [])),
        "centre": _centre(found.get("centre", [])),
    }


def lines(results: tables.Results) -> list[str]:
    """What is said in sentences, for a terminal: the first attribution, and what masks showed."""
    view = explanations(results)
    if view is None:
        return ["Nothing was explained: explain.images or explain.attributions is empty."]
    parts = [*view["likeness"][:1], *view["focus"], *filter(None, [view["background"]])]
    said: list[str] = [line for part in parts for line in part["sentences"]]
    return [*said, *view["notes"]]


def gallery(results: tables.Results) -> View | None:
    """Rows are images, columns are networks, random weights last; paths still point at files."""
    images = results["explained"][:GALLERY_IMAGES]
    columns = list(dict.fromkeys((a["arm"], a["seed"]) for image in images for a in image["arms"]))
    if not columns:
        return None
    columns.sort(
        key=lambda column: column[0].startswith("random/")
    )  # stable: the others keep order
    first = min(seed for _, seed in columns)
    names = list(dict.fromkeys(n for image in images for a in image["arms"] for n in a["maps"]))
    return {
        "columns": [
            words.arm_label(arm) + ("" if seed == first else f", seed {seed}")
            for arm, seed in columns
        ],
        "rows": [_gallery_row(image, columns, names) for image in images],
        "more": len(results["explained"]) - len(images),
        "has_random": any(arm.startswith("random/") for arm, _ in columns),
        "outlined": (results.get("explanations") or {}).get("masks") is not None,
    }


def likeness(results: tables.Results) -> list[View]:
    """A matrix of calibrated similarity for each attribution, and a sentence for each method.

    Without a ceiling the cells hold the raw rank correlation.
    """
    groups: dict[str, list[tables.Record]] = defaultdict(list)
    for row in results["attribution_similarity"]:
        if "calibrated" in row:
            groups[row["attribution"]].append(row)
    return [_matrix(name, rows) for name, rows in groups.items()]


def raw_table(results: tables.Results) -> list[View]:
    """Every pair with its raw measures, each beside floor, shuffled pairs, edges and ceiling."""
    return [
        {
            "arms": _pair(row),
            "attribution": _plain(row["attribution"]),
            "measures": [_beside(row, measure) for measure in MEASURES],
            "images": words.count(row["images"]),
            "left_out": words.count(row["left_out"]),
            "seeds": words.listed([str(seed) for seed in row["seeds"]]),
        }
        for row in results["attribution_similarity"]
        if "nulls" in row
    ]


def split_table(results: tables.Results) -> list[View]:
    """Rank correlation of every pair by whose class is explained, and by who was right."""
    groups: dict[tuple[str, str, str], dict[str, tables.Record]] = defaultdict(dict)
    for row in results["attribution_similarity"]:
        groups[_pair(row), row["attribution"], row["target"]][row["answers"]] = row
    kinds = ("all", "both right", "one right", "both wrong")
    return [
        {
            "arms": pair,
            "attribution": _plain(name),
            "target": target,
            "cells": [
                (words.number(row["spearman"]), words.plural(row["images"], "image"))
                for row in (found[kind] for kind in kinds if kind in found)
            ],
        }
        for (pair, name, target), found in groups.items()
    ]


def faithfulness(rows: Sequence[tables.Record]) -> View | None:
    """Rows are arms; for each attribution the two gaps to a random order."""
    if not rows:
        return None
    names = list(dict.fromkeys(row["attribution"] for row in rows))
    by_arm: dict[str, dict[str, tables.Record]] = defaultdict(dict)
    for row in rows:
        by_arm[row["arm"]][row["attribution"]] = row
    return {
        "attributions": [_plain(name) for name in names],
        "images": words.count(max(row["images"] for row in rows)),
        "weights": _weights(rows),
        "rows": [
            (words.arm_label(arm), [_gaps(found.get(name)) for name in names])
            for arm, found in by_arm.items()
        ],
        "sentences": [_faithful_sentence(name, rows) for name in names],
    }


def focus(rows: Sequence[tables.Record]) -> list[View]:
    """A table for each attribution; random weights stand last."""
    groups: dict[str, list[tables.Record]] = defaultdict(list)
    for row in rows:
        groups[row["attribution"]].append(row)
    return [
        {
            "attribution": _plain(name),
            "sentences": _focus_sentences(name, [r for r in group if r["answers"] == "all"]),
            "all": [_focus_row(row) for row in group if row["answers"] == "all"],
            "right": [_focus_row(row) for row in group if row["answers"] == "right"],
            "wrong": [_focus_row(row) for row in group if row["answers"] == "wrong"],
        }
        for name, group in groups.items()
    ]


def background(rows: Sequence[tables.Record]) -> View | None:
    """A row an arm: accuracy on every kind of picture, and what follows from it."""
    if not rows:
        return None
    return {
        "images": words.count(rows[0]["images"]),
        "weights": _weights(rows),
        "warnings": [words.sentence(line) for line in rows[0]["warnings"]],
        "sentences": [
            words.sentence(row["sentence"])
            for row in _main(rows)
            if not row["arm"].startswith("random/")
        ],
        "has_groups": any(row["worst_group"] for row in rows),
        "rows": [_background_row(row) for row in rows],
    }


def _about(found: Mapping[str, Any]) -> str:
    if not found:
        return ""
    seeds = words.listed([str(seed) for seed in found["seeds"]])
    which = "seed " + seeds if len(found["seeds"]) == 1 else "seeds " + seeds
    return (
        f"{words.plural(found['images'], 'test image')}, drawn evenly from all classes; every "
        f"arm's network of {which} with the most labels. Explained is the score of the true class, "
        "the same for every network."
    )


def _lacking(found: Mapping[str, Any]) -> list[str]:
    """Which networks lack maps of some images, a line an attribution; and why, where known."""
    networks = found.get("networks", [])
    names = dict.fromkeys(name for network in networks for name in network["without_map"])
    told = []
    for name in names:
        missing = [
            f"{network['without_map'][name]} for {_network(network)}"
            for network in networks
            if network["without_map"].get(name)
        ]
        if missing:
            images = words.plural(found["images"], "image")
            told.append(f"{_named(name)}: of {images} without a map: {'; '.join(missing)}.")
    reasons = [(_network(network), why) for network in networks for why in network["reasons"]]
    return told + [words.sentence(f"No map for {name}: {why}") for name, why in reasons]


def _network(row: tables.Record) -> str:
    return f"{words.arm_label(row['arm'])} (seed {row['seed']})"


def _weights(rows: Sequence[tables.Record]) -> str:
    """What was asked of one network an arm holds for that network."""
    return f"One network an arm was asked, of {_seeds(rows)}: this holds for these weights."


def _seeds(rows: Sequence[tables.Record]) -> str:
    seeds = sorted({row["seed"] for row in rows})
    return ("seed " if len(seeds) == 1 else "seeds ") + words.listed([str(s) for s in seeds])


def _matrix(name: str, rows: Sequence[tables.Record]) -> View:
    arms = list(dict.fromkeys(arm for row in rows for arm in (row["arm_a"], row["arm_b"])))
    found = {(row["arm_a"], row["arm_b"]): row for row in rows}
    scaled = any(row["calibrated"]["value"] is not None for row in rows)
    return {
        "attribution": _plain(name),
        "calibrated": scaled,
        "columns": [words.arm_label(arm) for arm in arms[1:]],
        "rows": [
            (
                words.arm_label(a),
                [_matrix_cell(found.get((a, b)), scaled) for b in arms[1:]],
            )
            for a in arms[:-1]
        ],
        "sentences": _likeness_sentences(rows),
    }


def _matrix_cell(row: tables.Record | None, scaled: bool) -> View | None:
    if row is None:
        return None
    found, raw, null = row["calibrated"], words.number(row["spearman"]), _null(row)
    said = SHORT[row["verdict"]]
    if not scaled:
        return {"value": raw, "ends": null, "said": "" if row["verdict"] == "no_ceiling" else said}
    if found["value"] is None:
        return {"value": words.NONE, "ends": f"raw {raw}, {null}", "said": said}
    ends = f"[{words.number(found['low'])}, {words.number(found['high'])}]"
    return {"value": words.number(found["value"]), "ends": ends, "said": said}


def _null(row: tables.Record) -> str:
    """The strongest null of a pair by name, with its rank correlation."""
    name = row["calibrated"]["null"]
    found = row["nulls"]["floor" if name == "untrained" else name]["spearman"]
    return f"{name} {words.number(found)}"


def _likeness_sentences(rows: Sequence[tables.Record]) -> list[str]:
    """One a method, against supervised training; what is the same for all pairs is said once."""
    if all(row["verdict"] == "no_ceiling" for row in rows):
        return [NO_CEILING]
    asked = [row for row in _main(rows) if SUPERVISED in (row["arm_a"], row["arm_b"])]
    return [words.sentence(row["sentence"] + _calibrated(row)) for row in asked or rows]


def _calibrated(row: tables.Record) -> str:
    """The numbers behind a sentence about two arms; "different" may still be much alike."""
    found = row["calibrated"]
    if found["value"] is None:
        return ""
    ends = f"{words.number(found['low'])}, {words.number(found['high'])}"
    told = f" (calibrated similarity {words.number(found['value'])} [{ends}])"
    less = ", less alike than two seeds of one arm" if row["verdict"] == "different" else ""
    return f"{less}{told}"


def _main(rows: Sequence[tables.Record]) -> list[tables.Record]:
    """The rows of fine-tuned arms and of supervised training; all where there are none."""
    kept = [
        row
        for row in rows
        if all(
            row[key].endswith(("/finetune", "/supervised"))
            for key in ("arm", "arm_a", "arm_b")
            if key in row
        )
    ]
    several = len({row.get("arm_b", row.get("arm")) for row in kept}) > 1
    return kept if several else list(rows)


def _beside(row: tables.Record, measure: str) -> tuple[str, str]:
    """A raw measure, and its four companions in one line."""
    told = []
    for null in NULLS:
        other = row["nulls"][null]
        told.append(f"{null} {words.number(other[measure] if other else None)}")
    return words.number(row[measure]), ", ".join(told)


def _sanity(row: tables.Record) -> str:
    name = _plain(row["attribution"])
    ends = ""
    if row["low"] is not None:
        ends = (
            f" (two seeds minus random weights: {_signed(row['difference'])} "
            f"[{_signed(row['low'])}, {_signed(row['high'])}])"
        )
    if row["complexity"]["value"] is not None:
        more = words.percent(abs(row["complexity"]["value"]))
        way = "more" if row["complexity"]["value"] >= 0 else "less"
        ends += f"; under random weights maps are {more} {way} complex"
    return words.sentence(f"{name}: {row['sentence']}{ends}")


def _gaps(row: tables.Record | None) -> View | None:
    if row is None:
        return None
    return {gap: _estimate(row[gap]) for gap in ("deletion", "insertion")}


def _faithful_sentence(name: str, rows: Sequence[tables.Record]) -> str:
    own = [r for r in rows if r["attribution"] == name and not r["arm"].startswith("random/")]
    better = [
        sum(row[gap]["low"] is not None and row[gap]["low"] > 0 for row in own)
        for gap in ("deletion", "insertion")
    ]
    return (
        f"{_named(name)}: better than a random order for {better[0]} of {len(own)} trained arms by "
        f"deletion, for {better[1]} by insertion ({_seeds(own or rows)})."
    )


def _masks(found: tables.Record | None) -> View | None:
    if found is None:
        return None
    kind = "approximate masks, made of boxes" if found["approximate"] else "masks"
    return {
        "text": (
            f"{words.plural(found['test_images'], 'test image')} have {kind} "
            f"({found['source']}); {words.count(found['images'])} of them are explained. The "
            f"object covers {words.percent(found['area'])} of these on average."
        ),
        "warnings": [words.sentence(line) for line in found["warnings"]],
        "approximate": found["approximate"],
        "overlays": found["overlays"],
    }


def _focus_sentences(name: str, rows: Sequence[tables.Record]) -> list[str]:
    """One a verdict, with all arms it is true of; the table says it arm by arm."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["verdict"]:
            groups[row["verdict"]].append(words.arm_label(row["arm"]))
    more = {
        "more": "more than an untrained network does",
        "less": "less than an untrained network does",
        "no more": "no more than an untrained network does, as far as these images can tell",
    }
    return [
        f"{_named(name)}: looking at the object {more[verdict]}: {'; '.join(groups[verdict])}."
        for verdict in more
        if verdict in groups
    ] + [
        f"{_named(name)}: not measured for {'; '.join(a)}."
        for v, a in groups.items()
        if v not in more
    ]


def _focus_row(row: tables.Record) -> View:
    return {
        "arm": words.arm_label(row["arm"]),
        "control": row["arm"].startswith("random/"),
        "share": (words.percent(row["rma"]["value"]), words.percent(row["area"]["value"])),
        "lift": _estimate(row["lift"]),
        "centre": words.number(row["centre_lift"]),
        "untrained": words.number(row["untrained_lift"]),
        "against": _estimate(row["against_untrained"], signed=True),
        "pointing": words.percent(row["pointing"]["value"]),
        "rra": words.percent(row["rra"]["value"]),
        "auc": words.number(row["auc"]["value"]),
        "images": words.count(row["images"]),
        "verdict": row["verdict"] or "",
    }


def _background_row(row: tables.Record) -> View:
    worst = row["worst_group"]
    return {
        "arm": words.arm_label(row["arm"]),
        "control": row["arm"].startswith("random/"),
        "accuracy": [words.percent(row["accuracy"][kind]["value"]) for kind in KINDS],
        "gap": _points(row["gap"]),
        "paste": _points(row["paste_cost"]),
        "skill": _points(row["skill"]),
        "skill_p": words.p_value(row["skill_p"]),
        "follows": (words.percent(row["follows"]), words.percent(row["expected"])),
        "worst": _worst(worst) if worst else ("", ""),
    }


def _worst(found: tables.Record) -> tuple[str, str]:
    """The worst group's accuracy; which it is, and what random groups would give."""
    return words.percent(found["accuracy"]), (
        f"group {found['group']}, {words.plural(found['images'], 'image')}; at random "
        f"{words.percent(found['expected'])}, p {words.p_value(found['p'])}"
    )


def _differences(rows: Sequence[tables.Record]) -> list[View]:
    return [
        {
            "arms": f"{words.arm_label(row['arm_a'])} − {words.arm_label(row['arm_b'])}",
            "difference": _points(row),
            "sentence": words.sentence(row["sentence"]),
        }
        for row in rows
    ]


def _centre(rows: Sequence[tables.Record]) -> View | None:
    if not rows:
        return None
    return {
        "weights": _weights(rows),
        "sentences": [words.sentence(row["sentence"]) for row in _main(rows)],
        "rows": [
            (
                words.arm_label(row["arm"]),
                _points(row["centre"]),
                _points(row["border"]),
                _points(row["difference"]),
            )
            for row in rows
        ],
    }


def _gallery_row(
    image: tables.Record, columns: Sequence[tuple[str, int]], names: Sequence[str]
) -> View:
    found = {(arm["arm"], arm["seed"]): arm for arm in image["arms"]}
    return {
        "id": str(image["id"]),
        "true": image["true"],
        "chosen": image["chosen"],
        "photo": image["photo"],
        "cells": [_gallery_cell(found.get(column), image["true"], names) for column in columns],
    }


def _gallery_cell(arm: tables.Record | None, true: str, names: Sequence[str]) -> View | None:
    if arm is None:
        return None
    return {
        "predicted": arm["predicted"],
        "right": arm["predicted"] == true,
        "probability": words.percent(arm["probability"]),
        "maps": [
            (_plain(name), arm["maps"].get(name), f"{arm['scale'].get(name, 0):.2g}")
            for name in names
        ],
    }


def _pair(row: tables.Record) -> str:
    return f"{words.arm_label(row['arm_a'])} and {words.arm_label(row['arm_b'])}"


def _named(name: str) -> str:
    """At the beginning of a sentence."""
    plain = _plain(name)
    return plain[0].upper() + plain[1:]


def _plain(name: str) -> str:
    return {
        "integrated_gradients": "Integrated Gradients",
        "grad_cam": "Grad-CAM",
        "smoothgrad": "SmoothGrad",
        "gradient_shap": "GradientSHAP",
    }.get(name, name.replace("_", " "))


def _estimate(found: tables.Record | None, *, signed: bool = False) -> tuple[str, str]:
    """A number and its interval, two decimals each."""
    if found is None or found["value"] is None:
        return words.NONE, ""
    write = _signed if signed else words.number
    if found["low"] is None:
        return write(found["value"]), ""
    return write(found["value"]), f"[{write(found['low'])}, {write(found['high'])}]"


def _points(found: tables.Record) -> tuple[str, str]:
    return words.points(found["value"]), words.points_bracket(found["low"], found["high"])


def _signed(value: float | None) -> str:
    text = words.number(value)
    return f"+{text}" if value is not None and float(f"{value:.2f}") > 0 else text
