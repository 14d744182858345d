"""faithful: does a map point at what moves its own network's answer?

The most important parts of a picture are taken away or put back first, against random orders of
the same network. Only those gaps are compared between networks: the curves themselves hold each
network's own confidence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from headstart.arms import UNTRAINED, Arm
from headstart.data.splits import stratified_sample
from headstart.results import Faithfulness
from headstart.stages.explain.maps import TRUE, Atlas, Network
from headstart.stages.explain.similarity import interval
from headstart.store import Entry
from headstart.types import Doubles, Ints

GAPS = ("deletion", "insertion")


def faithfulness_rows(atlas: Atlas) -> tuple[Faithfulness, ...]:
    """A row an arm and attribution: the gaps of deletion and insertion to a random order."""
    count = atlas.run.study.explain.faithfulness_images
    chosen = stratified_sample(atlas.labels, count, seed=0)
    if not len(chosen):
        return ()
    networks = first_networks(atlas)
    rows = []
    for done, network in enumerate(networks):
        atlas.run.tell.progress("explain: faithfulness", done, len(networks))
        for name in atlas.attributions:
            entry = _gaps(atlas, network, name, chosen)
            with np.load(entry.folder / "gaps.npz") as stored:
                rows.append(_row(atlas, network.cell.arm, name, chosen, stored))
    atlas.run.tell.progress("explain: faithfulness", len(networks), len(networks))
    return tuple(rows)


def first_networks(atlas: Atlas) -> list[Network]:
    """One network an arm, untrained weights last."""
    first = {network.cell.arm: network for network in reversed(atlas.networks)}
    return [first[arm] for arm in (*atlas.arms, UNTRAINED)]


def first_seed(atlas: Atlas, arm: Arm) -> int:
    """The seed of that network."""
    return atlas.cells(arm)[0].seed


def _gaps(atlas: Atlas, network: Network, name: str, chosen: Ints) -> Entry:
    """``gaps.npz`` with the gaps of each chosen image, (M,) each; NaN where there is no map."""
    from headstart.attributions.faithfulness import faithfulness

    positions = atlas.positions[chosen]
    settings = {"what": "faithfulness", "images": atlas.data.index.ids[positions].tolist()}
    inputs = [atlas.stored[network.cell, name, TRUE]]
    label = f"faithful-{network.cell.label}-{name}"
    entry = atlas.run.store.entry("explain", label, settings, inputs)

    def work() -> None:
        maps = atlas.maps(network.cell, name)
        shown = np.where(maps.usable[:, None, None], maps.maps, 0)[chosen]
        x = atlas.data.images(positions).centred(np.arange(len(chosen)))
        target = torch.from_numpy(atlas.labels[chosen]).to(x.device)
        loaded = network.load(atlas.run, atlas.data)
        found = faithfulness(loaded, x, target, torch.from_numpy(shown).to(x.device))
        np.savez(
            entry.folder / "gaps.npz",
            allow_pickle=False,
            deletion=found.gap_deletion,
            insertion=found.gap_insertion,
        )

    return entry.write(work)


def _row(
    atlas: Atlas, arm: Arm, name: str, chosen: Ints, gaps: Mapping[str, Doubles]
) -> Faithfulness:
    from headstart.stats.focus import means

    limits = means({gap: gaps[gap] for gap in GAPS}, plan=atlas.plan_of(chosen))
    return Faithfulness(
        arm=arm,
        attribution=name,
        seed=first_seed(atlas, arm),
        images=int(np.isfinite(gaps["deletion"]).sum()),
        deletion=interval(limits["deletion"]),
        insertion=interval(limits["insertion"]),
    )
