"""objects: where the object is on test images, from the masks that the study names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.channels import endings_of
from headstart.data.scan import Found, find_labeled
from headstart.data.sources.folder import own_masks
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

    labeled = run.study.data.labeled
    source = run.study.explain.masks or (own_masks(labeled) if labeled else None)
    if source is None:
        return None
    test = set(data.index.ids[data.index.where("test")].tolist())
    side = data.cache.pixels.shape[-1]
    masks = load_masks(source, list(_images(run, data)), side, test, run.tell.progress)
    run.tell.line(f"Masks: {len(masks.ids)} of {masks.asked} test images have one")
    return Objects(data, masks, str(source))


def _images(run: Run, data: Dataset) -> Iterator[Found]:
    """The images of the index as they were found; what has no file is found again."""
    index, classes = data.index, data.index.classes.tolist()
    rows = (index.ids, index.paths, index.labels, index.splits)
    labeled = run.study.data.labeled
    inside = {}
    if labeled is not None and not all(map(os.path.isfile, index.paths)):
        endings = endings_of(data.bands)
        files = find_labeled(labeled, endings=endings, copies=run.cache)
        inside = {found.id: found.read for found in files}
    for identity, path, label, split in zip(*(row.tolist() for row in rows), strict=True):
        name = classes[label] if label >= 0 else ""
        yield Found(identity, path, name, split, read=inside.get(identity))
