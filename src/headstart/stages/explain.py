"""explain: classifiers and some test images -> where they look, and what that means.

maps → likeness (of arms) · faithful (to the network) · focus (on the object) · background → gallery
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.stages.background import background_rows, centre_rows
from headstart.stages.faithful import faithfulness_rows
from headstart.stages.focus import focus_rows
from headstart.stages.gallery import draw_gallery, draw_overlays, forget_others
from headstart.stages.likeness import compare_maps
from headstart.stages.maps import TRUE, UNTRAINED, Atlas, make_maps
from headstart.stages.objects import Objects
from headstart.stages.run import Dataset, Grid, Run

NO_MASKS = (
    "Whether the networks look at the object was not measured: there are no masks. "
    "headstart explain RUN --masks FOLDER measures it."
)


@dataclass(frozen=True)
class Explained:
    """What ``results.json`` holds of explanations."""

    similarity: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    findings: dict[str, Any] | None = None


def explain(run: Run, data: Dataset, grid: Grid, objects: Objects | None = None) -> Explained:
    """Where every arm looks on a stratified sample of test images, for the true class.

    The networks are those of the first two seeds at the largest label fraction, beside two of
    random weights. ``objects`` are the masks of test images, where there are any.
    """
    if not run.study.explain.images or not run.study.explain.attributions:
        return Explained()
    atlas = make_maps(run, data, grid)
    if not atlas.arms:
        return Explained()
    likeness = compare_maps(atlas)
    findings = {
        **_about(atlas),
        "sanity": likeness.sanity,
        "faithfulness": faithfulness_rows(atlas),
        "masks": None,
        "focus": [],
        "background": [],
        "background_differences": [],
        "centre": [],
        "notes": [],
    }
    if objects is None:
        findings |= {"centre": centre_rows(atlas), "notes": [NO_MASKS]}
    else:
        findings["masks"] = _masks(atlas, objects)
        findings["focus"] = focus_rows(atlas, objects)
        findings |= background_rows(atlas, objects)
    images = draw_gallery(atlas, likeness.by_image, objects)
    forget_others(atlas, images, findings["masks"]["overlays"] if findings["masks"] else [])
    return Explained(likeness.rows, images, findings)


def _about(atlas: Atlas) -> dict[str, Any]:
    """What was explained: the images, and each network with the maps it has none of."""
    return {
        "images": len(atlas.positions),
        "ids": atlas.data.index.ids[atlas.positions].tolist(),
        "seeds": list(atlas.run.study.seeds[:2]),
        "networks": [
            {
                "arm": network.cell.arm,
                "seed": network.cell.seed,
                "right": int(atlas.right(network.cell).sum()),
                "without_map": {
                    name: int((~atlas.maps(network.cell, name).usable).sum())
                    for name in atlas.attributions
                },
                "reasons": sorted(
                    {
                        entry.info["reason"]
                        for name in atlas.attributions
                        for entry in [atlas.stored[network.cell, name, TRUE]]
                        if "reason" in entry.info
                    }
                ),
            }
            for network in atlas.networks
            if network.cell.arm != UNTRAINED or network.cell == atlas.untrained[0]
        ],
    }


def _masks(atlas: Atlas, objects: Objects) -> dict[str, Any]:
    from headstart.stats.background import too_few

    known = objects.known(atlas.positions)
    area = objects.at(atlas.positions[known]).mean(axis=(1, 2))
    return {
        "source": objects.source,
        "test_images": len(objects.masks.ids),
        "images": int(known.sum()),
        "approximate": objects.approximate,
        "area": float(np.mean(area)) if len(area) else None,
        "warnings": list(too_few(atlas.labels[known], len(atlas.data.index.classes))),
        "overlays": draw_overlays(atlas, objects) if objects.approximate else [],
    }
