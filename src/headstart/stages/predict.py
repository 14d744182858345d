"""predict: a classifier of a finished run, and images from anywhere -> classes and probabilities.

Images are decoded as those of the study were, in the same processes with the same limits; one that
cannot be read gets a reason instead of an answer. Each is told how far it lies from the training
images: an image unlike them is one that the classifier's probabilities say little about.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstart.config import StudyError
from headstart.data.batches import Images
from headstart.data.cache import Kept, open_cache
from headstart.data.sources.base import Found, printable
from headstart.files import write_bytes
from headstart.methods.supervised import Supervised
from headstart.nn.neighbours import knn_logits
from headstart.reporting.safe import csv_row
from headstart.runtime.networks import load_encoder, load_network, outputs
from headstart.runtime.run import Cell, Dataset, Grid, Run
from headstart.store import Entry
from headstart.types import Doubles, Floats, Ints

BLOCK = 2048  # images decoded to disk at a time
NEIGHBOURS = 5
USUAL = 0.95  # share of the held-out images of the study that lie within the limit


@dataclass(frozen=True)
class Wanted:
    """Which classifier of the run: an arm as ``method/protocol`` or ``best``; None: the default.

    The defaults are the best arm on validation, the most labels and the run's first seed.
    """

    arm: str = "best"
    fraction: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Predicted:
    """Answers for N images in the order in which they were given, of C classes.

    ``reasons`` (N,) say why an image could not be read, "" where it was; its ``predicted`` is −1
    and its other numbers are NaN. ``probabilities`` (N, C) are calibrated: the temperature was
    fitted on validation images. ``distance`` (N,) is the Euclidean distance of its features, scaled
    to length 1, to the fifth-nearest training image, in [0, 2]; beyond ``limit`` it counts as
    unlike them. ``features`` (N, D).
    """

    cell: Cell
    classes: tuple[str, ...]
    temperature: float
    limit: float
    held_out: int
    """Validation images that the limit rests on."""
    names: tuple[str, ...]
    reasons: tuple[str, ...]
    probabilities: Doubles
    distance: Doubles
    features: Floats

    @property
    def predicted(self) -> Ints:
        """Class numbers (N,), −1 where there is no answer."""
        readable = ~np.isnan(self.distance)
        answers = np.full(len(self.names), -1, dtype=np.int64)
        answers[readable] = self.probabilities[readable].argmax(axis=1)
        return answers

    @property
    def unlike(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """(N,) whether an image lies farther from the training images than the limit."""
        return self.distance > self.limit


def usual_limit(distances: Doubles) -> float:
    """What the distance of a new image like these (n,) exceeds with probability 1 − ``USUAL``.

    The conformal quantile, of rank ⌈(n + 1) · ``USUAL``⌉ (Vovk et al. 2005, chapter 2); with fewer
    than 19 images the largest of them, exceeded with probability 1 / (n + 1).
    """
    rank = min(len(distances), math.ceil((len(distances) + 1) * USUAL))
    return float(np.sort(distances)[rank - 1])


def choose(run: Run, grid: Grid, wanted: Wanted) -> Cell:
    """The classifier that is asked for.

    ``best`` is the arm with the highest balanced accuracy on the validation images among those that
    have one; test images are not looked at.

    Raises:
        StudyError: the run has no such classifier.
    """
    seed = run.study.seeds[0] if wanted.seed is None else wanted.seed
    fraction = max(run.study.label_fractions) if wanted.fraction is None else wanted.fraction
    there = [c for c in grid.evaluated if (c.seed, c.fraction, c.draw) == (seed, fraction, 0)]
    if not there:
        known = sorted({(c.fraction, c.seed) for c in grid.evaluated})
        listed = ", ".join(f"{share:g} (seed {number})" for share, number in known)
        raise StudyError(
            f"--label-fraction {fraction:g}, --seed {seed}: no classifier of this run; there are "
            f"{listed}"
        )
    if wanted.arm == "best":
        scores = {c: grid.classifiers[c][1].info["chosen"].get("validation") for c in there}
        judged = [c for c in there if scores[c] is not None]
        if not judged:
            raise StudyError(
                "--arm best: no classifier of this run was chosen on validation images"
            )
        return max(judged, key=lambda c: float(scores[c]))
    named = {str(cell.arm): cell for cell in there if cell.protocol != "majority"}
    if wanted.arm not in named:
        raise StudyError(
            f"--arm {wanted.arm}: no such classifier in this run; write best or one of "
            f"{', '.join(named)}"
        )
    return named[wanted.arm]


class Asker:
    """One classifier of a run, ready for images: (features, logits) of each."""

    def __init__(self, run: Run, data: Dataset, grid: Grid, cell: Cell) -> None:
        self.run, self.data, self.cell = run, data, cell
        encoder, classifier = grid.classifiers[cell]
        confidence = grid.evaluated[cell].info["confidence"]
        self.temperature = float(confidence["temperature"])
        self.network = self._network(encoder, classifier)
        self.budget = data.budget(cell)
        self.labels = torch.from_numpy(data.index.labels[self.budget.train])
        self.held_out = len(self.budget.validation)

    @cached_property
    def known(self) -> Tensor:
        """Features (M, D) of the training images."""
        return outputs(self.network.encoder, self.data.images(self.budget.train))

    @cached_property
    def limit(self) -> float:
        """The distance beyond which an image counts as unlike the training images."""
        held_out = outputs(self.network.encoder, self.data.images(self.budget.validation))
        return usual_limit(self.distances(held_out))

    def _network(self, encoder: Entry, classifier: Entry) -> Supervised:
        """The whole network; for k-NN one whose last layer is not asked."""
        if self.cell.protocol != "knn":
            return load_network(self.run, self.data, self.cell, classifier, encoder)
        body = load_encoder(self.run, encoder, self.data)
        return self.run.engine.place(Supervised(body, len(self.data.index.classes)).eval())

    def classes(self, images: Images) -> tuple[str, ...]:
        """What the classifier takes images for, by name."""
        answers = self.logits(outputs(self.network.encoder, images)).argmax(dim=1)
        return tuple(self.data.index.classes[answers.numpy()].tolist())

    def distances(self, features: Tensor) -> Doubles:
        """(N,) to the fifth-nearest training image (Sun et al. 2022, arXiv 2204.06507)."""
        scaled, known = (torch.nn.functional.normalize(x, dim=1) for x in (features, self.known))
        near = min(NEIGHBOURS, len(known))
        blocks = torch.split(scaled, 1024)
        parts = [torch.cdist(part, known).kthvalue(near, dim=1).values for part in blocks]
        found: Doubles = torch.cat(parts).double().numpy()
        return found

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """(N, C) of features (N, D) on the CPU."""
        if self.cell.protocol != "knn":
            head = self.network.head
            answer: Tensor = head(features.to(head.weight.device))
            return answer.float().cpu()
        settings = self.run.study.classify
        return knn_logits(
            self.known,
            self.labels,
            features,
            len(self.data.index.classes),
            k=settings.knn_k,
            temperature=settings.knn_temperature,
        )


def predict(run: Run, data: Dataset, asker: Asker, files: Sequence[Found]) -> Predicted:
    """Ask a classifier for the classes of any images, in blocks that fit on the disk.

    Raises:
        StudyError: no room for a block of decoded images.
    """
    classes, width = data.index.classes.tolist(), asker.known.shape[1]
    probabilities = np.full((len(files), len(classes)), np.nan)
    distance = np.full(len(files), np.nan)
    features = np.full((len(files), width), np.nan, np.float32)
    reasons: list[str] = []
    for begin, images, unread in _decoded(run, data, files):
        run.tell.progress("predict", begin, len(files))
        reasons += unread
        at = begin + images.rows
        if len(at):
            x = outputs(asker.network.encoder, images)
            features[at], distance[at] = x.numpy(), asker.distances(x)
            scaled = asker.logits(x).double() / asker.temperature
            probabilities[at] = scaled.softmax(dim=1).numpy()
    run.tell.progress("predict", len(files), len(files))
    return Predicted(
        cell=asker.cell,
        classes=tuple(classes),
        temperature=asker.temperature,
        limit=asker.limit,
        held_out=asker.held_out,
        names=tuple(file.path for file in files),
        reasons=tuple(reasons),
        probabilities=probabilities,
        distance=distance,
        features=features,
    )


def _decoded(
    run: Run, data: Dataset, files: Sequence[Found]
) -> Iterator[tuple[int, Images, list[str]]]:
    """Block by block: where it begins, its readable images, and the reason, or "", of each file."""
    side = data.cache.pixels.shape[-1]
    for begin in range(0, len(files), BLOCK):
        home = Path(tempfile.mkdtemp(prefix=".predict-", dir=run.folder))
        try:
            block, line = files[begin : begin + BLOCK], run.tell.line
            cache = open_cache(block, side, home, line=line, kept=Kept(data.bands))
            rows = np.array([i for i, why in enumerate(cache.reasons) if not why], dtype=np.int64)
            engine = run.engine
            yield (
                begin,
                Images(cache, rows, data.size, engine.device, engine.dtype),
                list(cache.reasons),
            )
        finally:
            shutil.rmtree(home, ignore_errors=True)


def as_csv(predicted: Predicted) -> str:
    """A row an image: path, class, probability, ``p:<class>`` of each, distance, what is amiss.

    Cells are written so that no spreadsheet takes one for a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    shares = [f"p:{name}" for name in predicted.classes]
    writer.writerow(["path", "class", "probability", *csv_row(shares), "distance", "note"])
    for i, answer in enumerate(predicted.predicted.tolist()):
        name = csv_row([printable(predicted.names[i])])
        if answer < 0:
            blank = [""] * (len(shares) + 3)
            writer.writerow([*name, *blank, *csv_row([f"not read: {predicted.reasons[i]}"])])
            continue
        row = predicted.probabilities[i]
        numbers = [f"{share:.6f}" for share in row]
        note = "unlike the training images" if predicted.unlike[i] else ""
        known = csv_row([predicted.classes[answer]])
        distance = f"{predicted.distance[i]:.4f}"
        writer.writerow([*name, *known, f"{row[answer]:.6f}", *numbers, distance, note])
    return text.getvalue()


def save_embeddings(predicted: Predicted, path: Path) -> None:
    """Features by path: ``.npz`` with ``paths`` (N,) and ``features`` (N, D), or ``.parquet`` with
    a column a dimension; images that were not read are left out.

    Raises:
        StudyError: another kind of file, or no pyarrow for Parquet.
    """
    check_embeddings(path)
    read = predicted.predicted >= 0
    paths = [printable(name) for name, fine in zip(predicted.names, read, strict=True) if fine]
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(
            content, allow_pickle=False, paths=np.array(paths), features=predicted.features[read]
        )
    else:
        import pyarrow
        import pyarrow.parquet

        columns = {f"f{d}": column for d, column in enumerate(predicted.features[read].T)}
        pyarrow.parquet.write_table(pyarrow.table({"path": paths, **columns}), content)
    write_bytes(path, content.getbuffer())


def check_embeddings(path: Path) -> None:
    """See that features could be written there, before anything is computed.

    Raises:
        StudyError: they could not, in one line.
    """
    if path.suffix not in (".npz", ".parquet"):
        raise StudyError(f"--embeddings {path}: name a file that ends in .parquet or .npz")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise StudyError(
            f"--embeddings {path}: Parquet needs pyarrow: pip install 'headstart[hf]', or name an "
            ".npz file"
        )
