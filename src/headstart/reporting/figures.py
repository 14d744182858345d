"""One Altair specification a figure, from the results alone.

Every figure is a function ``(results) -> chart`` that returns ``None`` when the results hold
nothing to draw. Names that come from folders enter as data, never as part of an expression or a
field name, so that no class name can change what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.arms import BASELINE, MAJORITY, PROTOCOLS, method_title
from headstart.files import write_bytes
from headstart.reporting import answer_chart, feature_chart, tables, words
from headstart.reporting.marks import (
    BAND,
    INK,
    ON_LIGHT,
    QUIET,
    SHADES,
    Palette,
    Rows,
    data,
    name_axis,
    share_scale,
    styled,
)
from headstart.results import Comparison, Pretraining, Results

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.TopLevelMixin

LARGEST_MATRIX = 20  # classes; above it a matrix no longer reads on a page
MOST_CELLS = 1_600  # in the matrices of the other arms; each weighs some 250 bytes on the page
LARGEST_RECALLS = 15  # classes; above it only two arms share a row
BIGGEST_CONFUSIONS = 12
CURVE_POINTS = 120


@dataclass(frozen=True)
class Quantity:
    """One row of the health figure: a key of ``history`` and the level it is read against."""

    key: str
    title: str
    level: str = ""
    level_name: str = ""
    shared: bool = True
    zero: bool = True
    falls: bool = False
    axis: Mapping[str, Any] = field(default_factory=dict)


HEALTH = (
    Quantity("loss", "loss", "loss_floor", "trivial loss", shared=False, zero=False, falls=True),
    Quantity("lr", "learning rate"),
    Quantity("std_ratio", "√d · std"),
    Quantity("effective_rank", "effective rank"),
    Quantity(
        "knn", "k-NN score", "knn_random", "random weights", zero=False, axis={"format": "~%"}
    ),
)


def label_efficiency(results: Results) -> Chart | None:
    """Score against labels, log x; with one label fraction, one row an arm."""
    rows = [row for row in tables.summaries(results) if row.score is not None]
    rows = [row for row in rows if row.arm != MAJORITY]
    if not rows:
        return None
    several = len({row.labels for row in rows}) > 1 and len(tables.fractions(results)) > 1
    return styled(_curves(results, rows) if several else _dots(results, rows))


def differences(results: Results) -> Chart | None:
    """Forest plot against supervised training, with the band of differences that do not matter."""
    import altair as alt

    known = [entry for entry in tables.against_supervised(results) if _measured(entry)]
    if not known:
        return None
    ends = [abs(getattr(entry, end)) for entry in known for end in ("low", "high", "difference")]
    reach = 105 * max(*ends, 2 * tables.margin(results))
    fractions = sorted({entry.fraction for entry in known})
    panels = []
    for fraction in fractions:
        title = "difference to supervised training in points, with 95 % interval"
        x = alt.X(
            "difference:Q",
            title=title if fraction == fractions[-1] else None,
            scale=alt.Scale(domain=[-reach, reach], nice=False),
            axis=alt.Axis(labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')"),
        )
        panels.append(_forest(results, [e for e in known if e.fraction == fraction], x))
    return styled(alt.vconcat(*panels, spacing=14))


def seeds(results: Results) -> Chart | None:
    """Every seed's difference to supervised training with the same seed, beside the interval."""
    import altair as alt

    known = [entry for entry in tables.against_supervised(results) if _measured(entry)]
    known = [e for e in known if e.arm_a.protocol == answer_chart.main_protocol(results)]
    dots = [row for entry in known for row in _seed_rows(results, entry)]
    if len(tables.seeds(results)) < 2 or not dots:
        return None
    styles = Palette.of(results).by_method(list(dict.fromkeys(e.arm_a.method for e in known)))
    ends = [row["points"] for row in dots] + [
        100 * end for e in known for end in (e.low, e.high) if end is not None
    ]
    pad = 0.05 * (max(ends) - min(ends)) or 1.0
    scale = alt.Scale(domain=[min(*ends, 0) - pad, max(*ends, 0) + pad], nice=False)
    fractions = sorted({entry.fraction for entry in known})
    panels = []
    for fraction in fractions:
        title = "points above or below supervised training with the same seed"
        x = alt.X("points:Q", title=title if fraction == fractions[-1] else None, scale=scale)
        own = [row for row in dots if row["fraction"] == fraction]
        y = alt.Y("arm:N", sort=[row["arm"] for row in own], title=None, axis=name_axis())
        colour = {"color": styles["color"].legend(None)}
        spans = [_forest_row(entry) for entry in known if entry.fraction == fraction]
        layers = [
            alt.Chart(data([{"zero": 0}])).mark_rule(color=QUIET).encode(x="zero:Q"),
            alt.Chart(data(spans))
            .mark_rule(strokeWidth=9, opacity=0.18)
            .encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, **colour),
            alt.Chart(data(own))
            .mark_point(filled=True, size=60, opacity=0.9, aria=True)
            .encode(x=x, y=y, description="told:N", **colour),
        ]
        name = alt.Title(words.fraction_name(fraction), anchor="start")
        panels.append(alt.layer(*layers, title=name).properties(width=420, height=alt.Step(24)))
    return styled(alt.vconcat(*panels, spacing=14))


def _seed_rows(results: Results, entry: Comparison) -> Rows:
    """A row a seed that both arms have."""
    metric = tables.primary_metric(results)
    scores = {
        (cell.arm, cell.seed): tables.score_of(cell, metric)
        for cell in results.arms
        if cell.label_fraction == entry.fraction and cell.status == "ok"
    }
    rows = []
    for seed in tables.seeds(results):
        a, b = scores.get((entry.arm_a, seed)), scores.get((entry.arm_b, seed))
        if a is not None and b is not None:
            gap = words.points(a - b)
            rows.append(
                {
                    "name": method_title(entry.arm_a.method),
                    "arm": entry.arm_a.label,
                    "fraction": entry.fraction,
                    "points": 100 * (a - b),
                    "told": f"{entry.arm_a.label}, seed {seed}: {gap}",
                }
            )
    return rows


def confusion_matrices(results: Results) -> Chart | None:
    """Row-normalised matrices with counts; with many classes the biggest confusions instead."""
    import altair as alt

    arms = tables.best_arms(results)
    classes = [entry.name for entry in results.data.classes]
    if not arms or len(classes) < 2:
        return None
    if len(classes) > LARGEST_MATRIX:
        return _confusions(results, arms, words.shortened(classes, 24))
    size = max(24, min(48, 400 // len(classes)))
    panels = [_matrix(arm, words.shortened(classes, 20), size) for arm in arms]
    columns = 2 if len(classes) <= 12 else 1
    return styled(alt.concat(*panels, columns=columns, spacing=24).resolve_scale(color="shared"))


def other_matrices(results: Results) -> Chart | None:
    """The matrices of the arms that ``confusion_matrices`` leaves out, small."""
    import altair as alt

    arms = arms_in_other_matrices(results)
    if not arms:
        return None
    classes = [entry.name for entry in results.data.classes]
    size = max(15, min(32, 230 // len(classes)))
    panels = [_matrix(arm, words.shortened(classes, 14), size) for arm in arms]
    joined = alt.concat(*panels, columns=3 if len(classes) <= 12 else 2, spacing=12)
    return styled(joined.resolve_scale(color="shared"))


def arms_in_other_matrices(results: Results) -> list[tables.ArmSummary]:
    """All of them, or with many cells those with the highest scores, in the usual order."""
    arms, classes = tables.other_arms(results), len(results.data.classes)
    if not 2 <= classes <= LARGEST_MATRIX:
        return []
    best = sorted(arms, key=lambda row: -(row.score or 0.0))[: MOST_CELLS // classes**2]
    return [row for row in arms if row in best]


def per_class_recall(results: Results) -> Chart | None:
    """Recall of every class with its Wilson interval (Wilson 1927), arms side by side."""
    import altair as alt

    arms = _recall_arms(results)
    rows = [
        {"arm": arm.arm.label, **_ends(entry)}
        for arm in arms
        for entry in tables.recalls(arm)
        if entry["recall"] is not None
    ]
    if not rows:
        return None
    full = list(dict.fromkeys(row["class"] for row in rows))
    short = dict(zip(full, words.shortened(full, 32), strict=True))
    rows = [{**row, "class": short[row["class"]], "told": _recall_told(row)} for row in rows]
    styles = Palette.of(results).by_arm(arms)
    x = alt.X("low:Q", title="recall, with 95 % Wilson interval", **share_scale((0, 1)))
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("class:N", sort=list(short.values()), title=None, axis=name_axis()),
        yOffset=alt.YOffset("arm:N", sort=styles["color"]["scale"]["domain"]),
        color=styles["color"],
    )
    intervals = base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(x=x, x2="high:Q")
    marks = base.mark_point(filled=True, size=45, opacity=1, aria=True).encode(
        x="mean:Q", shape=styles["shape"], description="told:N"
    )
    step = alt.Step(max(9, 28 // len(arms)), **{"for": "offset"})
    return styled(alt.layer(intervals, marks).properties(width=380, height=step))


def pretraining_health(results: Results) -> Chart | None:
    """Small multiples: one column a method, one row a quantity, one line a seed."""
    import altair as alt

    runs = [run for run in results.pretraining if run.history]
    shown = [quantity for quantity in HEALTH if _values(quantity, runs)]
    if not shown:
        return None
    palette = Palette.of(results)
    names = [m for m in palette.methods if any(run.method == m for run in runs)]
    last = max(moment.epoch for run in runs for moment in run.history)
    panels = []
    for quantity in shown:
        for method in names:
            own = [run for run in runs if run.method == method]
            ends = _domain(quantity, runs if quantity.shared else own)
            x = alt.X(
                "epoch:Q",
                title="epoch" if quantity is shown[-1] else None,
                scale=alt.Scale(domain=[0, last or 1], nice=False),
                axis=alt.Axis(tickCount=4, format="~f"),
            )
            y = alt.Y(
                "value:Q",
                title=quantity.title if method == names[0] else None,
                scale=alt.Scale(domain=list(ends), nice=False),
                axis=alt.Axis(tickCount=3, **quantity.axis),
            )
            layers = [
                *_level(quantity, own, y),
                *(mark.encode(x=x, y=y) for mark in _lines(quantity, own, palette.colour(method))),
            ]
            title = method_title(method) if quantity is shown[0] else ""
            width = max(150, min(420, 800 // len(names)))
            panels.append(alt.layer(*layers, width=width, height=96, title=title))
    gaps = alt.RowColnumber(row=34, column=52)
    return styled(alt.concat(*panels, columns=len(names), spacing=gaps, bounds="flush"))


FIGURES: Mapping[str, Callable[[Results], Chart | None]] = {
    "answer": answer_chart.answer,
    "answer_narrow": answer_chart.answer_narrow,
    "label_efficiency": label_efficiency,
    "differences": differences,
    "seeds": seeds,
    "confusion_matrices": confusion_matrices,
    "other_matrices": other_matrices,
    "per_class_recall": per_class_recall,
    "feature_maps": feature_chart.feature_maps,
    "pretraining_health": pretraining_health,
}


SUFFIXES = (".svg", ".png", ".pdf")


def svg(chart: Chart) -> str:
    """The chart as SVG text, drawn without network."""
    import altair as alt
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    # Tests hold the charts to the schema; here it would only cost time.
    drawn: str = vl_convert.vegalite_to_svg(
        chart.to_dict(validate=False), vl_version=version, allowed_base_urls=[]
    )
    return drawn


def save(chart: Chart, folder: Path, name: str) -> str:
    """Write the chart as SVG, PNG (two pixels a point) and PDF; return the SVG text."""
    import vl_convert

    drawn = svg(chart)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / f"{name}.svg", drawn.encode())
    write_bytes(folder / f"{name}.png", vl_convert.svg_to_png(drawn, scale=2))
    write_bytes(folder / f"{name}.pdf", vl_convert.svg_to_pdf(drawn))
    return drawn


def _curves(results: Results, rows: Sequence[tables.ArmSummary]) -> Chart:
    import altair as alt

    protocols = [p for p in PROTOCOLS if any(row.arm.protocol == p for row in rows)]
    panels = [p for p in protocols if p != BASELINE.protocol] or protocols
    charts = [
        _curve_panel(
            results, rows, [row for row in rows if row.arm.protocol in (panel, BASELINE.protocol)]
        ).properties(
            width=max(250, min(560, 900 // len(panels))),
            height=300,
            title=PROTOCOLS[panel].title,
        )
        for panel in panels
    ]
    joined: Chart = alt.hconcat(*charts, spacing=24).resolve_scale(color="shared", shape="shared")
    return joined


def _curve_panel(
    results: Results,
    everything: Sequence[tables.ArmSummary],
    rows: Sequence[tables.ArmSummary],
) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    labels = sorted({row.labels for row in everything})
    x = alt.X(
        "labels:Q",
        title="labelled images used (log scale)",
        scale=alt.Scale(type="log", domain=[labels[0] / 1.15, labels[-1] * 1.15], nice=False),
        axis=alt.Axis(values=labels, format=",d", labelOverlap="greedy"),
    )
    y = {"title": words.METRICS[rows[0].metric], **share_scale(_reach(results, everything))}
    shown = list(dict.fromkeys(row.arm.method for row in everything))
    styles = Palette.of(results).by_method(shown)
    base = alt.Chart(data(_means(rows))).encode(x=x, color=styles["color"])
    lines = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", **y))
    means = base.mark_point(filled=True, size=70, opacity=1, aria=True).encode(
        y=alt.Y("mean:Q", **y), shape=styles["shape"], description="told:N"
    )
    dots = (
        alt.Chart(data(_seed_scores(rows)))
        .mark_circle(size=22, opacity=0.45)
        .encode(x=x, y=alt.Y("score:Q", **y), color=styles["color"])
    )
    guessing = alt.Chart(data(_chance(results)))
    rules = guessing.mark_rule(strokeDash=[5, 4], color=QUIET).encode(y=alt.Y("at:Q", **y))
    text = guessing.mark_text(align="left", baseline="top", dx=4, dy=4, fontSize=11, color=QUIET)
    text = text.encode(y=alt.Y("at:Q", **y), x=alt.value(0), text="name:N")
    return alt.layer(rules, text, lines, dots, means)


def _dots(results: Results, rows: Sequence[tables.ArmSummary]) -> Chart:
    import altair as alt

    order = [row.arm.label for row in rows]
    title = f"{words.METRICS[rows[0].metric]}, {words.fraction_name(rows[0].fraction)}"
    x = {"title": title, **share_scale(_reach(results, rows))}
    y = alt.Y("arm:N", sort=order, title=None, axis=name_axis())
    shown = list(dict.fromkeys(row.arm.method for row in rows))
    styles = Palette.of(results).by_method(shown, legend=False)
    base = alt.Chart(data(_means(rows))).encode(y=y, color=styles["color"])
    intervals = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=alt.X("low:Q", **x), x2="high:Q"
    )
    means = base.mark_point(filled=True, size=90, opacity=1, aria=True).encode(
        x=alt.X("mean:Q", **x), shape=styles["shape"], description="told:N"
    )
    seeds = (
        alt.Chart(data(_seed_scores(rows)))
        .mark_tick(thickness=1.5, size=13, opacity=0.9)
        .encode(y=y, x=alt.X("score:Q", **x), color=styles["color"])
    )
    guessing = alt.Chart(data(_chance(results)))
    rules = guessing.mark_rule(strokeDash=[5, 4], color=QUIET).encode(x=alt.X("at:Q", **x))
    text = guessing.mark_text(align="left", baseline="bottom", dx=-4, dy=-3, fontSize=11)
    text = text.encode(x=alt.X("at:Q", **x), y=alt.value(0), text="name:N", color=alt.value(QUIET))
    layers = alt.layer(rules, text, intervals, seeds, means)
    return layers.properties(width=360, height=alt.Step(26))


def _chance(results: Results) -> Rows:
    """Guessing scores 1/K in balanced accuracy, and so does always naming one class."""
    classes = len(results.data.classes)
    balanced = tables.primary_metric(results) == "balanced_accuracy"
    guessing = 1 / classes if classes and balanced else None
    majority = [row.score for row in tables.summaries(results) if row.arm == MAJORITY]
    largest = next((score for score in majority if score is not None), None)
    if guessing is not None and largest is not None and math.isclose(guessing, largest):
        return [{"at": guessing, "name": "guessing, or always the largest class"}]
    lines = {"guessing": guessing, "always the largest class": largest}
    return [{"at": at, "name": name} for name, at in lines.items() if at is not None]


def _forest(
    results: Results, entries: Sequence[Comparison], x: alt.X
) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    rows = [_forest_row(entry) for entry in entries]
    keys = list(dict.fromkeys(entry.arm_a.method for entry in entries))
    styles = Palette.of(results).by_method(keys, legend=False)
    y = alt.Y("arm:N", sort=[row["arm"] for row in rows], title=None, axis=name_axis())
    base = alt.Chart(data(rows)).encode(y=y)
    band = 100 * tables.margin(results)
    layers = [
        alt.Chart(data([{"low": -band, "high": band}]))
        .mark_rect(color=BAND)
        .encode(x="low:Q", x2="high:Q"),
        alt.Chart(data([{"zero": 0}])).mark_rule(color=QUIET).encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2.5).encode(x="low:Q", x2="high:Q", color=styles["color"]),
        base.mark_point(filled=True, size=80, opacity=1, aria=True).encode(
            x=x, description="told:N", **styles
        ),
        *(
            base.mark_text(align="left", fontSize=12, color=INK).encode(x=alt.value(at), text=text)
            for at, text in ((300, "text:N"), (418, "verdict:N"))
        ),
    ]
    title = alt.Title(words.fraction_name(entries[0].fraction), anchor="start")
    return alt.layer(*layers).properties(width=290, height=alt.Step(25), title=title)


def _forest_row(entry: Comparison) -> dict[str, Any]:
    ends = words.points_bracket(entry.low, entry.high)
    return {
        "name": method_title(entry.arm_a.method),
        "arm": entry.arm_a.label,
        "text": f"{words.points(entry.difference)} {ends}",
        "told": answer_chart.difference_told(entry),
        "verdict": entry.verdict,
        **{key: 100 * getattr(entry, key) for key in ("difference", "low", "high")},
    }


def _matrix(
    arm: tables.ArmSummary, classes: Sequence[str], size: int
) -> alt.LayerChart | alt.FacetChart:
    """A square a cell, ``size`` pixels wide."""
    import altair as alt

    base = alt.Chart(data(_cells(arm, classes))).encode(
        x=alt.X("predicted:N", sort=classes, axis=name_axis(labelAngle=-45)),
        y=alt.Y("true:N", sort=classes, axis=name_axis()),
    )
    shade = alt.Color(
        "share:Q",
        title="share of the true class",
        scale=alt.Scale(range=SHADES, domain=[0, 0.5, 1]),
        legend=alt.Legend(format="~%", orient="bottom", gradientLength=180, tickCount=3),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1, aria=True).encode(
        color=shade, description="told:N"
    )
    counts = (
        base.transform_filter("datum.n > 0")
        .mark_text(fontSize=11 if size > 28 else 9.5 if size > 20 else 7.5)
        .encode(
            text="n:Q",
            color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value(ON_LIGHT)),
        )
    )
    title = f"{arm.arm.label} ({words.percent(arm.score)})"
    steps = {"width": alt.Step(size), "height": alt.Step(size)}
    return alt.layer(cells, counts).properties(title=title, **steps)


def _cells(arm: tables.ArmSummary, classes: Sequence[str]) -> Rows:
    return [
        {
            "true": true,
            "predicted": predicted,
            "n": n,
            "share": n / max(1, sum(counts)),
            "told": f"{true} called {predicted}: {n} of {sum(counts)}",
        }
        for true, counts in zip(classes, tables.confusion(arm), strict=True)
        for predicted, n in zip(classes, counts, strict=True)
    ]


def _confusions(
    results: Results, arms: Sequence[tables.ArmSummary], classes: Sequence[str]
) -> Chart | None:
    import altair as alt

    pairs = tables.biggest_confusions(arms, BIGGEST_CONFUSIONS)
    names = [f"{classes[true]} → {classes[predicted]}" for true, predicted in pairs]
    rows: Rows = [
        {
            "pair": name,
            "share": share,
            "arm": arm.arm.label,
            "told": f"{arm.arm.label}, {name}: {words.percent(share)}",
        }
        for arm in arms
        for name, share in zip(names, tables.mistake_shares(arm, pairs), strict=True)
    ]
    if not rows:
        return None
    top = 1.05 * max(float(row["share"]) for row in rows)
    x = alt.X(
        "share:Q", title="share of the true class named so", **share_scale((-0.03 * top, top))
    )
    axis = name_axis(labelLimit=340, grid=True)
    chart = (
        alt.Chart(data(rows), title=alt.Title("true class → what it was called", anchor="start"))
        .mark_point(filled=True, size=80, opacity=0.9, aria=True)
        .encode(
            x=x,
            description="told:N",
            y=alt.Y("pair:N", sort=names, title=None, axis=axis),
            **Palette.of(results).by_arm(arms),
        )
    )
    return styled(chart.properties(width=340, height=alt.Step(25)))


def _recall_arms(results: Results) -> list[tables.ArmSummary]:
    arms = tables.best_arms(results)
    if len(results.data.classes) <= LARGEST_RECALLS:
        return arms
    candidates = [arm for arm in arms if arm.pretrained]
    return candidates[:1] + [arm for arm in arms if arm.arm.method == BASELINE.method]


def _lines(quantity: Quantity, runs: Sequence[Pretraining], colour: str) -> list[alt.Chart]:
    import altair as alt

    curves = [(run, _curve(quantity, run)) for run in runs]
    rows = [row for _, curve in curves for row in curve]
    stops = [curve[-1] for run, curve in curves if curve and run.status != "ok"]
    lines = alt.Chart(data(rows)).mark_line(strokeWidth=1.6, opacity=0.85, color=colour)
    crosses = alt.Chart(data(stops)).mark_point(shape="cross", filled=True, angle=45, size=90)
    return [lines.encode(detail="seed:N"), crosses.encode(color=alt.value(INK))]


def _curve(quantity: Quantity, run: Pretraining) -> Rows:
    """At most ``CURVE_POINTS`` points, evenly spaced, the last one always among them."""
    known = [moment for moment in run.history if getattr(moment, quantity.key) is not None]
    if len(known) > CURVE_POINTS:
        step = (len(known) - 1) / (CURVE_POINTS - 1)
        known = [known[round(i * step)] for i in range(CURVE_POINTS)]
    return [
        {"epoch": moment.epoch, "value": getattr(moment, quantity.key), "seed": run.seed}
        for moment in known
    ]


def _level(quantity: Quantity, runs: Sequence[Pretraining], y: alt.Y) -> list[alt.Chart]:
    """The dashed line a quantity is read against, named on the side that has room."""
    import altair as alt

    levels = _levels(quantity, runs)
    if not levels:
        return []
    level = sum(levels) / len(levels)
    high = level > sum(y["scale"]["domain"]) / 2
    left = quantity.falls and not high  # a falling curve leaves the corner at its start free
    base = alt.Chart(data([{"value": level, "name": quantity.level_name}])).encode(y=y)
    text = base.mark_text(
        align="left" if left else "right",
        baseline="top" if high else "bottom",
        dx=3 if left else -3,
        dy=4 if high else -3,
        fontSize=11,
        color=QUIET,
    )
    text = text.encode(x=alt.value(0 if left else "width"), text="name:N")
    return [base.mark_rule(strokeDash=[5, 4], color=QUIET), text]


def _domain(quantity: Quantity, runs: Sequence[Pretraining]) -> tuple[float, float]:
    values = _values(quantity, runs) + _levels(quantity, runs) + [0.0] * quantity.zero
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.1 * (high - low) or 0.5
    return (low if quantity.zero and low == 0 else low - pad), high + pad


def _values(quantity: Quantity, runs: Iterable[Pretraining]) -> list[float]:
    values = (getattr(moment, quantity.key) for run in runs for moment in run.history)
    return [value for value in values if value is not None]


def _levels(quantity: Quantity, runs: Iterable[Pretraining]) -> list[float]:
    values = (getattr(run, quantity.level) for run in runs if quantity.level)
    return [value for value in values if value is not None]


def _means(summaries: Iterable[tables.ArmSummary]) -> Rows:
    bars = []
    for row in summaries:
        low, high = row.interval.get(row.metric, (row.score, row.score))
        told = answer_chart.score_told(row)
        bars.append({**_named(row), "mean": row.score, "low": low, "high": high, "told": told})
    return bars


def _seed_scores(rows: Iterable[tables.ArmSummary]) -> Rows:
    return [{**_named(row), "score": score} for row in rows for score in row.scores]


def _named(row: tables.ArmSummary) -> dict[str, Any]:
    return {
        "name": method_title(row.arm.method),
        "arm": row.arm.label,
        "labels": row.labels,
    }


def _ends(entry: Mapping[str, Any]) -> dict[str, Any]:
    low, high = entry["interval"] or (entry["recall"], entry["recall"])
    return {"class": entry["class"], "mean": entry["recall"], "low": low, "high": high}


def _recall_told(row: Mapping[str, Any]) -> str:
    ends = words.bracket((row["low"], row["high"]))
    return f"{row['class']}, {row['arm']}: {words.percent(row['mean'])} {ends}"


def _reach(results: Results, rows: Sequence[tables.ArmSummary]) -> tuple[float, float]:
    ends = [end for row in rows for end in (*row.interval.get(row.metric, ()), *row.scores)]
    ends += [line["at"] for line in _chance(results)]
    return max(-1.0, min(ends) - 0.05), min(1.0, max(ends) + 0.02)


def _measured(entry: Comparison) -> bool:
    return all(getattr(entry, key) is not None for key in ("difference", "low", "high"))
