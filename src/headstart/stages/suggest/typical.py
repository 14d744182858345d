"""Which images to label first: the most typical one of each group of images without a label.

TypiClust (Hacohen, Dekel and Weinshall 2022, "Active Learning on a Budget: Opposite Strategies Suit
High and Low Budgets", section 3): k-means on features of length 1, with as many clusters as there
will be labels; then, from the largest clusters in which nothing is labelled yet, the image that has
the closest neighbours. The authors' own code looks for neighbours within the cluster and makes at
most 500 clusters; so does this.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from headstart.config import StudyError
from headstart.types import Doubles, Floats, Ints

NEIGHBOURS = 20
MOST_CLUSTERS = 500
EXACT = 20_000  # images up to which every step of k-means looks at all of them
BATCH = 5_000  # images a step beyond that, as in the authors' code
CLOSEST = 1e-6  # images closer than this count as this close: nothing is divided by 0


@dataclass(frozen=True)
class Grouped:
    """N images as the choice sees them; arrays of shape (N,).

    ``cluster`` numbers their clusters, ``typicality`` is the inverse of the mean distance to the
    nearest neighbours, ``covered`` says which have a label already, and images that share a number
    in ``picture`` are copies of one picture.
    """

    cluster: Ints
    typicality: Doubles
    covered: npt.NDArray[np.bool_]
    picture: Ints


def require_sklearn() -> None:
    """See that k-means is there, before any work.

    Raises:
        StudyError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise StudyError("suggest needs scikit-learn: pip install 'headstart[sklearn]'")


def scaled(x: Floats) -> Floats:
    """Features (N, D) scaled to length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit: Floats = (x / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def suggested(
    x: Floats, covered: npt.NDArray[np.bool_], n: int, seed: int = 0, picture: Ints | None = None
) -> tuple[Ints, Grouped]:
    """Choose up to ``n`` of the images that are not covered, the first to be labelled in front.

    Args:
        x: features of length 1, (N, D).
        covered: (N,) which are labelled already.
        n: how many to choose.
        seed: of k-means.
        picture: (N,) equal for copies of one picture; without it no two are copies.

    Returns:
        Positions of the chosen, and how the images were grouped.
    """
    cluster = clusters(x, int(covered.sum()) + n, seed)
    pictures = np.arange(len(x)) if picture is None else picture
    grouped = Grouped(cluster, typicality(x, cluster), covered, pictures)
    return pick(grouped, n), grouped


def clusters(x: Floats, count: int, seed: int) -> Ints:
    """The k-means cluster (N,) of each of N images; at most ``MOST_CLUSTERS``, and at most N."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    count = min(count, MOST_CLUSTERS, len(x))
    if len(x) <= EXACT:
        model = KMeans(count, n_init=1, random_state=seed)
    else:
        model = MiniBatchKMeans(count, n_init=1, batch_size=BATCH, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different images than clusters leave some clusters empty, which harms nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: Ints = model.fit_predict(x).astype(np.int64)
    return found


def typicality(x: Floats, cluster: Ints) -> Doubles:
    """1 over the mean distance to the ``NEIGHBOURS`` nearest images of the cluster, (N,).

    Where a cluster has fewer others, all of them count; an image alone in its cluster has 0.
    """
    found = np.zeros(len(x))
    for members in _members(cluster):
        near = min(NEIGHBOURS, len(members) - 1)
        if near < 1:
            continue
        for part in np.array_split(members, -(-len(members) // BATCH)):
            apart = _distances(x[part], x[members])
            # The image itself is the nearest, at a distance of 0 but for rounding.
            nearest = np.partition(apart, near, axis=1)[:, : near + 1]
            mean = np.sort(nearest, axis=1)[:, 1:].mean(axis=1)
            found[part] = 1 / np.maximum(mean, CLOSEST)
    return found


def nearest(x: Floats, others: Floats) -> Doubles:
    """The distance (N,) of each of N images to the nearest of the others (M, D)."""
    parts = [_distances(part, others).min(axis=1) for part in np.array_split(x, len(x) // 1024 + 1)]
    return np.concatenate(parts)


def pick(images: Grouped, n: int) -> Ints:
    """Up to ``n`` images: always of the cluster with the fewest labelled or chosen ones.

    Among such clusters the largest comes first, and of a cluster its most typical image. No image
    is chosen that is a copy of a labelled or a chosen one.
    """
    taken = set(images.picture[images.covered].tolist())
    queue, waiting = [], []
    for number, members in enumerate(_members(images.cluster)):
        free = members[~images.covered[members]]
        order = free[np.argsort(-images.typicality[free], kind="stable")]
        waiting.append(iter(order.tolist()))
        queue.append((len(members) - len(free), -len(members), number))
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < n:
        labels, size, number = heapq.heappop(queue)
        image = next((i for i in waiting[number] if int(images.picture[i]) not in taken), None)
        if image is not None:
            chosen.append(image)
            taken.add(int(images.picture[image]))
            heapq.heappush(queue, (labels + 1, size, number))
    return np.array(chosen, dtype=np.int64)


def _members(cluster: Ints) -> Iterator[Ints]:
    """The positions of each cluster's images, cluster by cluster."""
    order = np.argsort(cluster, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(cluster[order])) + 1
    yield from np.split(order, starts)


def _distances(a: Floats, b: Floats) -> Doubles:
    """Euclidean distances (A, B) between rows, in float64: close ones are no difference of ones."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    apart: Doubles = np.sqrt(np.maximum(squares, 0))
    return apart
