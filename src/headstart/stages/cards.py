"""A model card beside the weights of every encoder and classifier of a finished study."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.arms import PROTOCOLS, Origin, is_pretrained
from headstart.reporting.model_card import Card, Source, model_card
from headstart.results import Results
from headstart.runtime.run import Cell, Grid, Run
from headstart.store import CARD, Entry, write_text

CHECK = (
    "`done.json` beside these weights has their SHA-256, which is compared whenever a run uses "
    "them. `headstart export` writes them for timm, torchvision, ONNX or Hugging Face, and checks "
    "that those answer as headstart does."
)


def write_cards(run: Run, grid: Grid, results: Results) -> None:
    """Write each ``README.md``; an artifact is the same with and without it.

    Weights have one where they were trained to their end: pretrained encoders, and classifiers that
    are one network from pixels to logits, of the first draw of the labels.
    """
    for entry, card in _cards(run, grid):
        write_text(entry.folder / CARD, model_card(results, card))


def _cards(run: Run, grid: Grid) -> Iterator[tuple[Entry, Card]]:
    for (method, seed), entry in grid.encoders.items():
        if is_pretrained(method) and entry.info["status"] == "ok":
            call = f'load_encoder("RUN", {method!r}, seed={seed})'
            yield entry, _card(_source(run, entry, method, seed), "features", call, run)
    for cell, (_, entry) in grid.classifiers.items():
        if cell in grid.evaluated and PROTOCOLS[cell.protocol].network and cell.draw == 0:
            call = (
                f'load_classifier("RUN", {cell.method!r}, {cell.protocol!r}, seed={cell.seed}, '
                f"label_fraction={cell.fraction:g})"
            )
            yield (
                entry,
                _card(_source(run, entry, cell.method, cell.seed, cell), "logits", call, run),
            )


def _card(source: Source, answer: str, call: str, run: Run) -> Card:
    side = run.study.encoder.image_size
    usage = (
        "import headstart\n\n"
        f"network = headstart.{call}  # RUN: the folder of the run\n"
        f"{answer} = network(x)  # x: images (B, 3, {side}, {side}) in [0, 1]"
    )
    return Card(source, "headstart", usage, CHECK)


def _source(run: Run, entry: Entry, method: str, seed: int, cell: Cell | None = None) -> Source:
    settings = run.study.encoder
    return Source(
        network="classifier" if cell else "encoder",
        method=method,
        protocol=cell.protocol if cell else None,
        seed=seed,
        label_fraction=cell.fraction if cell else None,
        backbone=settings.backbone,
        stem=settings.stem,
        artifacts={f"{entry.folder.parent.name}/{entry.folder.name}": entry.content},
        further_weights=run.further_weights.get(Origin.parse(method).start),
    )
