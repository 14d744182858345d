"""What all figures share: the colour and shape of a method, the axes, the overall style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from headstart import arms
from headstart.reporting import tables
from headstart.results import Results

if TYPE_CHECKING:
    import altair as alt

Rows = list[dict[str, Any]]

INK, QUIET, LINE, BAND = "#1F2328", "#57606A", "#D8DEE4", "#E4EAF0"
ON_LIGHT = "#1B1F24"
"""Letters on a light cell, which stay dark where the page is dark."""
SHADES = ["#F7FBFF", "#6BAED6", "#08306B"]
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

_TEXT: dict[str, Any] = {"labelFont": FONT, "titleFont": FONT, "labelColor": INK, "titleColor": INK}
_TEXT |= {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
STYLE = {
    "background": "white",
    "padding": 6,
    "aria": False,
    "font": FONT,
    "view": {"stroke": None},
    "axis": _TEXT | {"gridColor": LINE, "domainColor": LINE, "tickColor": LINE, "titlePadding": 8},
    "legend": _TEXT | {"orient": "top", "labelLimit": 260},
    "title": {"font": FONT, "fontSize": 13, "fontWeight": "bold", "color": INK, "limit": 420}
    | {"subtitleFont": FONT, "subtitleColor": QUIET},
}


@dataclass(frozen=True)
class Palette:
    """One colour and one shape a method, the same in every figure of one report."""

    methods: tuple[str, ...]

    @classmethod
    def of(cls, results: Results) -> Self:
        """The palette of every method in the results."""
        return cls(tuple(tables.methods(results)))

    def colour(self, method: str) -> str:
        """A colour as ``#RRGGBB``."""
        return arms.colour(method, self.methods)

    def shape(self, method: str) -> str:
        """A Vega symbol name."""
        return arms.shape(method, self.methods)

    def by_method(self, methods: Sequence[str], *, legend: bool = True) -> dict[str, Any]:
        """Encodings of colour and shape on the field ``name``, the methods' display names."""
        names = [arms.method_title(method) for method in methods]
        return self._encodings("name:N", names, methods, legend)

    def by_arm(self, shown: Sequence[tables.ArmSummary]) -> dict[str, Any]:
        """The same on the field ``arm``; the second arm of one method takes a spare shape."""
        names = [row.arm.label for row in shown]
        return self._encodings("arm:N", names, [row.arm.method for row in shown], True)

    def _encodings(
        self, field: str, names: Sequence[str], methods: Sequence[str], legend: bool
    ) -> dict[str, Any]:
        import altair as alt

        colours = [self.colour(method) for method in methods]
        shapes = _distinct(colours, [self.shape(method) for method in methods])
        box = alt.Legend(title=None, symbolOpacity=1) if legend else None
        return {
            "color": alt.Color(field, scale=alt.Scale(domain=names, range=colours), legend=box),
            "shape": alt.Shape(field, scale=alt.Scale(domain=names, range=shapes), legend=box),
        }


def data(rows: Iterable[Mapping[str, Any]]) -> alt.InlineData:
    """The rows as data that travel inside the specification."""
    import altair as alt

    return alt.InlineData(values=[dict(row) for row in rows])


def name_axis(**more: Any) -> alt.Axis:
    """An axis of names: no ticks, no title, long names cut with an ellipsis."""
    import altair as alt

    settings = {"ticks": False, "domain": False, "grid": False, "labelLimit": 240, **more}
    return alt.Axis(**settings)


def share_scale(ends: tuple[float, float]) -> dict[str, Any]:
    """Scale and axis of shares between the two ends, written in per cent."""
    import altair as alt

    scale = alt.Scale(domain=list(ends), nice=False)
    return {"scale": scale, "axis": alt.Axis(format="%", tickCount=6)}


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The style of the report: quiet axes, readable letters, no frame, no ARIA clutter.

    The page gives every figure one text alternative, so the marks need none. The style is set on
    the chart itself: the ``configure_*`` methods would copy all its panels once each.
    """
    chart.config = STYLE  # type: ignore[attr-defined]
    return chart


def _distinct(colours: Sequence[str], shapes: Sequence[str]) -> list[str]:
    """The shapes, but a spare one where both colour and shape have been there before."""
    spare = [shape for shape in arms.SPARE_SHAPES if shape not in shapes]
    marks = list(zip(colours, shapes, strict=True))
    return [
        spare.pop(0) if mark in marks[:i] and spare else mark[1] for i, mark in enumerate(marks)
    ]
