"""gallery: a few images for people, chosen by rule, drawn as every network sees them.

Some images at random, those on which the arms' maps are most alike, and those on which they are
least alike. Nothing is ever measured on these pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.arms import UNTRAINED
from headstart.results import Drawn, ExplainedImage
from headstart.stages.explain.maps import TRUE, Atlas, Bools, MapsOf, Network
from headstart.stages.explain.objects import Objects
from headstart.stages.explain.pictures import draw_map, draw_photo, scale
from headstart.types import Doubles, Floats, Ints

Chosen = Literal["at random", "maps most alike", "maps least alike"]
RANDOM: Chosen = "at random"
ALIKE: Chosen = "maps most alike"
UNLIKE: Chosen = "maps least alike"
SECOND_SEEDS = ("supervised", "finetune")  # protocols whose second seed gets a column
OVERLAYS = 12  # pictures of approximate masks, so that a person can judge them


def draw_gallery(
    atlas: Atlas, by_image: Doubles, objects: Objects | None
) -> tuple[ExplainedImage, ...]:
    """Pictures of the chosen images under every network of the gallery; a row an image.

    ``by_image`` (M,) says how alike the arms' maps of each image are.
    """
    folder = atlas.run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    chosen = choose(by_image, atlas.run.study.explain.pictures)
    if not chosen:
        return ()
    order = np.array(list(chosen))
    photos = _photos(atlas, atlas.positions[order])
    masks = objects.at(atlas.positions[order]) if objects else None
    networks = _columns(atlas)
    maps = {
        (network.cell.label, name): atlas.maps(network.cell, name)
        for network in networks
        for name in atlas.attributions
    }
    classes = atlas.data.index.classes.tolist()
    rows = []
    for row, (i, why) in enumerate(chosen.items()):
        mask = masks[row] if masks is not None and masks[row].any() else None
        drawing = _Drawing(atlas, folder, photos[row], i, mask)
        rows.append(
            ExplainedImage(
                id=str(atlas.data.index.ids[atlas.positions[i]]),
                true=classes[atlas.labels[i]],
                chosen=why,
                photo=drawing.photo(),
                arms=tuple(drawing.network(network, maps) for network in networks),
            )
        )
    return tuple(rows)


def choose(by_image: Doubles, count: int) -> dict[int, Chosen]:
    """Which of the images (M,) to show, and why: a third each, at random first."""
    everyone = np.random.default_rng(5).permutation(len(by_image)).tolist()
    ranked = [int(i) for i in np.argsort(by_image, kind="stable") if np.isfinite(by_image[i])]
    chosen: dict[int, Chosen] = {}
    third = count // 3 if len(ranked) > 1 else 0
    for why, order in ((ALIKE, ranked[::-1]), (UNLIKE, ranked)):
        free = [i for i in order if i not in chosen]
        chosen.update(dict.fromkeys(free[:third], why))
    free = [i for i in everyone if i not in chosen]
    picked = dict.fromkeys(free[: max(0, count - len(chosen))], RANDOM)
    return picked | chosen


def draw_overlays(atlas: Atlas, objects: Objects) -> tuple[str, ...]:
    """Approximate masks over their photos, for a person to judge; paths below the run."""
    masked = atlas.positions[objects.known(atlas.positions)][:OVERLAYS]
    if not len(masked):
        return ()
    folder = atlas.run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    photos = _photos(atlas, masked)
    return tuple(
        _relative(atlas, draw_photo(photo, folder / f"mask-{i:02d}.png", mask))
        for i, (photo, mask) in enumerate(zip(photos, objects.at(masked), strict=True))
    )


def _photos(atlas: Atlas, positions: Ints) -> Floats:
    """Some images of the index as people see them, (B, 3, T, T) in [0, 1]."""
    seen = atlas.data.images(positions).centred(np.arange(len(positions)))
    return atlas.data.shown(seen.cpu().numpy())


def forget_others(atlas: Atlas, images: Sequence[ExplainedImage], overlays: Sequence[str]) -> None:
    """Remove pictures of earlier questions that no row names any more."""
    named = {*overlays, *(image.photo for image in images)}
    named |= {path for image in images for drawn in image.arms for path in drawn.maps.values()}
    for path in (atlas.run.folder / "pictures").glob("*.png"):
        if _relative(atlas, path) not in named:
            path.unlink()


def _columns(atlas: Atlas) -> list[Network]:
    """Every arm's first seed, second seeds beside their first, one untrained network last."""
    first = {network.cell.arm: network for network in reversed(atlas.networks)}
    shown = []
    for arm in (*atlas.arms, UNTRAINED):
        own = [network for network in atlas.networks if network.cell.arm == arm]
        both = arm != UNTRAINED and own[0].cell.protocol in SECOND_SEEDS
        shown += own if both else [first[arm]]
    return shown


@dataclass(frozen=True)
class _Drawing:
    """One image of the gallery: its photo, and its map under each network."""

    atlas: Atlas
    folder: Path
    seen: Floats
    image: int
    mask: Bools | None

    def photo(self) -> str:
        return _relative(
            self.atlas, draw_photo(self.seen, self.folder / f"{self.image:03d}.png", self.mask)
        )

    def network(self, network: Network, maps: Mapping[tuple[str, str], MapsOf]) -> Drawn:
        cell, i = network.cell, self.image
        classes = self.atlas.data.index.classes.tolist()
        names = [n for n in self.atlas.attributions if maps[cell.label, n].usable[i]]
        label = f"{cell.method}-{cell.protocol}-seed{cell.seed}"
        return Drawn(
            arm=cell.arm,
            seed=cell.seed,
            predicted=classes[self.atlas.predicted(cell)[i]],
            probability=_share(self.atlas.probability(cell, TRUE)[i]),
            maps={
                name: self._map(maps[cell.label, name].maps[i], f"{i:03d}-{label}-{name}.png")
                for name in names
            },
            scale={name: scale(maps[cell.label, name].maps[i]) for name in names},
        )

    def _map(self, values: Floats, name: str) -> str:
        return _relative(self.atlas, draw_map(values, self.seen, self.folder / name, self.mask))


def _share(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _relative(atlas: Atlas, path: Path) -> str:
    return path.relative_to(atlas.run.folder).as_posix()
