"""objects: where the object is on test images, from the masks that the study names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.scan import Found
from headstart.runtime.run import Dataset, Run
from headstart.stages.explain.maps import Bools
from headstart.types import Ints

if TYPE_CHECKING:
    from headstart.data.masks import Masks


@dataclass(frozen=True)
class Objects:
    """Masks of test images, as the networks see these."""

    data: Dataset
    masks: Masks
    source: str

    @cached_property
    def key(self) -> str:
        """SHA-256 over the masks: part of the key of what rests on them."""
        digest = hashlib.sha256("\n".join(self.masks.ids.tolist()).encode())
        digest.update(np.ascontiguousarray(self.masks.coverage).data)
        return digest.hexdigest()

    @property
    def approximate(self) -> bool:
        """Whether any mask is made of boxes, not outlines."""
        return bool(self.masks.approximate.any())

    def known(self, positions: Ints) -> Bools:
        """(N,) whether the images at some positions of the index have a mask."""
        return np.asarray(self.masks.rows(self.data.index.ids[positions]) >= 0)

    def at(self, positions: Ints) -> Bools:
        """(N, T, T), True on the object; nothing but False where an image has no mask."""
        rows = self.masks.rows(self.data.index.ids[positions])
        seen = np.zeros((len(rows), self.data.size, self.data.size), dtype=bool)
        there = np.flatnonzero(rows >= 0)
        if len(there):
            seen[there] = self.masks.centred(rows[there], self.data.size)
        return seen


def find_objects(run: Run, data: Dataset) -> Objects | None:
    """The masks of the test images; None where the study names none.

    Raises:
        StudyError: masks that cannot be read, or that fit no image.
    """
    from headstart.data.masks import load_masks

    source = run.study.explain.masks
    if source is None:
        return None
    test = set(data.index.ids[data.index.where("test")].tolist())
    side = data.cache.pixels.shape[-1]
    masks = load_masks(source, list(_images(data)), side, test, run.tell.progress)
    run.tell.line(f"Masks: {len(masks.ids)} of {masks.asked} test images have one")
    return Objects(data, masks, str(source))


def _images(data: Dataset) -> Iterator[Found]:
    """The images of the index as they were found."""
    index, classes = data.index, data.index.classes.tolist()
    rows = (index.ids, index.paths, index.labels, index.splits)
    for identity, path, label, split in zip(*(row.tolist() for row in rows), strict=True):
        yield Found(identity, path, classes[label] if label >= 0 else "", split)
