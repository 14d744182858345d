"""maps: classifiers and a sample of test images -> raw attribution maps, one artifact a method.

A map is keyed on its network, its attribution, its images and whose class it explains, so that
adding an attribution computes that one alone. Nothing here is a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from headstart.arms import PROTOCOLS, UNTRAINED, Arm, protocol_rank
from headstart.attributions import ATTRIBUTIONS
from headstart.config import Study
from headstart.data.splits import stratified_sample
from headstart.results import Model
from headstart.runtime.networks import load_network, outputs
from headstart.runtime.run import Cell, Classifiers, Dataset, Run
from headstart.stats.bootstrap import Resampling, grouped
from headstart.store import Entry, write_json
from headstart.types import Attributions, Doubles, Floats, Ints

Target = Literal["true class", "own prediction"]
Answered = Literal["all", "both right", "one right", "both wrong"]
TRUE: Target = "true class"
OWN: Target = "own prediction"
TARGETS = (TRUE, OWN)
REFERENCES = 40  # training images that expected gradients start from
ANSWERS: tuple[Answered, ...] = get_args(Answered)

Bools = npt.NDArray[np.bool_]
Block = TypeVar("Block", bound=Model)


@dataclass(frozen=True)
class Network:
    """A classifier that can be explained, and where its encoder and its head are stored."""

    cell: Cell
    encoder: Entry
    classifier: Entry

    def load(self, run: Run, data: Dataset) -> nn.Module:
        """The network from pixels in [0, 1] to logits, frozen, on the engine's device."""
        return load_network(run, data, self.cell, self.classifier, self.encoder)


@dataclass(frozen=True)
class MapsOf:
    """Signed maps (M, H, W) float32 of one network, and which of them may be used, (M,)."""

    maps: Floats
    usable: Bools
    """Whether the method reached its numerical accuracy and the map is not the same everywhere."""


@dataclass(frozen=True)
class Atlas:
    """All maps of a study: a sample of test images, the networks, and what these answered."""

    run: Run
    data: Dataset
    positions: Ints
    """(M,) of the index: the sample."""
    networks: tuple[Network, ...]
    answers: Mapping[Cell, Floats]
    """Probabilities (M, C) of each network."""
    stored: Mapping[tuple[Cell, str, str], Entry]
    """Artifacts by cell, attribution and target."""

    @cached_property
    def labels(self) -> Ints:
        """(M,) true classes."""
        return self.data.index.labels[self.positions]

    @cached_property
    def plan(self) -> Resampling:
        """The bootstrap over the images of the sample, groups as wholes."""
        return self.plan_of(np.arange(len(self.positions)))

    def plan_of(self, chosen: Ints) -> Resampling:
        """The same over some images of the sample."""
        groups = grouped(self.data.index.groups[self.positions[chosen]].tolist())
        return Resampling(replicates=self.run.study.explain.replicates, groups=groups)

    @property
    def attributions(self) -> tuple[str, ...]:
        """Names of the attributions, in the order asked for."""
        return self.run.study.explain.attributions

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with a network, untrained ones left out."""
        arms = dict.fromkeys(network.cell.arm for network in self.networks)
        return tuple(arm for arm in arms if arm != UNTRAINED)

    @cached_property
    def untrained(self) -> tuple[Cell, Cell]:
        """Two networks of random weights under a linear head."""
        one, two = (n.cell for n in self.networks if n.cell.arm == UNTRAINED)
        return one, two

    def cells(self, arm: Arm) -> tuple[Cell, ...]:
        """The explained networks of an arm: one a seed, at most two."""
        return tuple(n.cell for n in self.networks if n.cell.arm == arm)

    def kept(
        self,
        label: str,
        settings: Mapping[str, str],
        inputs: Sequence[Entry],
        make: Callable[[], Block],
        kind: type[Block],
    ) -> Block:
        """What ``make`` computes from some artifacts, stored as JSON and computed once."""
        asked: dict[str, Any] = {
            "what": label,
            "replicates": self.run.study.explain.replicates,
            **settings,
        }
        groups = self.plan.groups
        asked["groups"] = None if groups is None else groups.tolist()
        asked["networks"] = [network.cell.label for network in self.networks]
        entry = self.run.store.entry("explain", label, asked, inputs)
        path = entry.folder / "rows.json"
        entry.write(lambda: write_json(path, make().model_dump(mode="json", exclude_unset=True)))
        return kind.model_validate_json(path.read_bytes())

    def entries(self, attribution: str, target: str | None = None) -> list[Entry]:
        """The artifacts of all networks' maps by one attribution, of one target or of both."""
        return [
            entry
            for (_, name, policy), entry in self.stored.items()
            if name == attribution and target in (None, policy)
        ]

    def predicted(self, cell: Cell) -> Ints:
        """(M,) the network's own answers."""
        return np.asarray(self.answers[cell].argmax(axis=1), dtype=np.int64)

    def right(self, cell: Cell) -> Bools:
        """(M,) whether the network names the true class."""
        return np.asarray(self.predicted(cell) == self.labels)

    def probability(self, cell: Cell, target: str = TRUE) -> Doubles:
        """(M,) what the network gives the explained class."""
        asked = self.labels if target == TRUE else self.predicted(cell)
        return self.answers[cell][np.arange(len(asked)), asked].astype(np.float64)

    def maps(self, cell: Cell, attribution: str, target: str = TRUE) -> MapsOf:
        """One network's maps of all images; under ``OWN`` only those it gets wrong differ."""
        stored = _load(self.stored[cell, attribution, TRUE])
        if target == TRUE:
            return stored
        wrong = np.flatnonzero(~self.right(cell))
        if not len(wrong):
            return stored
        own = _load(self.stored[cell, attribution, OWN])
        maps, usable = stored.maps.copy(), stored.usable.copy()
        maps[wrong], usable[wrong] = own.maps, own.usable
        return MapsOf(maps, usable)


def make_maps(run: Run, data: Dataset, classifiers: Classifiers) -> Atlas:
    """Maps of every arm's first and second seed at the most labels, for the same test images.

    Two networks of random weights are always among them: what they show, nobody learned.
    """
    test = data.index.where("test")
    sample = stratified_sample(data.index.labels[test], run.study.explain.images, seed=0)
    positions = test[sample]
    networks = networks_of(run.study, classifiers, seeds=2)
    answers: dict[Cell, Floats] = {}
    stored: dict[tuple[Cell, str, str], Entry] = {}
    names = run.study.explain.attributions
    for done, network in enumerate(networks):
        run.tell.progress("explain: maps", done, len(networks))
        answers[network.cell] = _answers(run, data, network, positions)
        explained = ExplainedNetwork(run, data, network, positions, answers[network.cell])
        for name in names:
            stored[network.cell, name, TRUE] = explained.attribute(name, TRUE)
            stored[network.cell, name, OWN] = explained.attribute(name, OWN)
    run.tell.progress("explain: maps", len(networks), len(networks))
    return Atlas(run, data, positions, networks, answers, stored)


def networks_of(study: Study, classifiers: Classifiers, seeds: int) -> tuple[Network, ...]:
    """Every arm's first networks at the most labels, then so many of random weights."""
    cells = [
        cell
        for cell in classifiers
        if (cell.fraction, cell.draw) == (max(study.label_fractions), 0)
        and cell.seed in study.seeds[:seeds]
        and PROTOCOLS[cell.protocol].network
        and cell.arm != UNTRAINED
    ]
    cells.sort(key=lambda cell: protocol_rank(cell.protocol))  # stable
    cells += untrained_cells(study)[:seeds]
    return tuple(Network(cell, *classifiers[cell]) for cell in cells)


def untrained_cells(study: Study) -> list[Cell]:
    """Two networks of random weights under a linear head: what they show, nobody learned."""
    seeds = (*study.seeds[:2], study.seeds[0] + 1)[:2]
    return [Cell(UNTRAINED, seed, max(study.label_fractions)) for seed in seeds]


def _answers(run: Run, data: Dataset, network: Network, positions: Ints) -> Floats:
    """Probabilities (M, C) for the sample."""
    settings = {"what": "answers", "images": data.index.ids[positions].tolist()}
    inputs = [network.classifier, network.encoder]
    entry = run.store.entry("explain", f"{network.cell.label}-answers", settings, inputs)
    path = entry.folder / "answers.npy"

    def ask() -> None:
        logits = outputs(network.load(run, data), data.images(positions))
        np.save(path, logits.softmax(dim=1).numpy())

    entry.write(ask)
    answers: Floats = np.load(path)
    return answers


@dataclass(frozen=True)
class ExplainedNetwork:
    """One network and the sample of images; it is loaded when the first map has to be made."""

    run: Run
    data: Dataset
    network: Network
    positions: Ints
    answers: Floats

    @cached_property
    def loaded(self) -> nn.Module:
        """The network itself."""
        return self.network.load(self.run, self.data)

    def attribute(self, name: str, target: str) -> Entry:
        """Maps under one attribution: of all images, or of the own answers where these are wrong.

        The info holds ``converged`` and, where the network has no scores to explain, ``reason``.
        """
        ids = self.data.index.ids[self.positions]
        settings = {"attribution": name, "images": ids.tolist(), "target": target}
        settings |= ATTRIBUTIONS.made_by(name)
        label = f"{self.network.cell.label}-{name}" + ("-own" if target == OWN else "")
        inputs = [self.network.classifier, self.network.encoder]
        entry = self.run.store.entry("explain", label, settings, inputs)

        def work() -> dict[str, list[bool] | str]:
            labels = self.data.index.labels[self.positions]
            predicted = np.asarray(self.answers.argmax(axis=1), dtype=np.int64)
            classes = labels if target == TRUE else predicted
            asked = np.flatnonzero((predicted != labels) | (target == TRUE))
            maps, info = self._maps(name, asked, classes[asked])
            Attributions(ids[asked], maps, classes[asked]).save(entry.folder)
            return info

        return entry.make(work)

    def _maps(
        self, name: str, asked: Ints, classes: Ints
    ) -> tuple[Floats, dict[str, list[bool] | str]]:
        from headstart.attributions import NoMap, attribute

        side = self.data.size
        nothing = np.zeros((len(asked), side, side), np.float32)
        if not np.isfinite(self.answers).all():
            reason = "the network's scores are not finite"
            return nothing, {"converged": [False] * len(asked), "reason": reason}
        if not len(asked):
            return nothing, {"converged": []}
        x = self.data.images(self.positions).centred(asked)
        target = torch.from_numpy(classes).to(x.device)
        try:
            attributed = attribute(self.loaded, x, target, name, reference=reference(self.data))
        except NoMap as why:
            return nothing, {"converged": [False] * len(asked), "reason": str(why)}
        return attributed.maps.cpu().numpy(), {"converged": attributed.converged.tolist()}


def reference(data: Dataset) -> Tensor:
    """Some training images (R, 3, T, T) in [0, 1], to compare with; the same for every network."""
    train = data.index.where("train")
    chosen = stratified_sample(data.index.labels[train], REFERENCES, seed=0)
    return data.images(train[chosen]).centred(np.arange(len(chosen)))


def _load(entry: Entry) -> MapsOf:
    maps = Attributions.load(entry.folder).maps
    converged = np.array(entry.info["converged"], dtype=bool)
    return MapsOf(maps, converged & maps.any(axis=(1, 2)))
