"""The picture beside the headline: what labels buy, or with one amount of them who won.

Two widths of one picture: for a page or a two-column figure, and for a phone or a narrow column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.arms import BASELINE, BASELINES, PROTOCOLS, UNTRAINED, Arm, method_title
from headstart.reporting import tables, words
from headstart.reporting.marks import BAND, INK, Palette, Rows, data, share_scale, styled
from headstart.results import Comparison, LabelSaving, Results

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.TopLevelMixin

MOST_BANDS = 4
MOST_ROWS = 8
APART = 15  # pixels between two names


@dataclass(frozen=True)
class Size:
    """Of the plotting area in pixels; ``name`` is how many letters of a name have room."""

    width: int
    height: int
    name: int
    beside: bool
    """Whether the names stand at the ends of the lines, or in a legend."""


WIDE = Size(width=440, height=310, name=24, beside=True)
NARROW = Size(width=285, height=250, name=22, beside=False)


def answer(results: Results) -> Chart | None:
    """The label curves of the main protocol, or with one amount of labels the differences."""
    return _draw(results, WIDE)


def answer_narrow(results: Results) -> Chart | None:
    """The same, one column wide."""
    return _draw(results, NARROW)


def score_told(row: tables.ArmSummary) -> str:
    """What the tooltip of a score says."""
    ends = words.bracket(row.interval.get(row.metric))
    labels = words.plural(row.labels, "label")
    return f"{row.arm.label}, {labels}: {words.percent(row.score)} {ends}".rstrip()


def describe(results: Results) -> str:
    """The picture in words, for those who do not see it: every number that it shows."""
    if len(tables.fractions(results)) > 1:
        return "; ".join(score_told(row) for row in _curve_rows(results))
    compared = [row for row in tables.against_supervised(results) if row.difference is not None]
    return "; ".join(difference_told(row) for row in _shown(results, compared))


def difference_told(entry: Comparison) -> str:
    """What the tooltip of a difference says."""
    ends = words.points_bracket(entry.low, entry.high)
    return f"{entry.arm_a.label}: {words.points(entry.difference)} {ends}, {entry.verdict}"


def without_verdict(results: Results) -> set[tuple[Arm, float]]:
    """Arms and amounts of labels of which nothing may be concluded."""
    blocked = {
        (row.arm_a, row.fraction)
        for row in tables.against_supervised(results)
        if row.verdict == "no verdict"
    }
    late = [row for row in results.gates if row.gate == "G10" and row.result == "FAIL"]
    return blocked | {
        (Arm.parse(row.arm), row.fraction) for row in late if row.arm and row.fraction
    }


def saves_labels(results: Results) -> bool:
    """Whether an arrow of labels saved is drawn."""
    rows = _curve_rows(results)
    return len(tables.fractions(results)) > 1 and bool(rows) and any(_savings(results, rows))


def has_bands(results: Results) -> bool:
    """Whether intervals are drawn as bands: only few do not hide each other."""
    return len({row.arm for row in _curve_rows(results)}) <= MOST_BANDS


def main_protocol(results: Results) -> str:
    """The protocol of the headline: the first that was compared with supervised training."""
    compared = tables.against_supervised(results)
    return compared[0].arm_a.protocol if compared else "finetune"


def _draw(results: Results, size: Size) -> Chart | None:
    if len(tables.fractions(results)) > 1:
        rows = _curve_rows(results)
        return styled(_curves(results, rows, size)) if rows else None
    compared = [row for row in tables.against_supervised(results) if row.difference is not None]
    return styled(_forest(results, compared, size)) if compared else None


# --- curves ------------------------------------------------------------------------------------


def _curve_rows(results: Results) -> list[tables.ArmSummary]:
    protocol = main_protocol(results)
    return [
        row
        for row in tables.summaries(results)
        if row.score is not None
        and (row.arm in (BASELINE, UNTRAINED) or (row.pretrained and row.arm.protocol == protocol))
    ]


def _curves(results: Results, rows: Sequence[tables.ArmSummary], size: Size) -> Chart:
    import altair as alt

    labels = sorted({row.labels for row in rows})
    low, high = _reach(rows)
    x = alt.X(
        "labels:Q",
        title="labelled images (log scale)",
        scale=alt.Scale(type="log", domain=[labels[0] / 1.06, labels[-1] * 1.06], nice=False),
        axis=alt.Axis(values=labels, format=",d", labelOverlap="greedy", grid=False),
    )
    title = f"{words.METRICS[rows[0].metric]} on test images"
    y = alt.Y("mean:Q", title=title, **share_scale((low, high)))
    arms = list(dict.fromkeys(row.arm for row in rows))
    styles = Palette.of(results).by_method([a.method for a in arms], legend=not size.beside)
    if not size.beside:
        styles = {key: _two_columns(value) for key, value in styles.items()}
    invalid = without_verdict(results)
    points = [{**_point(row), "open": (row.arm, row.fraction) in invalid} for row in rows]
    base = alt.Chart(data(points)).encode(x=x, color=styles["color"])
    layers: list[alt.Chart] = [
        _spread(base, len(arms), y["scale"]),
        base.mark_line(strokeWidth=2.5).encode(
            y=y,
            strokeDash=alt.condition("datum.control", alt.value([4, 3]), alt.value([1, 0])),
        ),
        *(_points(points, opened, x, y, styles) for opened in (False, True)),
    ]
    if size.beside:
        layers += _names(rows, size, (low, high), styles)
    layers += _arrows(results, rows, x, y)
    joined: Chart = alt.layer(*layers).properties(width=size.width, height=size.height)
    return joined


def _points(points: Rows, opened: bool, x: alt.X, y: alt.Y, styles: Mapping[str, Any]) -> alt.Chart:
    """The scores; hollow where there is no verdict."""
    import altair as alt

    chart = alt.Chart(data([point for point in points if point["open"] == opened]))
    hollow = {"fill": "#FFFFFF", "strokeWidth": 2.2} if opened else {"filled": True}
    mark = chart.mark_point(size=75, opacity=1, aria=True, **hollow)
    drawn: alt.Chart = mark.encode(x=x, y=y, description="told:N", **styles)
    return drawn


def _two_columns(channel: Any) -> Any:
    import altair as alt

    return channel.legend(
        alt.Legend(title=None, symbolOpacity=1, columns=2, orient="top", labelLimit=130)
    )


def _point(row: tables.ArmSummary) -> dict[str, Any]:
    low, high = row.interval.get(row.metric, (row.score, row.score))
    return {
        "name": method_title(row.arm.method),
        "labels": row.labels,
        "mean": row.score,
        "low": low,
        "high": high,
        "told": score_told(row),
        "control": row.arm == UNTRAINED,
    }


def _spread(base: alt.Chart, arms: int, scale: alt.Scale) -> alt.Chart:
    """Intervals as bands; as lines where bands would only be mud."""
    import altair as alt

    banded = arms <= MOST_BANDS
    mark = base.mark_area(opacity=0.16) if banded else base.mark_rule(strokeWidth=2, opacity=0.35)
    drawn: alt.Chart = mark.encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    return drawn


def _reach(rows: Sequence[tables.ArmSummary]) -> tuple[float, float]:
    ends = [end for row in rows for end in row.interval.get(row.metric, (row.score or 0.0,))]
    pad = 0.06 * max(max(ends) - min(ends), 0.1)
    return max(-1.0, min(ends) - pad), min(1.0, max(ends) + 2 * pad)


def _names(
    rows: Sequence[tables.ArmSummary], size: Size, ends: tuple[float, float], styles: Any
) -> list[alt.Chart]:
    """Every line's symbol and name at its end, moved apart where two would touch."""
    import altair as alt

    last: dict[Arm, tables.ArmSummary] = {row.arm: row for row in rows}
    by_height = sorted(last.values(), key=lambda row: -(row.score or 0.0))
    places = _apart([_pixel(row.score or 0.0, size.height, ends) for row in by_height], size.height)
    titles = [method_title(row.arm.method) for row in by_height]
    shown = words.shortened(titles, size.name)
    low, high = ends
    named = [
        {"name": title, "short": short, "at": high - place / size.height * (high - low)}
        for title, short, place in zip(titles, shown, places, strict=True)
    ]
    base = alt.Chart(data(named)).encode(y=alt.Y("at:Q", **share_scale(ends)))
    text = base.mark_text(align="left", baseline="middle", fontSize=12.5, color=INK)
    return [
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=alt.value(size.width + 14), **styles
        ),
        text.encode(x=alt.value(size.width + 23), text="short:N"),
    ]


def _pixel(value: float, height: int, ends: tuple[float, float]) -> float:
    low, high = ends
    return height * (1 - (value - low) / (high - low))


def _apart(places: Sequence[float], height: int) -> list[float]:
    """The same places, top to bottom, at least ``APART`` pixels from each other."""
    placed: list[float] = []
    for place in places:
        placed.append(max(place, placed[-1] + APART) if placed else place)
    lowest = height + APART / 2
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], lowest)
        lowest = placed[i] - APART
    return placed


def _arrows(
    results: Results, rows: Sequence[tables.ArmSummary], x: alt.X, y: alt.Y
) -> list[alt.Chart]:
    """Labels saved, as the way from a candidate to where supervised training does as well."""
    import altair as alt

    found = list(_savings(results, rows))
    if not found:
        return []
    base = alt.Chart(data(found)).encode(y=y)
    shaft = base.mark_rule(strokeWidth=1.6, color=INK).encode(x=x, x2="needed:Q")
    head = base.mark_point(
        shape="triangle-right", filled=True, size=80, color=INK, opacity=1, aria=True
    ).encode(x=alt.X("needed:Q", scale=x["scale"]), description="told:N")
    text = base.mark_text(align="center", baseline="top", dy=6, fontSize=12, color=INK)
    return [shaft, head, text.encode(x=alt.X("middle:Q", scale=x["scale"]), text="text:N")]


def _savings(results: Results, rows: Sequence[tables.ArmSummary]) -> Iterator[dict[str, Any]]:
    from headstart.reporting.sentences.headline import firm_savings  # brings NumPy

    score = {(row.arm, row.fraction): row.score for row in rows}
    largest = max(row.labels for row in rows)
    for saving in firm_savings(results, main_protocol(results))[:3]:
        height = score.get((saving.arm_a, saving.fraction))
        if height is not None and (size := _factor(saving)):
            needed = min(saving.needed or largest, largest)
            yield {
                "labels": saving.labels,
                "needed": needed,
                "middle": (saving.labels * needed) ** 0.5,
                "mean": height,
                "text": f"{size} fewer labels",
                "told": saving.sentence,
            }


def _factor(saving: LabelSaving) -> str:
    """How many times fewer labels, as far as it may be said; empty where it may not."""
    low = saving.low if saving.low is not None else saving.largest
    if low is None or low <= saving.labels:
        return ""
    if saving.needed is not None and saving.quotable:
        return f"{saving.needed / saving.labels:.1f}×"
    return f"at least {low / saving.labels:.1f}×"


# --- differences -------------------------------------------------------------------------------


def _forest(results: Results, entries: Sequence[Comparison], size: Size) -> Chart:
    import altair as alt

    entries = _shown(results, entries)
    rows = _forest_rows(entries, size)
    band = 100 * tables.margin(results)
    ends = [0.0, -1.5 * band, 1.5 * band]
    ends += [row[key] for row in rows for key in ("low", "high")]
    pad = 0.04 * (max(ends) - min(ends))
    scale = alt.Scale(domain=[min(ends) - pad, max(ends) + pad], nice=False)
    axis = alt.Axis(
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')", tickCount=7, grid=False
    )
    x = alt.X("difference:Q", title=_forest_title(entries), scale=scale, axis=axis)
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[0, len(rows)], reverse=True))
    keys = list(dict.fromkeys(entry.arm_a.method for entry in entries))
    styles = Palette.of(results).by_method(keys, legend=False)
    base = alt.Chart(data(rows)).encode(y=y)
    zone = alt.Chart(data([{"low": -band, "high": band, "zero": 0}]))
    text = base.encode(y=alt.Y("above:Q", axis=None))
    layers = [
        zone.mark_rect(color=BAND).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        zone.mark_rule(color=INK).encode(x=alt.X("zero:Q", scale=scale)),
        base.mark_rule(strokeWidth=3).encode(
            x=alt.X("low:Q", scale=scale), x2="high:Q", color=styles["color"]
        ),
        base.mark_point(filled=True, size=110, opacity=1, aria=True).encode(
            x=x, description="told:N", **styles
        ),
        text.mark_text(align="left", fontSize=12.5, fontWeight="bold", color=INK).encode(
            x=alt.value(2), text="short:N"
        ),
        text.mark_text(align="right", fontSize=12, color=INK).encode(
            x=alt.value(size.width - 2), text="text:N"
        ),
    ]
    joined: Chart = alt.layer(*layers).properties(width=size.width, height=46 * len(rows))
    return joined


def _shown(results: Results, entries: Sequence[Comparison]) -> Sequence[Comparison]:
    """All protocols where they are few rows, else the main one."""
    if len(entries) <= MOST_ROWS:
        return entries
    return [entry for entry in entries if entry.arm_a.protocol == main_protocol(results)]


def _forest_title(entries: Iterable[Comparison]) -> str:
    arms = {entry.arm_b for entry in entries}
    name = "supervised training" if arms <= set(BASELINES) else "the baseline"
    return f"points above or below {name}, 95 % interval"


def _forest_rows(entries: Sequence[Comparison], size: Size) -> Rows:
    names = [_short_label(entry.arm_a, entries) for entry in entries]
    shown = words.shortened(names, size.name)
    rows = []
    for i, (entry, short) in enumerate(zip(entries, shown, strict=True)):
        rows.append(
            {
                "name": method_title(entry.arm_a.method),
                "short": short,
                "place": i + 0.72,
                "above": i + 0.3,
                "text": f"{words.points(entry.difference)}, {entry.verdict}",
                "told": difference_told(entry),
                **{
                    key: 100 * (getattr(entry, key) or 0.0) for key in ("difference", "low", "high")
                },
            }
        )
    return rows


def _short_label(arm: Arm, entries: Sequence[Comparison]) -> str:
    """The method alone where all rows are of one protocol."""
    one = len({entry.arm_a.protocol for entry in entries}) == 1 and arm.protocol in PROTOCOLS
    return method_title(arm.method) if one else arm.label
