"""focus: do the maps fall on the object? Shares of attribution against masks, beside three nulls.

A share on the object means nothing without the area the object covers, without what a blob in the
middle of the picture would score, and without what an untrained network scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from headstart.arms import UNTRAINED, Arm
from headstart.attributions.localisation import Localisation, centred, localise
from headstart.results import Focus, Model
from headstart.results import Interval as Limits
from headstart.runtime.run import Cell
from headstart.stages.explain.maps import TRUE, Atlas, Bools
from headstart.stages.explain.objects import Objects
from headstart.stages.explain.similarity import interval, known, mean_over
from headstart.types import Doubles

SHARES = ("rma", "rra", "pointing", "auc", "lift", "background", "area")
Which = Literal["all", "right", "wrong"]
WHICH: tuple[Which, ...] = get_args(Which)
"""All images, and by whether the network answers correctly."""

Values = Mapping[str, Doubles]


class FocusRows(Model):
    """The rows of one attribution, as they are stored."""

    rows: tuple[Focus, ...]


def focus_rows(atlas: Atlas, objects: Objects) -> tuple[Focus, ...]:
    """A row an arm and attribution, over all images, those answered correctly, and the others.

    The untrained arm has its row too. An image's values are means over the arm's seeds.
    """
    rows: list[Focus] = []
    for done, name in enumerate(atlas.attributions):
        atlas.run.tell.progress("explain: objects", done, len(atlas.attributions))
        settings = {"masks": objects.key}
        inputs = atlas.entries(name, TRUE)

        def make(name: str = name) -> FocusRows:
            return FocusRows(rows=_rows(atlas, objects.at(atlas.positions), name))

        rows += atlas.kept(f"focus-{name}", settings, inputs, make, FocusRows).rows
    atlas.run.tell.progress("explain: objects", len(atlas.attributions), len(atlas.attributions))
    return tuple(rows)


def _rows(atlas: Atlas, masks: Bools, name: str) -> tuple[Focus, ...]:
    side = atlas.data.size
    blob = np.broadcast_to(centred(side, side), masks.shape)
    centre = localise(blob, masks).lift
    localised = {
        network.cell: _localised(atlas, network.cell, name, masks) for network in atlas.networks
    }
    untrained = _mean(atlas, localised, UNTRAINED, "all")
    return tuple(
        _row(atlas, (arm, name, which), _mean(atlas, localised, arm, which), untrained, centre)
        for arm in (*atlas.arms, UNTRAINED)
        for which in WHICH
    )


def _localised(atlas: Atlas, cell: Cell, name: str, masks: Bools) -> Localisation:
    maps = atlas.maps(cell, name)
    return localise(maps.maps, masks, maps.usable)


def _mean(atlas: Atlas, localised: Mapping[Cell, Localisation], arm: Arm, which: str) -> Values:
    """Each share of each image, (M,): means over the arm's networks, of the images it counts."""
    cells = atlas.cells(arm)
    use = {cell: atlas.right(cell) ^ (which == "wrong") | (which == "all") for cell in cells}
    return {
        share: mean_over(
            [np.where(use[cell], getattr(localised[cell], share), np.nan) for cell in cells],
            len(atlas.positions),
        )
        for share in SHARES
    }


def _row(
    atlas: Atlas, about: tuple[Arm, str, Which], values: Values, untrained: Values, centre: Doubles
) -> Focus:
    from headstart.stats.focus import compare_focus, means

    arm, name, which = about
    measured = np.isfinite(values["lift"])
    shares = means(values, plan=atlas.plan)
    compared = compare_focus(values["lift"], untrained["lift"], plan=atlas.plan)
    trained = arm != UNTRAINED
    gap = Limits(
        value=known(compared.difference), low=known(compared.low), high=known(compared.high)
    )
    return Focus(
        arm=arm,
        attribution=name,
        answers=which,
        images=int(measured.sum()),
        **{share: interval(shares[share]) for share in SHARES},
        centre_lift=_mean_of(centre[measured]),
        untrained_lift=_mean_of(untrained["lift"][measured]),
        against_untrained=gap if trained else None,
        compared=compared.n if trained else None,
        compared_groups=compared.units if trained else None,
        verdict=compared.verdict if trained else None,
        sentence=None,
    )


def _mean_of(values: Doubles) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
