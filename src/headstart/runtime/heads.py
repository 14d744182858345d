"""Linear heads on frozen features, for classifiers and for the gate of shuffled labels alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from headstart.data.splits import LabelBudget
from headstart.nn.linear import STRENGTHS, HeadPath, fit_heads
from headstart.runtime.run import Dataset
from headstart.types import Features


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
