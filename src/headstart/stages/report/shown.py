"""shown: test images for people to look at: the commonest confusions, and where encoders put them.

No verdict rests on anything here. The pictures are what the networks saw: the centres of the
images, at the study's image size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.arms import BASELINE, MAJORITY, Arm
from headstart.files import write_bytes
from headstart.results import Confusion, FeatureMap, ShownImage, ShownImages
from headstart.runtime.run import Dataset, Grid, Run
from headstart.stats.projection import Flat, flatten
from headstart.types import Doubles, Features, Floats, Ints, Predictions, Strings

FOLDER = "thumbnails"
SIDE = 72  # pixels of a picture
PAIRS, EACH = 3, 4  # confusions an arm, and images of each
MOST = 400  # images on a map
MARKS = 2_000  # marks on all maps together; each weighs some 250 bytes on the page


def show(run: Run, data: Dataset, grid: Grid) -> ShownImages:
    """Draw the pictures into ``thumbnails/`` of the run's folder, and say what each is shown for.

    Numbers of images in what is returned are places in ``images``.
    """
    test = data.index.where("test")
    places = {str(identity): i for i, identity in enumerate(data.index.ids[test])}
    confused = [row for arm in _arms(grid) for row in _confusions(data, places, grid, arm)]
    encoders = [key for key in grid.features if key[0] != BASELINE.method]  # it has its start's
    encoders = [key for key in encoders if key[1] == min(run.study.seeds)]
    mapped = spread_out(data.index.labels[test], min(MOST, MARKS // max(1, len(encoders))))
    wanted = {i for row in confused for i in row.shown} | set(mapped.tolist() if encoders else ())
    number = {place: i for i, place in enumerate(sorted(wanted))}
    return ShownImages(
        images=tuple(_draw(run, data, test[np.array(sorted(wanted), dtype=np.int64)])),
        confusions=tuple(
            row.model_copy(update={"shown": tuple(number[i] for i in row.shown)})
            for row in confused
        ),
        maps=tuple(
            FeatureMap(
                method=method,
                seed=seed,
                shown=tuple(number[i] for i in mapped.tolist()),
                projection=flat.name,
                points=tuple((float(a), float(b)) for a, b in flat.points.round(4)),
                variance=flat.variance,
            )
            for (method, seed), flat in _flattened(grid, encoders, data.index.ids[test[mapped]])
        ),
    )


def spread_out(labels: Ints, most: int) -> Ints:
    """Up to ``most`` places in ``labels`` (N,), ascending, evenly from the classes, by chance."""
    order = np.random.default_rng(6).permutation(len(labels))
    met: dict[int, int] = {}
    turn = np.zeros(len(labels), dtype=np.int64)
    for place in order.tolist():
        turn[place] = met[int(labels[place])] = met.get(int(labels[place]), -1) + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


@dataclass(frozen=True)
class _Answers:
    """What an arm's classifiers said of N images: how often each of C names, and how surely.

    ``votes`` and ``sure`` (N, C) are sums over seeds and draws, ``sure`` of probabilities.
    """

    y: Ints
    votes: Doubles
    sure: Doubles


def _arms(grid: Grid) -> list[Arm]:
    return [arm for arm in dict.fromkeys(cell.arm for cell in grid.evaluated) if arm != MAJORITY]


def _confusions(data: Dataset, places: dict[str, int], grid: Grid, arm: Arm) -> Iterator[Confusion]:
    """The arm's commonest confusions with the most labels; ``shown`` are places among the test."""
    answers = _answers(grid, arm, places)
    classes = data.index.classes.tolist()
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, answers.y, answers.votes)
    mistakes = counts - np.diag(np.diag(counts))
    for pair in np.argsort(-mistakes, axis=None, kind="stable")[:PAIRS].tolist():
        true, predicted = divmod(pair, len(classes))
        if mistakes[true, predicted] > 0:
            yield Confusion(
                arm=arm,
                true=classes[true],
                predicted=classes[predicted],
                count=int(mistakes[true, predicted]),
                of=int(counts[true].sum()),
                shown=_examples(answers, true, predicted),
            )


def _answers(grid: Grid, arm: Arm, places: dict[str, int]) -> _Answers:
    own = {cell: entry for cell, entry in grid.evaluated.items() if cell.arm == arm}
    most = max(cell.fraction for cell in own)
    stored = [
        Predictions.load(entry.folder) for cell, entry in own.items() if cell.fraction == most
    ]
    shape = len(places), stored[0].logits.shape[1]
    y, votes, sure = np.zeros(shape[0], dtype=np.int64), np.zeros(shape), np.zeros(shape)
    for one in stored:
        rows = np.array([places[str(identity)] for identity in one.ids], dtype=np.int64)
        logits = one.logits.astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        y[rows] = one.y
        votes[rows, one.predicted] += 1
        sure[rows] += shares / shares.sum(axis=1, keepdims=True)
    return _Answers(y, votes, sure)


def _examples(answers: _Answers, true: int, predicted: int) -> tuple[int, ...]:
    """Images of the confusion: most often so named first, then the surest."""
    votes, sure = answers.votes[:, predicted], answers.sure[:, predicted]
    order = np.lexsort((-sure, -votes))
    return tuple(i for i in order.tolist() if answers.y[i] == true and votes[i] > 0)[:EACH]


def _flattened(
    grid: Grid, encoders: list[tuple[str, int]], ids: Strings
) -> Iterator[tuple[tuple[str, int], Flat]]:
    for key in encoders:
        features = Features.load(grid.features[key].folder).take(ids)
        yield key, flatten(features.x.astype(np.float64))


def _draw(run: Run, data: Dataset, positions: Ints) -> Iterator[ShownImage]:
    """A JPEG an image, at most ``SIDE`` pixels wide; those of an earlier report go away."""
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    images = data.images(positions)
    classes, named = data.index.classes.tolist(), set()
    for i, position in enumerate(positions.tolist()):
        photo = data.shown(images.centred(np.array([i])).float().cpu().numpy()[0])
        place = folder / f"{position:06d}.jpg"
        write_bytes(place, _jpeg(photo.transpose(1, 2, 0)))
        named.add(place)
        yield ShownImage(
            id=str(data.index.ids[position]),
            true=classes[data.index.labels[position]],
            photo=f"{FOLDER}/{place.name}",
        )
    for old in set(folder.glob("*.jpg")) - named:
        old.unlink()


def _jpeg(pixels: Floats) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray((pixels * 255).round().clip(0, 255).astype(np.uint8))
    picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
