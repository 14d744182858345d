"""explain: classifiers and some test images -> where they look, and what that means.

maps → likeness (of arms) · faithful (to the network) · focus (on the object) · background → gallery
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.arms import UNTRAINED
from headstart.runtime.run import Classifiers, Dataset, Explained, Run
from headstart.stages.explain.background import background_rows, centre_rows
from headstart.stages.explain.faithfulness import faithfulness_rows
from headstart.stages.explain.focus import focus_rows
from headstart.stages.explain.gallery import draw_gallery, draw_overlays, forget_others
from headstart.stages.explain.maps import TRUE, Atlas, make_maps, untrained_cells
from headstart.stages.explain.objects import Objects, find_objects
from headstart.stages.explain.one_image import ExplainedImage, explain_image
from headstart.stages.explain.similarity import compare_maps

NO_MASKS = (
    "Whether the networks look at the object was not measured: there are no masks. "
    "headstart explain RUN --masks FOLDER measures it."
)


__all__ = [
    "ExplainedImage",
    "Objects",
    "explain",
    "explain_image",
    "find_objects",
    "untrained_cells",
]


def explain(
    run: Run, data: Dataset, classifiers: Classifiers, objects: Objects | None = None
) -> Explained:
    """Where every arm looks on a stratified sample of test images, for the true class.

    The networks are those of the first two seeds at the largest label fraction, beside two of
    random weights. ``objects`` are the masks of test images, where there are any.
    """
    if not run.study.explain.images or not run.study.explain.attributions:
        return Explained()
    atlas = make_maps(run, data, classifiers)
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
                "arm": str(network.cell.arm),
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
