"""explain: classifiers and some test images -> attribution maps, compared between arms."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.data.splits import stratified_sample
from headstart.stages.classify import load_network
from headstart.stages.pictures import draw_map, draw_photo
from headstart.stages.run import Cell, Dataset, Run
from headstart.store import Entry
from headstart.types import Attributions, Ints

NETWORKS = ("linear", "finetune", "supervised")  # protocols with a gradient to explain
FLOOR = "random/linear"
MEASURES = ("rmse", "ssim", "spearman", "top_iou", "pearson")


@dataclass(frozen=True)
class Explained:
    """What the report shows: pictures of some images, and how alike the arms' maps are."""

    similarity: list[dict[str, Any]]
    images: list[dict[str, Any]]


def explain(run: Run, data: Dataset, classifiers: Mapping[Cell, tuple[Entry, Entry]]) -> Explained:
    """Maps of every arm's network for the true class of a stratified sample of test images.

    The networks are those of the first seed at the largest label fraction; the same images and
    the same target for all of them.
    """
    settings = run.study.explain
    seed, fraction = min(run.study.seeds), max(run.study.label_fractions)
    cells = [
        cell
        for cell in classifiers
        if (cell.seed, cell.fraction) == (seed, fraction) and cell.protocol in NETWORKS
    ]
    if not settings.images or not settings.attributions:
        return Explained([], [])
    test = data.index.where("test")
    chosen = test[stratified_sample(data.index.labels[test], settings.images, seed=0)]
    maps: dict[str, dict[str, Attributions]] = {name: {} for name in settings.attributions}
    answers: dict[str, dict[str, Any]] = {}
    for done, cell in enumerate(cells):
        run.tell.progress("explain", done, len(cells))
        entry = _attribute(run, data, cell, classifiers[cell], chosen)
        answers[cell.arm] = entry.info
        for name in settings.attributions:
            maps[name][cell.arm] = Attributions.load(entry.folder / name)
    run.tell.progress("explain", len(cells), len(cells))
    similarity = [row for name in maps for row in _compare(name, maps[name], answers, seed)]
    return Explained(similarity, _draw(run, data, chosen, maps, answers))


def _attribute(
    run: Run, data: Dataset, cell: Cell, entries: tuple[Entry, Entry], chosen: Ints
) -> Entry:
    """Maps of one network under every attribution, and its answers for the same images."""
    from headstart.attributions import attribute

    encoder, classifier = entries
    names = run.study.explain.attributions
    ids = data.index.ids[chosen]
    settings = {"attributions": names, "images": ids.tolist(), "target": "true class"}
    entry = run.store.entry("explain", cell.label, settings, [classifier, encoder])
    if entry.done:
        return entry
    started = time.perf_counter()
    network = load_network(run, data, cell, classifier, encoder)
    x = data.images(chosen).centred(np.arange(len(chosen)))
    y = torch.from_numpy(data.index.labels[chosen])
    with torch.inference_mode():
        probability = network(x).softmax(dim=1).cpu()
    converged = {}
    for name in names:
        found = attribute(network, x, y.to(x.device), name)
        (entry.folder / name).mkdir(exist_ok=True)
        Attributions(ids, found.maps.cpu().numpy(), data.index.labels[chosen]).save(
            entry.folder / name
        )
        converged[name] = found.converged.tolist()
    info = {
        "predicted": probability.argmax(dim=1).tolist(),
        "probability": probability.gather(1, y[:, None])[:, 0].tolist(),
        "converged": converged,
    }
    entry.finish(info, started)
    return entry


def _compare(
    name: str,
    by_arm: Mapping[str, Attributions],
    answers: Mapping[str, dict[str, Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """Every pair of arms, beside the floor: the first arm against random weights.

    An image whose map did not converge for one of the two is left out of that pair.
    """
    from headstart.attributions.similarity import Similarity, compare

    def likeness(a: str, b: str) -> Similarity:
        use = [np.array(answers[arm]["converged"][name], dtype=bool) for arm in (a, b)]
        return compare(by_arm[a].maps, by_arm[b].maps, use[0] & use[1])

    rows = []
    for a, b in combinations([arm for arm in by_arm if arm != FLOOR], 2):
        found, least = likeness(a, b), likeness(a, FLOOR) if FLOOR in by_arm else None
        rows.append(
            {
                "arm_a": a,
                "arm_b": b,
                "seed": seed,
                "attribution": name,
                **{m: _known(getattr(found, m)) for m in MEASURES},
                "floor_rmse": _known(least.rmse) if least else None,
                "floor_ssim": _known(least.ssim) if least else None,
                "floor_spearman": _known(least.spearman) if least else None,
                "images": found.n,
                "left_out": found.left_out,
            }
        )
    return rows


def _known(value: float) -> float | None:
    """None for what no image could tell."""
    return value if isfinite(value) else None


def _draw(
    run: Run,
    data: Dataset,
    chosen: Ints,
    maps: Mapping[str, Mapping[str, Attributions]],
    answers: Mapping[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Pictures for people, of the first few images; nothing is ever measured on them."""
    folder = run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    classes = data.index.classes.tolist()
    count = min(run.study.explain.pictures, len(chosen))
    shown = stratified_sample(data.index.labels[chosen], count, seed=0)
    photos = data.images(chosen).centred(shown).cpu().numpy()
    rows = []
    for photo, i in zip(photos, shown.tolist(), strict=True):
        rows.append(
            {
                "id": str(data.index.ids[chosen[i]]),
                "true": classes[data.index.labels[chosen[i]]],
                "photo": _relative(run, draw_photo(photo, folder / f"{i:03d}.png")),
                "arms": [
                    {
                        "arm": arm,
                        "predicted": classes[answer["predicted"][i]],
                        "probability": answer["probability"][i],
                        "maps": {
                            name: _relative(run, draw_map(by_arm[arm].maps[i], photo, path))
                            for name, by_arm in maps.items()
                            for path in [folder / f"{i:03d}-{arm.replace('/', '-')}-{name}.png"]
                        },
                    }
                    for arm, answer in answers.items()
                ],
            }
        )
    return rows


def _relative(run: Run, path: Path) -> str:
    return path.relative_to(run.folder).as_posix()
