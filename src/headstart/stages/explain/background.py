"""background: does an arm's answer depend on what is behind the object?

What a network does on pictures with the background exchanged is stronger evidence than any map.
Without masks a proxy is offered: how far the answer falls when the middle, or the border, of the
picture is blurred.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.arms import UNTRAINED, Arm
from headstart.data.splits import stratified_sample
from headstart.stages.explain.faithfulness import first_networks, first_seed
from headstart.stages.explain.maps import Atlas, Network
from headstart.stages.explain.objects import Objects
from headstart.stages.explain.similarity import interval, known
from headstart.stats.bootstrap import Resampling, grouped
from headstart.stats.intervals import Interval
from headstart.store import Entry
from headstart.types import Doubles, Ints

if TYPE_CHECKING:
    from headstart.data.composites import Composites
    from headstart.stats.background import Answers, Reliance

BATCH = 128
FEWEST = 10  # masked images below which nothing is measured
UNASKED = "Whether the answers depend on the background was not measured: "


@dataclass(frozen=True)
class Scenes:
    """Masked test images cut out and pasted, and where these stand in the index."""

    composites: Composites
    positions: Ints
    plan: Resampling


def background_rows(atlas: Atlas, objects: Objects) -> dict[str, Any]:
    """``background``: a row an arm; ``background_differences``: BG-gap of two arms compared.

    ``notes`` say why there are none, where there are none.
    """
    from headstart.stats.background import gap_difference

    scenes = _scenes(atlas, objects)
    if isinstance(scenes, str):
        return {"background": [], "background_differences": [], "notes": [UNASKED + scenes]}
    answers: dict[Arm, Answers] = {}
    networks = first_networks(atlas)
    for done, network in enumerate(networks):
        atlas.run.tell.progress("explain: backgrounds", done, len(networks))
        answers[network.cell.arm] = _answers(atlas, objects, network, scenes)
    atlas.run.tell.progress("explain: backgrounds", len(networks), len(networks))
    trained = [arm for arm in answers if arm != UNTRAINED]
    return {
        "background": [_row(atlas, arm, answers[arm], scenes) for arm in answers],
        "background_differences": [
            _difference(a, b, gap_difference(answers[a], answers[b], scenes.plan))
            for a, b in combinations(trained, 2)
        ],
        "notes": [],
    }


def _scenes(atlas: Atlas, objects: Objects) -> Scenes | str:
    """All masked test images, or a stratified sample of them; the reason where none can be used."""
    from headstart.data.composites import plan_composites

    data, explain = atlas.data, atlas.run.study.explain
    test = data.index.where("test")
    masked = test[objects.known(test)]
    labels = data.index.labels[masked]
    if explain.background_images == 0:
        return "explain.background_images is 0."
    positions = masked[stratified_sample(labels, explain.background_images, seed=0)]
    if len(positions) < FEWEST:
        return f"{len(positions)} test images have a mask, and it takes {FEWEST} at least."
    images, labels = data.images(positions), data.index.labels[positions]
    belongs = data.index.groups[positions]
    try:
        composites, kept = plan_composites(
            images.centred, objects.at(positions), labels, _mean_colour(atlas), groups=belongs
        )
    except ValueError:
        return "no two images of a class have an object and a background beside it to tile with."
    if len(kept) < FEWEST:
        return f"{len(kept)} masks leave a background to tile with, and it takes {FEWEST} at least."
    groups = grouped(belongs[kept].tolist())
    plan = Resampling(replicates=explain.replicates, groups=groups)
    return Scenes(composites, positions[kept], plan)


def _mean_colour(atlas: Atlas) -> Doubles:
    """(3,) of some training images."""
    from headstart.stages.explain.maps import reference

    return reference(atlas.data).double().mean(dim=(0, 2, 3)).cpu().numpy()


def _answers(atlas: Atlas, objects: Objects, network: Network, scenes: Scenes) -> Answers:
    """What one network calls every composite; ``answers.npz`` keeps it."""
    from headstart.data.composites import KINDS
    from headstart.stats.background import Answers

    ids = atlas.data.index.ids[scenes.positions].tolist()
    groups = None if scenes.plan.groups is None else scenes.plan.groups.tolist()
    settings = {"what": "background", "images": ids, "masks": objects.key, "groups": groups}
    label = f"background-{network.cell.label}"
    inputs = [network.classifier, network.encoder]
    entry = atlas.run.store.entry("explain", label, settings, inputs)
    if not entry.done:
        _ask(atlas, network, scenes, entry)
    with np.load(entry.folder / "answers.npz") as stored:
        predicted = {kind: stored[kind] for kind in KINDS}
    composites = scenes.composites
    classes = len(atlas.data.index.classes)
    return Answers(y=composites.y, background=composites.background, classes=classes, **predicted)


def _ask(atlas: Atlas, network: Network, scenes: Scenes, entry: Entry) -> None:
    from headstart.data.composites import KINDS

    started = time.perf_counter()
    loaded = network.load(atlas.run, atlas.data)
    positions = np.arange(len(scenes.positions))
    parts = [positions[i : i + BATCH] for i in range(0, len(positions), BATCH)]
    said = {}
    with torch.inference_mode():
        for kind in KINDS:
            pictures = (scenes.composites.batch(kind, part) for part in parts)
            called = [loaded(x).argmax(dim=1).cpu().numpy() for x in pictures]
            said[kind] = np.concatenate(called).astype(np.int64)
    np.savez(entry.folder / "answers.npz", allow_pickle=False, **said)
    entry.finish({}, started)


def _row(atlas: Atlas, arm: Arm, answers: Answers, scenes: Scenes) -> dict[str, Any]:
    from headstart.stats.background import reliance

    found = reliance(answers, scenes.plan)
    return {
        "arm": str(arm),
        "seed": first_seed(atlas, arm),
        "images": found.n,
        "accuracy": {kind: interval(value) for kind, value in found.accuracy.items()},
        "gap": interval(found.gap),
        "paste_cost": interval(found.paste_cost),
        "skill": interval(found.skill),
        "skill_p": found.skill_p,
        "follows": known(found.follows),
        "expected": known(found.expected),
        "follows_more": interval(found.follows_more),
        "worst_group": _worst_group(atlas, answers, scenes),
        "warnings": list(found.warnings),
        "sentence": f"{arm.label}: {_said(found)}",
    }


def _said(found: Reliance) -> str:
    """What two numbers mean; a share of 0.01 is a point."""
    gap, skill = found.gap, found.skill
    if not np.isfinite(gap.low):
        return "not measured: the images with masks belong to too few groups"
    lead = f"{100 * abs(gap.value):.1f} points {'lost' if gap.value >= 0 else 'won'}"
    if gap.low > 0:
        told = f"leans on the background ({lead} when it comes from a random class)"
    elif gap.high < 0:
        told = f"does better on a random class's background ({lead}): not reliance"
    else:
        told = f"no reliance on the background could be shown ({lead}, interval includes 0)"
    alone = (
        "the background alone tells it the class"
        if found.skill_p < 0.05 and skill.low > 0
        else "the background alone tells it nothing that could be shown"
    )
    return f"{told}; {alone}"


def _worst_group(atlas: Atlas, answers: Answers, scenes: Scenes) -> dict[str, Any] | None:
    """The user's group in which the arm does worst; None without groups of their own."""
    from headstart.stats.background import worst_group

    if atlas.run.study.data.groups is None:
        return None
    groups = atlas.data.index.groups[scenes.positions]
    if len(np.unique(groups)) == len(groups):
        return None
    found = worst_group(answers.y, answers.original, groups, scenes.plan)
    return {
        "group": found.group,
        "images": found.n,
        "accuracy": found.accuracy,
        "expected": found.expected,
        "p": found.p,
        "gap": found.gap,
    }


def _difference(a: Arm, b: Arm, found: Interval) -> dict[str, Any]:
    one, two = a.label, b.label
    if not np.isfinite(found.low):
        said = f"{one} and {two}: not measured"
    elif found.low > 0:
        said = f"{one} leans on the background more than {two}"
    elif found.high < 0:
        said = f"{two} leans on the background more than {one}"
    else:
        said = f"{one} and {two}: no difference in reliance on the background could be shown"
    return {"arm_a": str(a), "arm_b": str(b), **interval(found), "sentence": said}


def centre_rows(atlas: Atlas) -> list[dict[str, Any]]:
    """The proxy without masks: a row an arm, untrained weights last."""
    networks = first_networks(atlas)
    rows = []
    for done, network in enumerate(networks):
        atlas.run.tell.progress("explain: middle and border", done, len(networks))
        settings = {"what": "centre", "images": atlas.data.index.ids[atlas.positions].tolist()}
        label, inputs = f"centre-{network.cell.label}", [network.classifier, network.encoder]
        entry = atlas.run.store.entry("explain", label, settings, inputs)
        if not entry.done:
            _blur(atlas, network, entry)
        with np.load(entry.folder / "falls.npz") as stored:
            rows.append(_centre_row(atlas, network.cell.arm, stored))
    atlas.run.tell.progress("explain: middle and border", len(networks), len(networks))
    return rows


def _blur(atlas: Atlas, network: Network, entry: Entry) -> None:
    from headstart.attributions.faithfulness import centre_against_border

    started = time.perf_counter()
    x = atlas.data.images(atlas.positions).centred(np.arange(len(atlas.positions)))
    target = torch.from_numpy(atlas.labels).to(x.device)
    found = centre_against_border(network.load(atlas.run, atlas.data), x, target)
    falls = {"centre": found.centre, "border": found.border}
    np.savez(entry.folder / "falls.npz", allow_pickle=False, **falls)
    entry.finish({}, started)


def _centre_row(atlas: Atlas, arm: Arm, falls: Mapping[str, Doubles]) -> dict[str, Any]:
    from headstart.stats.focus import means

    table = {"centre": falls["centre"], "border": falls["border"]}
    found = means({**table, "difference": table["centre"] - table["border"]}, plan=atlas.plan)
    gap = found["difference"]
    if not np.isfinite(gap.low):
        said = "not measured"
    elif gap.low > 0:
        said = "blurring the middle costs the true class more than blurring the border"
    elif gap.high < 0:
        said = "blurring the border costs the true class more than blurring the middle"
    else:
        said = "no difference between blurring the middle and the border could be shown"
    return {
        "arm": str(arm),
        "seed": first_seed(atlas, arm),
        "images": len(atlas.positions),
        **{name: interval(value) for name, value in found.items()},
        "sentence": f"{arm.label}: {said}",
    }
