"""focus: do the maps fall on the object? Shares of attribution against masks, beside three nulls.

A share on the object means nothing without the area the object covers, without what a blob in the
middle of the picture would score, and without what an untrained network scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.arms import UNTRAINED, Arm
from headstart.attributions.localisation import Localisation, centred, localise
from headstart.runtime.run import Cell
from headstart.stages.explain.maps import TRUE, Atlas, Bools
from headstart.stages.explain.objects import Objects
from headstart.stages.explain.similarity import interval, known, mean_over
from headstart.types import Doubles

SHARES = ("rma", "rra", "pointing", "auc", "lift", "background", "area")
WHICH = ("all", "right", "wrong")  # all images, and by whether the network answers correctly

Values = Mapping[str, Doubles]


def focus_rows(atlas: Atlas, objects: Objects) -> list[dict[str, Any]]:
    """A row an arm and attribution, over all images, those answered correctly, and the others.

    The untrained arm has its row too. An image's values are means over the arm's seeds.
    """
    rows = []
    for done, name in enumerate(atlas.attributions):
        atlas.run.tell.progress("explain: objects", done, len(atlas.attributions))
        settings = {"masks": objects.key}
        inputs = atlas.entries(name, TRUE)

        def make(name: str = name) -> dict[str, Any]:
            return {"rows": _rows(atlas, objects.at(atlas.positions), name)}

        rows += atlas.found(f"focus-{name}", settings, inputs, make)["rows"]
    atlas.run.tell.progress("explain: objects", len(atlas.attributions), len(atlas.attributions))
    return rows


def _rows(atlas: Atlas, masks: Bools, name: str) -> list[dict[str, Any]]:
    side = atlas.data.size
    blob = np.broadcast_to(centred(side, side), masks.shape)
    centre = localise(blob, masks).lift
    found = {
        network.cell: _localised(atlas, network.cell, name, masks) for network in atlas.networks
    }
    untrained = _mean(atlas, found, UNTRAINED, "all")
    return [
        _row(atlas, (arm, name, which), _mean(atlas, found, arm, which), untrained, centre)
        for arm in (*atlas.arms, UNTRAINED)
        for which in WHICH
    ]


def _localised(atlas: Atlas, cell: Cell, name: str, masks: Bools) -> Localisation:
    maps = atlas.maps(cell, name)
    return localise(maps.maps, masks, maps.usable)


def _mean(atlas: Atlas, found: Mapping[Cell, Localisation], arm: Arm, which: str) -> Values:
    """Each share of each image, (M,): means over the arm's networks, of the images it counts."""
    cells = atlas.cells(arm)
    use = {cell: atlas.right(cell) ^ (which == "wrong") | (which == "all") for cell in cells}
    return {
        share: mean_over(
            [np.where(use[cell], getattr(found[cell], share), np.nan) for cell in cells],
            len(atlas.positions),
        )
        for share in SHARES
    }


def _row(
    atlas: Atlas, about: tuple[Arm, str, str], values: Values, untrained: Values, centre: Doubles
) -> dict[str, Any]:
    from headstart.stats.focus import compare_focus, means

    arm, name, which = about
    measured = np.isfinite(values["lift"])
    shares = means(values, plan=atlas.plan)
    compared = compare_focus(values["lift"], untrained["lift"], plan=atlas.plan)
    row: dict[str, Any] = {
        "arm": str(arm),
        "attribution": name,
        "answers": which,
        "images": int(measured.sum()),
        **{share: interval(shares[share]) for share in SHARES},
        "centre_lift": _mean_of(centre[measured]),
        "untrained_lift": _mean_of(untrained["lift"][measured]),
        "against_untrained": None,
        "verdict": None,
        "sentence": None,
    }
    if arm == UNTRAINED:
        return row
    difference = {"value": compared.difference, "low": compared.low, "high": compared.high}
    row["against_untrained"] = {key: known(value) for key, value in difference.items()}
    row["verdict"] = compared.verdict
    row["sentence"] = f"{arm.label}, {name.replace('_', ' ')}: {compared.sentence}"
    return row


def _mean_of(values: Doubles) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
