"""What several verbs ask of frozen features: linear heads, and k-NN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from headstart.data.splits import LabelBudget
from headstart.nn.linear import STRENGTHS, HeadPath, fit_heads
from headstart.nn.neighbours import knn_logits
from headstart.runtime.run import Dataset, Run
from headstart.types import Features, Floats, Strings


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
