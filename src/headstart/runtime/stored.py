"""Networks of a finished run, found by its results alone: its images need not be there any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from headstart.arms import PROTOCOLS, UNTRAINED, Arm, Origin
from headstart.config import StudyError
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import Encoder, build_encoder
from headstart.reporting.model_card import Preprocessing
from headstart.results import ArmResult, Results, load_results
from headstart.runtime.networks import load_weights
from headstart.runtime.run import Cell
from headstart.store import Entry


@dataclass(frozen=True)
class Wanted:
    """Which network of a run: a method's encoder, or with a protocol a classifier.

    ``seed`` None is the run's first; ``fraction`` None is the largest share of the labels.
    """

    method: str
    seed: int | None = None
    protocol: str | None = None
    fraction: float | None = None


@dataclass(frozen=True)
class Stored:
    """A network of a finished run, in evaluation mode on the CPU, and where it comes from."""

    results: Results
    network: Encoder | Supervised
    method: str
    seed: int
    cell: Cell | None
    """Of a classifier; None for an encoder."""
    entries: tuple[Entry, ...]
    """The artifacts that hold its weights; none where they are drawn from the seed."""

    @property
    def encoder(self) -> Encoder:
        """The encoder, without the head of a classifier."""
        return self.network.encoder if isinstance(self.network, Supervised) else self.network

    @property
    def image_size(self) -> int:
        """Side of the images that it takes, in pixels."""
        return int(self.results.study["encoder"]["image_size"])

    @property
    def side(self) -> int:
        """Side of the square that its run keeps a whole picture as, in pixels."""
        return Preprocessing.of(self.results).stored

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the run, in the order of a classifier's logits."""
        return tuple(one.name for one in self.results.data.classes)


def find(run: Path | str, wanted: Wanted) -> Stored:
    """The stored network.

    Raises:
        StudyError: no finished run, no such network in it, or a damaged file.
    """
    folder, results = Path(run), load_results(run)
    folder = folder if folder.is_dir() else folder.parent
    seed = results.study["seeds"][0] if wanted.seed is None else wanted.seed
    if wanted.protocol is None:
        encoder, entries = _encoder(folder, results, wanted.method, seed)
        return Stored(results, encoder.eval(), wanted.method, seed, None, entries)
    cell = _cell(folder, results, wanted, seed)
    network, entries = _classifier(folder, results, cell)
    return Stored(results, network.eval(), wanted.method, seed, cell, entries)


def _classifier(folder: Path, results: Results, cell: Cell) -> tuple[Supervised, tuple[Entry, ...]]:
    """The encoder and its head; of one trained end to end both lie in one file."""
    entry = _artifact(folder, results, "classify", (cell.label,))
    if entry is None:
        raise StudyError(f"{folder}: classify/{cell.label} is not there; run the study again")
    classes = len(results.data.classes)
    if PROTOCOLS[cell.protocol].trained:
        network = Supervised(_body(results), classes)
        load_weights(network, entry, "network")
        return network, (entry,)
    encoder, entries = _encoder(folder, results, cell.method, cell.seed)
    network = Supervised(encoder, classes)
    network.head.load_state_dict(load_file(entry.folder / "head.safetensors"))
    return network, (*entries, entry)


def _cell(folder: Path, results: Results, wanted: Wanted, seed: int) -> Cell:
    """The cell that is asked for: judged, and one network from pixels to logits."""
    arm = Arm(wanted.method, wanted.protocol or "")
    networks = [row for row in results.arms if PROTOCOLS[row.protocol].network]
    known = PROTOCOLS.get(arm.protocol)
    if known is not None and not known.network:
        raise StudyError(
            f"{folder}: {arm} is not a network; take an encoder, or finetune or linear"
        )
    found = [row for row in networks if row.arm == arm and row.seed == seed]
    fraction = wanted.fraction or max((row.label_fraction for row in found), default=1.0)
    same = [row for row in found if row.label_fraction == fraction and row.label_draw == 0]
    if not same:
        there = sorted({_named(row) for row in networks if row.method == wanted.method})
        there = there or sorted({str(row.arm) for row in networks})
        raise StudyError(
            f"{folder}: no classifier {arm} with seed {seed} and {fraction:g} of the labels; "
            f"there are {', '.join(there) or 'none'}"
        )
    if same[0].status != "ok":
        raise StudyError(f"{folder}: {_named(same[0])}: {same[0].status}: {same[0].reason}")
    return Cell(arm, seed, fraction)


def _named(row: ArmResult) -> str:
    return f"{row.arm} (seed {row.seed}, {row.label_fraction:g} of the labels)"


def _encoder(
    folder: Path, results: Results, method: str, seed: int
) -> tuple[Encoder, tuple[Entry, ...]]:
    if method == UNTRAINED.method:
        return _body(results, seed), ()
    # Weights from a file are the same for every seed, and have none in their name.
    entry = _artifact(folder, results, "pretrain", (f"{method}-seed{seed}", method))
    if entry is None:
        known = sorted({f"{p.method} (seed {p.seed})" for p in results.pretraining})
        further = results.study["encoder"].get("further_weights", {})
        known += [str(Origin.of_weights(name)) for name in further]
        there = ", ".join(known) or "none"
        inside = any(r.method == method and PROTOCOLS[r.protocol].trained for r in results.arms)
        hint = "; it has a classifier: give its protocol" if inside else ""
        raise StudyError(
            f"{folder}: no encoder of {method} with seed {seed}; there are {there}{hint}"
        )
    encoder = _body(results)
    load_weights(encoder.body, entry, "encoder")
    return encoder, (entry,)


def _body(results: Results, seed: int = 0) -> Encoder:
    """The run's backbone with random weights."""
    settings = results.study["encoder"]
    architecture = {k: v for k, v in settings.items() if k not in ("weights", "further_weights")}
    return build_encoder(**architecture, seed=seed)


def _artifact(folder: Path, results: Results, verb: str, labels: tuple[str, ...]) -> Entry | None:
    """The artifact of a verb that the results rest on, whole and undamaged; None without one."""
    made = [name.removeprefix(f"{verb}/") for name in results.provenance.seconds]
    found = [name for name in made if name.rpartition("-")[0] in labels]
    places = [folder / verb / name for name in found if (folder / verb / name).is_dir()]
    if not places:
        return None
    entry = Entry(places[0], places[0].name.rpartition("-")[2])
    fault = entry.fault()
    if fault:
        raise StudyError(f"{places[0]}: {fault}; run the study again to make it anew")
    return entry
