"""A second search for copies: pairs with nearly the same features in a trained encoder.

The perceptual hash finds what was recompressed, resized or mirrored; features also find crops and
new exposures of one scene. Similar features do not prove a copy: on 5,756 clothing
photos 24 (MoCo) to 255 (SimCLR) pairs of a test and a training image reached a cosine of 0.95, and
most show two garments of one kind. So the pairs are listed for a person to look at, and nothing is
ever removed for them.
"""

from __future__ import annotations

import csv
import io

import numpy as np

from headstart.data.near import embedding_pairs
from headstart.reporting.safe import csv_row
from headstart.runtime.run import Dataset, Grid, Run
from headstart.store import write_text
from headstart.types import Features, Floats

COSINE = 0.95
LISTED = 100  # pairs, the most alike first


def review_lookalikes(run: Run, data: Dataset, grid: Grid) -> int:
    """Write ``lookalikes.csv``: test images beside training or validation images like them.

    Features are those of the first pretrained method at the first seed, standardised over all
    labelled images: without that every two images look alike. Returns how many pairs there are;
    0, and no file, where no method was pretrained.
    """
    source = next((grid.features[key] for key in _candidates(run) if key in grid.features), None)
    if source is None:
        return 0
    features = Features.load(source.folder)
    guarded = np.isin(features.ids, data.index.ids[data.index.where("test")])
    x = _standardised(features.x)
    test, others = features.ids[guarded], features.ids[~guarded]
    i, j, cosine = embedding_pairs(x[guarded], x[~guarded], COSINE)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["test", "other", "cosine"])
    for place in np.argsort(-cosine, kind="stable")[:LISTED].tolist():
        pair = csv_row([str(test[i[place]]), str(others[j[place]])])
        writer.writerow([*pair, f"{cosine[place]:.4f}"])
    write_text(run.folder / "lookalikes.csv", text.getvalue())
    if len(i):
        run.tell.line(
            f"{len(i)} pairs of a test and a training image look alike to the encoder; "
            "lookalikes.csv lists them for review, nothing was removed"
        )
    return len(i)


def _candidates(run: Run) -> list[tuple[str, int]]:
    return [(method, min(run.study.seeds)) for method in run.study.methods]


def _standardised(x: Floats) -> Floats:
    """Features (N, D) with mean 0 and variance 1 in every column that varies."""
    spread = x.std(axis=0)
    standard: Floats = (x - x.mean(axis=0)) / np.where(spread > 1e-6, spread, np.float32(1))
    return standard
