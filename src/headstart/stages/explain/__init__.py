"""explain: classifiers and some test images -> where they look, and what that means.

maps → likeness (of arms) · faithful (to the network) · focus (on the object) · background → gallery
"""

from __future__ import annotations

import numpy as np

from headstart.arms import UNTRAINED
from headstart.results import ExplainedNetwork, Explanations, MaskInfo, NotMeasured
from headstart.runtime.run import Cell, Classifiers, Dataset, Explained, Run
from headstart.stages.explain.background import BackgroundRows, background_rows, centre_rows
from headstart.stages.explain.faithfulness import faithfulness_rows
from headstart.stages.explain.focus import focus_rows
from headstart.stages.explain.gallery import draw_gallery, draw_overlays, forget_others
from headstart.stages.explain.maps import TRUE, Atlas, make_maps, untrained_cells
from headstart.stages.explain.objects import Objects, find_objects
from headstart.stages.explain.one_image import ExplainedImage, explain_image
from headstart.stages.explain.similarity import compare_maps

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
    background = BackgroundRows(not_measured=(NotMeasured(reason="no masks"),))
    if objects is not None:
        background = background_rows(atlas, objects)
    masks = _masks(atlas, objects) if objects else None
    findings = Explanations(
        images=len(atlas.positions),
        ids=tuple(atlas.data.index.ids[atlas.positions].tolist()),
        seeds=run.study.seeds[:2],
        networks=_networks(atlas),
        sanity=likeness.sanity,
        faithfulness=faithfulness_rows(atlas),
        masks=masks,
        focus=focus_rows(atlas, objects) if objects else (),
        background=background.arms,
        background_differences=background.differences,
        centre=() if objects else centre_rows(atlas),
        not_measured=background.not_measured,
    )
    images = draw_gallery(atlas, likeness.by_image, objects)
    forget_others(atlas, images, masks.overlays if masks else ())
    return Explained(likeness.rows, images, findings)


def _networks(atlas: Atlas) -> tuple[ExplainedNetwork, ...]:
    """Each explained network, with the number of images it has no map of."""
    return tuple(
        ExplainedNetwork(
            arm=network.cell.arm,
            seed=network.cell.seed,
            right=int(atlas.right(network.cell).sum()),
            without_map={
                name: int((~atlas.maps(network.cell, name).usable).sum())
                for name in atlas.attributions
            },
            reasons=_reasons(atlas, network.cell),
        )
        for network in atlas.networks
        if network.cell.arm != UNTRAINED or network.cell == atlas.untrained[0]
    )


def _reasons(atlas: Atlas, cell: Cell) -> tuple[str, ...]:
    """Why a network has no maps, each reason once."""
    entries = [atlas.stored[cell, name, TRUE] for name in atlas.attributions]
    return tuple(sorted({entry.info["reason"] for entry in entries if "reason" in entry.info}))


def _masks(atlas: Atlas, objects: Objects) -> MaskInfo:
    from headstart.stats.background import too_few

    known = objects.known(atlas.positions)
    area = objects.at(atlas.positions[known]).mean(axis=(1, 2))
    return MaskInfo(
        source=objects.source,
        test_images=len(objects.masks.ids),
        images=int(known.sum()),
        approximate=objects.approximate,
        area=float(np.mean(area)) if len(area) else None,
        warnings=too_few(atlas.labels[known], len(atlas.data.index.classes)),
        overlays=draw_overlays(atlas, objects) if objects.approximate else (),
    )
