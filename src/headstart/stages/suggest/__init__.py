"""suggest: the features of a finished run's best encoder -> unlabelled images to label first."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import nn

from headstart.arms import BASELINE
from headstart.config import StudyError
from headstart.data.near import NearCopies
from headstart.data.sources.base import printable
from headstart.data.splits import LabelBudget
from headstart.runtime.heads import knn
from headstart.runtime.networks import load_encoder, outputs
from headstart.runtime.run import Dataset, Grid, Run
from headstart.stages.suggest.found import Chosen, Suggested
from headstart.stages.suggest.trial import METRIC, Known, try_out
from headstart.stages.suggest.typical import nearest, require_sklearn, scaled, suggested
from headstart.stages.suggest.written import as_csv, draw_sheet
from headstart.stats.metrics import METRICS, confusion_matrix
from headstart.types import Features, Floats, Ints

__all__ = ["Suggested", "as_csv", "check", "draw_sheet", "suggest"]

BLOCK = 2048  # images between two moves of the bar


def check(n: int) -> None:
    """What can be said of a question before the run is opened.

    Raises:
        StudyError: no images are asked for, or scikit-learn is not installed.
    """
    if n < 1:
        raise StudyError(f"--n {n}: ask for at least one image")
    require_sklearn()


def suggest(run: Run, data: Dataset, grid: Grid, n: int, seed: int = 0) -> Suggested:
    """Choose ``n`` images of the pool to label first; fewer where the rest are copies of them.

    Args:
        run: a finished run.
        data: its images.
        grid: its encoders.
        n: how many, at most the size of the pool.
        seed: of k-means, and of the draws of the trial.

    Raises:
        StudyError: no pool, a smaller one, or no encoder with features.
    """
    check(n)
    pool, train = data.index.where("pool"), data.index.where("train")
    _require_pool(run, len(pool), n)
    chosen = best_encoder(run, data, grid)
    stored = Features.load(grid.features[chosen.method, chosen.seed].folder)
    known, held_out = (_known(data, stored, split) for split in ("train", "validation"))
    encoder = load_encoder(run, grid.encoders[chosen.method, chosen.seed], data)
    x = np.concatenate([scaled(_features(run, data, encoder, pool)), known.x])
    covered = np.arange(len(x)) >= len(pool)
    picture = _pictures(run, data, np.concatenate([pool, train]), x)
    run.tell.line(f"suggest: grouping {len(x):,} images")
    picked, grouped = suggested(x, covered, n, seed, picture)
    trial = try_out(known, held_out, n, seed, lambda d, t: run.tell.progress("trying it out", d, t))
    return Suggested(
        encoder=chosen,
        asked=n,
        pool=len(pool),
        labelled=len(train),
        positions=pool[picked],
        paths=tuple(printable(path) for path in data.index.paths[pool[picked]].tolist()),
        cluster=grouped.cluster[picked],
        typicality=grouped.typicality[picked],
        distance=nearest(x[picked], known.x),
        trial=trial,
    )


def best_encoder(run: Run, data: Dataset, grid: Grid) -> Chosen:
    """The encoder under which k-NN on all training labels does best on the validation images.

    k-NN, because the choice of images rests on distances too. Test images are not looked at. The
    start of supervised training is not asked: it is random weights, or listed by its own name.

    Raises:
        StudyError: the run has no features of any encoder.
    """
    budget = LabelBudget(data.index.where("train"), data.index.where("validation"))
    y = data.index.labels[budget.validation]
    found = []
    for (method, seed), entry in grid.features.items():
        if method != BASELINE.method:
            features, ids = Features.load(entry.folder), data.index.ids[budget.validation]
            answers = knn(run, features, budget, data, ids).argmax(axis=1)
            matrix = confusion_matrix(y, answers, len(data.index.classes))
            found.append(Chosen(method, seed, float(METRICS[METRIC](matrix))))
    if not found:
        raise StudyError(f"{run.folder}: no encoder of this run is whole, so none can choose")
    return max(found, key=lambda one: one.score)


def _require_pool(run: Run, pool: int, n: int) -> None:
    if not pool:
        raise StudyError(
            f"{run.folder}: this run has no unlabelled images to choose from; make one with "
            "headstart run --unlabeled"
        )
    if n > pool:
        raise StudyError(f"--n {n}: the run has {pool} unlabelled images; ask for at most {pool}")


def _known(data: Dataset, features: Features, split: str) -> Known:
    there = features.take(data.index.ids[data.index.where(split)])
    return Known(scaled(there.x), there.y)


def _features(run: Run, data: Dataset, encoder: nn.Module, positions: Ints) -> Floats:
    """Raw features (N, D) of the images at some positions, block by block."""
    parts = []
    for begin in range(0, len(positions), BLOCK):
        run.tell.progress("looking at the unlabelled images", begin, len(positions))
        parts.append(outputs(encoder, data.images(positions[begin : begin + BLOCK])))
    run.tell.progress("looking at the unlabelled images", len(positions), len(positions))
    x: Floats = torch.cat(parts).numpy()
    return x


def _pictures(run: Run, data: Dataset, positions: Ints, x: Floats) -> Ints:
    """(N,) equal for images that show one picture: near-copies, directly or through others, and
    images whose features are the same.
    """
    finder = NearCopies(data.cache, run.study.data.near_distance, run.folder, run.tell.progress)
    rows = data.index.rows[positions]
    pairs = finder.pairs(rows.tolist())
    near = pairs.take(pairs.near)
    place = np.zeros(int(rows.max()) + 1, np.int64)
    place[rows] = np.arange(len(rows))
    seen: dict[bytes, int] = {}
    first = [seen.setdefault(blake2b(row.tobytes()).digest(), i) for i, row in enumerate(x)]
    a = np.concatenate([place[near.a], np.arange(len(x))])
    b = np.concatenate([place[near.b], first])
    ties = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(x), len(x)))
    picture: Ints = connected_components(ties, directed=False)[1].astype(np.int64)
    return picture
