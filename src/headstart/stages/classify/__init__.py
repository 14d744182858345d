"""classify: features or an encoder, and a label budget -> a classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import torch

from headstart.arms import PROTOCOLS
from headstart.nn.linear import balanced_accuracies, choose
from headstart.runtime.heads import fit_probes
from headstart.runtime.networks import save_tensors
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify.end_to_end import finetune, forget_trials
from headstart.stages.classify.job import FinetuneJob, base_steps
from headstart.stages.classify.search import base_grid
from headstart.store import Entry
from headstart.types import Features

__all__ = ["FinetuneJob", "base_grid", "base_steps", "classify"]


def classify(
    run: Run, data: Dataset, cells: Sequence[Cell], pretrained: Entry, extracted: Entry
) -> dict[Cell, Entry]:
    """Classifiers for the cells of one encoder and seed; linear heads all in one solve."""
    entries = {
        cell: run.store.entry(
            "classify",
            cell.label,
            _settings(run, cell),
            _inputs(data, cell, pretrained, extracted),
        )
        for cell in cells
    }
    todo = {cell: entry for cell, entry in entries.items() if not entry.done}
    for entry in entries.values():
        if entry.done:  # where the end came between the artifact and the trials it is made of
            forget_trials(entry)
    _fit_linear(data, {c: e for c, e in todo.items() if c.protocol == "linear"}, extracted)
    for cell, entry in todo.items():
        budget = data.budget(cell)
        if PROTOCOLS[cell.protocol].trained:
            job = FinetuneJob(run, data, cell, budget, pretrained)
            entry.make(partial(finetune, job, entry))
            forget_trials(entry)
        elif cell.protocol != "linear":
            cost = _seen_once(len(budget.train) if cell.protocol == "knn" else 0)
            info = {"status": "ok", "labels": budget.labels, "chosen": {}, **cost}
            entry.make(partial(dict, info))
    return entries


def _inputs(data: Dataset, cell: Cell, pretrained: Entry, extracted: Entry) -> list[Entry]:
    """What a classifier is made from: images and weights, features, or nothing but the labels."""
    if PROTOCOLS[cell.protocol].trained:
        return [data.entry, pretrained]
    return [data.entry] if cell.protocol == "majority" else [extracted]


def _settings(run: Run, cell: Cell) -> dict[str, object]:
    settings: dict[str, object] = {
        "protocol": cell.protocol,
        "seed": cell.seed,
        "fraction": cell.fraction,
    }
    if cell.draw:
        settings["draw"] = cell.draw
    if cell.protocol == "matched":
        settings["epochs_matched"] = run.study.pretrain.epochs
    if PROTOCOLS[cell.protocol].trained:
        settings |= run.study.classify.finetune.model_dump()
        settings["precision"] = run.engine.precision
    if cell.protocol == "knn":
        settings |= {"k": run.study.classify.knn_k, "t": run.study.classify.knn_temperature}
    return settings


def _fit_linear(data: Dataset, todo: dict[Cell, Entry], extracted: Entry) -> None:
    """Every label fraction and strength of one encoder in one batched solve."""
    if not todo:
        return
    started = time.perf_counter()
    features = Features.load(extracted.folder)
    budgets = {cell: data.budget(cell) for cell in todo}
    paths = fit_probes(data, features, list(budgets.values()))
    for (cell, entry), path in zip(todo.items(), paths, strict=True):
        held_out = features.take(data.index.ids[budgets[cell].validation])
        x, y = torch.from_numpy(held_out.x), torch.from_numpy(held_out.y)
        head = choose(path, x, y)
        scores = balanced_accuracies(path, x, y).tolist()
        # The standardisation is folded into the head: one linear layer on raw features.
        weight = (head.weight / head.scale).float()
        bias = (head.bias - (head.weight / head.scale) @ head.mean).float()
        save_tensors({"weight": weight, "bias": bias}, entry, "head")
        entry.finish(
            {
                "status": "ok",
                "labels": budgets[cell].labels,
                "chosen": {"strength": head.strength, "validation": max(scores)},
                "trials": [
                    {"strength": s, "validation": v}
                    for s, v in zip(path.strengths, scores, strict=True)
                ],
                **_seen_once(len(budgets[cell].train)),
            },
            started,
        )


def _seen_once(images: int) -> dict[str, int]:
    """What learning costs where the encoder only looks: every training image once, no step."""
    return {"train_images": images, "train_steps": 0}
