"""Where encoders put the test images: a small panel an encoder, a mark an image.

Classes differ in colour and in shape, for colour-blind readers too. With many classes the largest
have colours and the others are grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.arms import Origin
from headstart.reporting import words
from headstart.reporting.marks import LINE, Rows, data, styled
from headstart.results import FeatureMap, Results

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.TopLevelMixin

NAMED = 12  # classes with a colour and a shape of their own
OTHERS = "other classes"
# Of Okabe & Ito (2008). Five shapes beside six colours: no two of 30 classes share both.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("circle", "triangle-up", "square", "diamond", "cross")
GREY = "#A6A6A6"
SIDE, COLUMNS = 250, 3


def feature_maps(results: Results) -> Chart | None:
    """Scatter plots of the images of each map, equally scaled."""
    import altair as alt

    shown = results.shown
    if shown is None or not shown.maps or not shown.maps[0].points:
        return None
    names = _names(results)
    panels = [_panel(results, one, names) for one in shown.maps]
    return styled(alt.concat(*panels, columns=COLUMNS, spacing=18))


def describe(results: Results) -> str:
    """How to read the panels."""
    maps = results.shown.maps if results.shown else ()
    if not maps:
        return ""
    few = (
        "" if len(_classes(results)) <= NAMED else f"The {NAMED - 1} largest classes have colours. "
    )
    images = words.plural(len(maps[0].points), "test image")
    how = dict.fromkeys(_HOW[one.projection] for one in maps)
    return f"{images}, seed {maps[0].seed}. {few}{' '.join(how)} {_READ}"


_HOW = {
    "pca": (
        "The two axes are the directions in which the frozen features vary most (principal "
        "components); the per cent are the share of the variance seen here."
    ),
    "umap": (
        "UMAP keeps images near each other whose frozen features are near each other; distances "
        "between groups, and their sizes, mean little."
    ),
}
_READ = (
    "Classes that lie on each other in this picture may still be apart in other directions: the "
    "scores above say whether they are."
)


def _classes(results: Results) -> list[str]:
    """The largest first."""
    return [c.name for c in sorted(results.data.classes, key=lambda c: -c.test)]


def _names(results: Results) -> dict[str, str]:
    """What each class is called in the legend."""
    classes = _classes(results)
    kept = classes if len(classes) <= NAMED else classes[: NAMED - 1]
    short = dict(zip(kept, words.shortened(kept, 22), strict=True))
    return {name: short.get(name, OTHERS) for name in classes}


def _panel(results: Results, one: FeatureMap, names: dict[str, str]) -> alt.Chart:
    import altair as alt

    scale = alt.Scale(domain=[-1.06, 1.06], nice=False)
    legend = alt.Legend(title=None, orient="top", columns=6, labelLimit=150, symbolOpacity=1)
    shown = list(dict.fromkeys(names.values()))
    about = f"{_percent(one.variance)} of the variance" if one.variance else "UMAP"
    chart: alt.Chart = (
        alt.Chart(
            data(_rows(results, one, names)),
            title=alt.Title(Origin.parse(one.method).title, subtitle=about, anchor="start"),
            view=alt.ViewConfig(stroke=LINE),
        )
        .mark_point(filled=True, size=34, opacity=0.8, aria=True)
        .encode(
            x=alt.X("x:Q", scale=scale, axis=None),
            y=alt.Y("y:Q", scale=scale, axis=None),
            color=alt.Color("name:N", scale=_scale(shown, COLOURS, GREY), legend=legend),
            shape=alt.Shape("name:N", scale=_scale(shown, SHAPES, "stroke"), legend=legend),
            description="told:N",
        )
        .properties(width=SIDE, height=SIDE)
    )
    return chart


def _scale(shown: Sequence[str], values: Sequence[str], others: str) -> alt.Scale:
    import altair as alt

    marks = [others if n == OTHERS else values[i % len(values)] for i, n in enumerate(shown)]
    return alt.Scale(domain=list(shown), range=marks)


def _rows(results: Results, one: FeatureMap, names: dict[str, str]) -> Rows:
    """The script of the page finds a mark's picture by the number in its text."""
    images = results.shown.images if results.shown else ()
    return [
        {
            "x": x,
            "y": y,
            "name": names.get(images[i].true, OTHERS),
            "told": f"{images[i].true}, image {place + 1}",
        }
        for place, (i, (x, y)) in enumerate(zip(one.shown, one.points, strict=True))
    ]


def _percent(variance: Sequence[float]) -> str:
    return words.percent(sum(variance), "{:.0f}")
