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

from headstart.data.near import look_alikes
from headstart.data.splits import stratified_sample
from headstart.reporting.safe import csv_row
from headstart.runtime.run import Dataset, Grid, Run
from headstart.store import write_text
from headstart.types import Features, Floats

COSINE = 0.95
LISTED = 100  # pairs, the most alike first
ASKED = 20_000  # test images at most: each is compared with all the others


def review_lookalikes(run: Run, data: Dataset, grid: Grid) -> int:
    """Write ``lookalikes.csv``: test images beside training or validation images like them.

    Features are those of the first pretrained method at the first seed, standardised over all
    labelled images: without that every two images look alike. Of more than ``ASKED`` test images
    so many are asked about, spread over the classes. Returns how many pairs there are;
    0, and no file, where no method was pretrained.
    """
    source = next((grid.features[key] for key in _candidates(run) if key in grid.features), None)
    if source is None:
        return 0
    features = Features.load(source.folder)
    guarded = np.isin(features.ids, data.index.ids[data.index.where("test")])
    x = _standardised(features.x)
    test, rest = np.flatnonzero(guarded), np.flatnonzero(~guarded)
    asked = test[stratified_sample(features.y[test], ASKED, seed=0)]
    found = look_alikes(x[asked], x[rest], COSINE, LISTED)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["test", "other", "cosine"])
    pairs = zip(features.ids[asked[found.i]], features.ids[rest[found.j]], strict=True)
    for (one, other), cosine in zip(pairs, found.cosine.tolist(), strict=True):
        writer.writerow([*csv_row([str(one), str(other)]), f"{cosine:.4f}"])
    write_text(run.folder / "lookalikes.csv", text.getvalue())
    if found.count:
        some = f" ({len(asked)} of {len(test)} test images were asked about)"
        run.tell.line(
            f"{found.count} pairs of a test and a training image look alike to the encoder"
            f"{some * (len(asked) < len(test))}; lookalikes.csv lists them for review, nothing "
            "was removed"
        )
    return found.count


def _candidates(run: Run) -> list[tuple[str, int]]:
    return [(method, min(run.study.seeds)) for method in run.study.methods]


def _standardised(x: Floats) -> Floats:
    """Features (N, D) with mean 0 and variance 1 in every column that varies."""
    spread = x.std(axis=0)
    standard: Floats = (x - x.mean(axis=0)) / np.where(spread > 1e-6, spread, np.float32(1))
    return standard
