"""background: does an arm's answer depend on what is behind the object?

What a network does on pictures with the background exchanged is stronger evidence than any map.
Without masks a proxy is offered: how far the answer falls when the middle, or the border, of the
picture is blurred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch

from headstart.arms import UNTRAINED, Arm
from headstart.data.splits import stratified_sample
from headstart.results import (
    Background,
    BackgroundDifference,
    Centre,
    CompositeAccuracy,
    NotMeasured,
    WorstGroup,
)
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
    from headstart.stats.background import Answers

BATCH = 128
FEWEST = 10  # masked images below which nothing is measured


@dataclass(frozen=True)
class Scenes:
    """Masked test images cut out and pasted, and where these stand in the index."""

    composites: Composites
    positions: Ints
    plan: Resampling


@dataclass(frozen=True)
class BackgroundRows:
    """How far each arm depends on the background, every two arms compared, and what is missing."""

    arms: tuple[Background, ...] = ()
    differences: tuple[BackgroundDifference, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()


def background_rows(atlas: Atlas, objects: Objects) -> BackgroundRows:
    """A row an arm, and the BG-gaps of every two arms compared."""
    from headstart.stats.background import gap_difference

    scenes = _scenes(atlas, objects)
    if isinstance(scenes, NotMeasured):
        return BackgroundRows(not_measured=(scenes,))
    answers: dict[Arm, Answers] = {}
    networks = first_networks(atlas)
    for done, network in enumerate(networks):
        atlas.run.tell.progress("explain: backgrounds", done, len(networks))
        answers[network.cell.arm] = _answers(atlas, objects, network, scenes)
    atlas.run.tell.progress("explain: backgrounds", len(networks), len(networks))
    trained = [arm for arm in answers if arm != UNTRAINED]
    return BackgroundRows(
        tuple(_row(atlas, arm, answers[arm], scenes) for arm in answers),
        tuple(
            _difference(a, b, gap_difference(answers[a], answers[b], scenes.plan))
            for a, b in combinations(trained, 2)
        ),
    )


def _scenes(atlas: Atlas, objects: Objects) -> Scenes | NotMeasured:
    """All masked test images, or a stratified sample of them; the reason where none can be used."""
    from headstart.data.composites import plan_composites

    data, explain = atlas.data, atlas.run.study.explain
    test = data.index.where("test")
    masked = test[objects.known(test)]
    labels = data.index.labels[masked]
    if explain.background_images == 0:
        return NotMeasured(reason="turned off")
    positions = masked[stratified_sample(labels, explain.background_images, seed=0)]
    if len(positions) < FEWEST:
        return NotMeasured(reason="few masked images", images=len(positions), needed=FEWEST)
    images, labels = data.images(positions), data.index.labels[positions]
    belongs = data.index.groups[positions]
    try:
        composites, kept = plan_composites(
            images.centred, objects.at(positions), labels, _mean_colour(atlas), groups=belongs
        )
    except ValueError:
        return NotMeasured(reason="no pair of images")
    if len(kept) < FEWEST:
        return NotMeasured(reason="few backgrounds", images=len(kept), needed=FEWEST)
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
    entry.write(lambda: _ask(atlas, network, scenes, entry))
    with np.load(entry.folder / "answers.npz") as stored:
        predicted = {kind: stored[kind] for kind in KINDS}
    composites = scenes.composites
    classes = len(atlas.data.index.classes)
    return Answers(y=composites.y, background=composites.background, classes=classes, **predicted)


def _ask(atlas: Atlas, network: Network, scenes: Scenes, entry: Entry) -> None:
    from headstart.data.composites import KINDS

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


def _row(atlas: Atlas, arm: Arm, answers: Answers, scenes: Scenes) -> Background:
    from headstart.stats.background import reliance

    measured = reliance(answers, scenes.plan)
    accuracy = {kind: interval(value) for kind, value in measured.accuracy.items()}
    return Background(
        arm=arm,
        seed=first_seed(atlas, arm),
        images=measured.n,
        accuracy=CompositeAccuracy(**accuracy),
        gap=interval(measured.gap),
        paste_cost=interval(measured.paste_cost),
        skill=interval(measured.skill),
        skill_p=measured.skill_p,
        follows=known(measured.follows),
        expected=known(measured.expected),
        follows_more=interval(measured.follows_more),
        worst_group=_worst_group(atlas, answers, scenes),
        warnings=measured.warnings,
    )


def _worst_group(atlas: Atlas, answers: Answers, scenes: Scenes) -> WorstGroup | None:
    """The user's group in which the arm does worst; None without groups of their own."""
    from headstart.stats.background import worst_group

    if atlas.run.study.data.groups is None:
        return None
    groups = atlas.data.index.groups[scenes.positions]
    if len(np.unique(groups)) == len(groups):
        return None
    worst = worst_group(answers.y, answers.original, groups, scenes.plan)
    return WorstGroup(
        group=worst.group,
        images=worst.n,
        accuracy=worst.accuracy,
        expected=worst.expected,
        p=worst.p,
        gap=worst.gap,
    )


def _difference(a: Arm, b: Arm, gap: Interval) -> BackgroundDifference:
    return BackgroundDifference(arm_a=a, arm_b=b, **interval(gap).model_dump())


def centre_rows(atlas: Atlas) -> tuple[Centre, ...]:
    """The proxy without masks: a row an arm, untrained weights last."""
    networks = first_networks(atlas)
    rows = []
    for done, network in enumerate(networks):
        atlas.run.tell.progress("explain: middle and border", done, len(networks))
        settings = {"what": "centre", "images": atlas.data.index.ids[atlas.positions].tolist()}
        label, inputs = f"centre-{network.cell.label}", [network.classifier, network.encoder]
        entry = atlas.run.store.entry("explain", label, settings, inputs)
        entry.write(partial(_blur, atlas, network, entry))
        with np.load(entry.folder / "falls.npz") as stored:
            rows.append(_centre_row(atlas, network.cell.arm, stored))
    atlas.run.tell.progress("explain: middle and border", len(networks), len(networks))
    return tuple(rows)


def _blur(atlas: Atlas, network: Network, entry: Entry) -> None:
    from headstart.attributions.faithfulness import centre_against_border

    x = atlas.data.images(atlas.positions).centred(np.arange(len(atlas.positions)))
    target = torch.from_numpy(atlas.labels).to(x.device)
    drops = centre_against_border(network.load(atlas.run, atlas.data), x, target)
    falls = {"centre": drops.centre, "border": drops.border}
    np.savez(entry.folder / "falls.npz", allow_pickle=False, **falls)


def _centre_row(atlas: Atlas, arm: Arm, falls: Mapping[str, Doubles]) -> Centre:
    from headstart.stats.focus import means

    table = {"centre": falls["centre"], "border": falls["border"]}
    limits = means({**table, "difference": table["centre"] - table["border"]}, plan=atlas.plan)
    return Centre(
        arm=arm,
        seed=first_seed(atlas, arm),
        images=len(atlas.positions),
        centre=interval(limits["centre"]),
        border=interval(limits["border"]),
        difference=interval(limits["difference"]),
    )
