"""classify: features or an encoder, and a label budget -> a classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import load_file

from headstart.data.splits import LabelBudget, label_budget
from headstart.methods.supervised import Supervised
from headstart.nn.linear import STRENGTHS, HeadPath, balanced_accuracies, choose, fit_heads
from headstart.nn.neighbours import knn_logits
from headstart.stages.finetune import Arm, finetune, forget_trials
from headstart.stages.networks import load_encoder, load_weights, save_tensors
from headstart.stages.run import Cell, Dataset, Run
from headstart.store import Entry
from headstart.types import Features, Floats, Strings

TRAINED = ("finetune", "supervised", "matched")  # protocols trained end to end


def classify(
    run: Run, data: Dataset, cells: Sequence[Cell], pretrained: Entry, extracted: Entry
) -> dict[Cell, Entry]:
    """Classifiers for the cells of one encoder and seed; linear heads all in one solve."""
    inputs = {"majority": [data.entry], **{p: [data.entry, pretrained] for p in TRAINED}}
    entries = {
        cell: run.store.entry(
            "classify", cell.label, _settings(run, cell), inputs.get(cell.protocol, [extracted])
        )
        for cell in cells
    }
    todo = {cell: entry for cell, entry in entries.items() if not entry.done}
    for entry in entries.values():
        if entry.done:  # where the end came between the artifact and the trials it is made of
            forget_trials(entry)
    _fit_linear(data, {c: e for c, e in todo.items() if c.protocol == "linear"}, extracted)
    for cell, entry in todo.items():
        budget = label_budget(data.index, cell.fraction, cell.seed)
        if cell.protocol in TRAINED:
            finetune(Arm(run, data, cell, budget, pretrained), entry)
        elif cell.protocol != "linear":
            cost = _looks(len(budget.train) if cell.protocol == "knn" else 0)
            info = {"status": "ok", "labels": budget.labels, "chosen": {}, **cost}
            entry.finish(info, time.perf_counter())
    return entries


def _settings(run: Run, cell: Cell) -> dict[str, object]:
    settings: dict[str, object] = {
        "protocol": cell.protocol,
        "seed": cell.seed,
        "fraction": cell.fraction,
    }
    if cell.protocol == "matched":
        settings["epochs_matched"] = run.study.pretrain.epochs
    if cell.protocol in TRAINED:
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
    budgets = {cell: label_budget(data.index, cell.fraction, cell.seed) for cell in todo}
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
                **_looks(len(budgets[cell].train)),
            },
            started,
        )


def fit_probes(
    data: Dataset,
    features: Features,
    budgets: Sequence[LabelBudget],
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[HeadPath, ...]:
    """Linear heads on frozen features for the training labels of each budget, in one solve."""
    row = {identity: i for i, identity in enumerate(features.ids.tolist())}
    subsets = [[row[i] for i in data.index.ids[budget.train].tolist()] for budget in budgets]
    x, y = torch.from_numpy(features.x), torch.from_numpy(features.y)
    return fit_heads(x, y, subsets, len(data.index.classes), strengths)


def _looks(images: int) -> dict[str, int]:
    """What learning costs where the encoder only looks: every training image once, no step."""
    return {"train_images": images, "train_steps": 0}


def load_network(
    run: Run, data: Dataset, cell: Cell, entry: Entry, pretrained: Entry
) -> Supervised:
    """A stored classifier as one network from pixels in [0, 1] to logits, frozen.

    Raises:
        KeyError: the protocol has no such network (majority, k-NN).
    """
    if cell.protocol not in ("linear", *TRAINED):
        raise KeyError(f"{cell.protocol} is not a network")
    network = Supervised(load_encoder(run, pretrained), len(data.index.classes))
    if cell.protocol == "linear":
        head = load_file(entry.folder / "head.safetensors")
        network.head.load_state_dict(head)
    else:
        load_weights(network, entry, "network")
    return run.engine.place(network).eval().requires_grad_(False)


def knn(run: Run, features: Features, budget: LabelBudget, data: Dataset, ids: Strings) -> Floats:
    """k-NN's logits (N, C) of the images ``ids`` from the labels of a budget."""
    known, asked = features.take(data.index.ids[budget.train]), features.take(ids)
    logits = knn_logits(
        torch.from_numpy(known.x),
        torch.from_numpy(known.y),
        torch.from_numpy(asked.x),
        len(data.index.classes),
        k=run.study.classify.knn_k,
        temperature=run.study.classify.knn_temperature,
    )
    return logits.numpy().astype(np.float32)
