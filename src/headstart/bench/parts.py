"""What surrounds the network, each timed alone: views, decoding, linear heads."""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from headstart.bench.timed import Clock, wait
from headstart.data.batches import Images, ViewPairs
from headstart.data.worker import Task, work
from headstart.nn.encoder import Encoder
from headstart.nn.linear import STRENGTHS, fit_heads
from headstart.runtime.networks import outputs

REPEATS = 7
FRACTIONS, SEEDS = (0.05, 0.1, 0.2, 0.5, 1.0), 5
IMAGES, CLASSES, EPOCHS = 5_000, 10, 150  # of the classifier in the reference study: 150 epochs


def views_rate(batches: ViewPairs, clock: Clock = time.perf_counter) -> float:
    """Views made a second: on one CPU thread, or by the GPU where the images lie on one."""
    device = batches.images.device

    def make() -> int:
        x1, x2 = batches(0)
        wait(device)
        return len(x1) + len(x2)

    with _one_thread():
        make()
        return _median_rate(make, clock)


def decode_rate(paths: Sequence[Path], side: int, clock: Clock = time.perf_counter) -> float:
    """Image files a second that one of the processes which decode reads, decodes, scales to
    ``side``, hashes and writes down.

    By its own code, in this process. Files that cannot be read count too: they cost what they cost.
    """
    jobs = [json.dumps((row, str(path), row)).encode() for row, path in enumerate(paths)]
    with tempfile.NamedTemporaryFile() as pixels:
        task = Task(pixels.name, 0, side)

        def read() -> int:
            work(task, jobs, io.BytesIO())
            return len(jobs)

        read()
        return _median_rate(read, clock)


def heads_cost(
    encoder: Encoder, images: Images, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """What linear heads cost: solved on features, and trained through the frozen backbone.

    For 5,000 images in 10 classes, 5 label fractions and 5 seeds. The features are drawn, classes
    apart by half their spread. ``heads_core_seconds`` solves all with 45 strengths each;
    ``epochs_core_seconds`` is 150 epochs of forward passes for each of the 25 without any
    strength to choose, from the measured rate of one core, and ``one_head_core_seconds`` for the
    one with all labels only.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, IMAGES)
    means = rng.normal(0, 0.5, (CLASSES, encoder.num_features))
    x = means[y] + rng.normal(0, 1, (IMAGES, encoder.num_features))
    subsets = [
        rng.permutation(IMAGES)[: round(fraction * IMAGES)]
        for fraction in FRACTIONS
        for _ in range(SEEDS)
    ]
    subsets = [s for s in subsets if len(s) < IMAGES] + [np.arange(IMAGES)] * SEEDS
    with _one_thread():
        begun = time.process_time()
        fit_heads(torch.from_numpy(x).float(), torch.from_numpy(y), subsets, CLASSES, STRENGTHS)
        heads = time.process_time() - begun
        part = Images(images.cache, images.rows[:256], images.size, images.device)

        def look() -> int:
            outputs(encoder, part)
            wait(images.device)
            return len(part)

        look()
        rate = _median_rate(look, clock)
    return {
        "heads_core_seconds": heads,
        "epochs_core_seconds": EPOCHS * sum(map(len, subsets)) / rate,
        "one_head_core_seconds": EPOCHS * IMAGES / rate,
        "forward_images_per_s_per_core": rate,
    }


def _median_rate(work: Callable[[], int], clock: Clock) -> float:
    rates = []
    for _ in range(REPEATS):
        begun = clock()
        done = work()
        rates.append(done / (clock() - begun))
    return float(np.median(rates))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
