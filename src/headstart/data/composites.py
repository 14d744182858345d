"""Test images with their parts exchanged: foregrounds and backgrounds, alone and mixed.

After Xiao et al. (2021, "Noise or signal: the role of image backgrounds in object recognition").
Backgrounds are always images whose own foreground was filled, so a donor's object never shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.data.groups import partners
from headstart.types import Doubles, Ints

KINDS = ("original", "only_fg", "only_bg", "mixed_same", "mixed_rand")
MARGIN = 0.04  # of the side: the filled box is so much larger, for soft edges and close shadows
THINNEST = 0.06  # of the side: a strip of background thinner than this is not worth tiling

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Composites:
    """M images with masks, from which any of ``KINDS`` is made, a batch at a time.

    ``view`` gives images (B, 3, T, T) in [0, 1] by position 0 … M−1 (``Images.centred``), ``masks``
    is (M, T, T), True on the object; ``colour`` (3,) is the mean colour of the training images.
    ``same`` and ``rand`` (M,) are the positions of the images that give the backgrounds: another
    image of the same class, and one of a class drawn at random, its own included (never the image
    itself). Made by ``plan_composites``, which leaves out images that cannot be used.
    """

    view: Callable[[Ints], Tensor]
    masks: Mask
    y: Ints
    colour: Doubles
    same: Ints
    rand: Ints

    def __len__(self) -> int:
        return len(self.y)

    @property
    def background(self) -> Ints:
        """(M,) the class of the background that ``mixed_rand`` is pasted on."""
        return self.y[self.rand]

    def batch(self, kind: str, positions: Ints) -> Tensor:
        """Images (B, 3, T, T) in [0, 1] of one of ``KINDS``, on the device of ``view``.

        Raises ``ValueError`` for an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"kind '{kind}' is not one of {', '.join(KINDS)}")
        if kind == "only_bg":
            return self._filled(positions)
        x = self.view(positions)
        if kind == "original":
            return x
        mask = torch.from_numpy(self.masks[positions]).to(x.device)[:, None]
        if kind == "only_fg":
            other = torch.as_tensor(self.colour, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
        else:
            donors = self.same if kind == "mixed_same" else self.rand
            other = self._filled(donors[positions])
        return torch.where(mask, x, other)

    def _filled(self, positions: Ints) -> Tensor:
        return without_foreground(self.view(positions), self.masks[positions])


def plan_composites(
    view: Callable[[Ints], Tensor],
    masks: Mask,
    y: Ints,
    colour: Doubles,
    seed: int = 0,
    groups: Ints | None = None,
) -> tuple[Composites, Ints]:
    """Draw the donors of ``masks`` (N, T, T) and classes ``y`` (N,).

    A donor is of another of ``groups`` (N,) where the class has one: photos of one scene share
    their background, which would be no other background.

    Returns the composites and ``kept`` (M,), the positions of 0 … N−1 they are made of: images
    whose mask is neither empty nor full nor leaves no background to tile with, and whose class has
    another such image. ``view`` takes positions of 0 … N−1. The draws depend on ``seed`` and the
    order of the images only.

    Raises:
        ValueError: shapes that do not fit together, or no image left.
    """
    masks, y = np.asarray(masks, bool), np.asarray(y, np.int64)
    if masks.ndim != 3 or y.shape != masks.shape[:1]:
        raise ValueError(f"masks {masks.shape} and y {y.shape} do not fit together")
    usable = np.array([_strip(mask) is not None for mask in masks], dtype=bool)
    classes, counts = np.unique(y[usable], return_counts=True)
    kept = np.flatnonzero(usable & np.isin(y, classes[counts > 1])).astype(np.int64)
    if len(kept) == 0:
        raise ValueError("no two images of a class have an object and a background")

    def view_kept(positions: Ints) -> Tensor:
        return view(kept[positions])

    own = np.arange(len(y)) if groups is None else np.asarray(groups, np.int64)
    same, rand = _draw_donors(y[kept], own[kept], np.random.default_rng(seed))
    return Composites(view_kept, masks[kept], y[kept], np.asarray(colour), same, rand), kept


def _draw_donors(y: Ints, groups: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Positions (M,) of the donors of the same and of a random class, never the image itself."""
    same, rand = np.empty_like(y), np.empty_like(y)
    members = {label: np.flatnonzero(y == label) for label in np.unique(y).tolist()}
    for own in members.values():
        same[own] = own[partners(groups[own], rng)]  # every image gives its background once
    drawn = rng.choice(list(members), len(y))
    for label, own in members.items():
        # In turns, so that as few backgrounds as possible are used twice: answers on the same
        # background are not independent.
        turns = rng.permutation(own).tolist()
        for turn, to in enumerate(np.flatnonzero(drawn == label).tolist()):
            rand[to] = _donor(turns, turn, groups, to)
    return same, rand


def _donor(turns: list[int], turn: int, groups: Ints, to: int) -> int:
    """The first image from this turn on that is of another group, else any other one."""

    def offered() -> Iterator[int]:
        return (turns[(turn + k) % len(turns)] for k in range(len(turns)))

    elsewhere = next((i for i in offered() if groups[i] != groups[to]), None)
    return next(i for i in offered() if i != to) if elsewhere is None else elsewhere


def without_foreground(x: Tensor, masks: Mask) -> Tensor:
    """Images (B, 3, T, T) with the box around the object tiled from the background beside it.

    The largest of the four strips above, below, left and right of the box is repeated over the
    whole box (Only-BG-T), so that nothing of the object is left, its outline included. Raises
    ``ValueError`` for an image without an object or without background enough to tile with.
    """
    filled = x.clone()
    for i, mask in enumerate(masks):
        strips = _strip(mask)
        if strips is None:
            raise ValueError("an image has no object, or no background to tile with")
        (top, bottom, left, right), (first, last, west, east) = strips
        rows = first + np.arange(bottom - top) % (last - first)
        columns = west + np.arange(right - left) % (east - west)
        tile = x[i][:, torch.from_numpy(rows)[:, None], torch.from_numpy(columns)]
        filled[i, :, top:bottom, left:right] = tile
    return filled


Box = tuple[int, int, int, int]  # top, bottom, left, right; the ends are outside


def _strip(mask: Mask) -> tuple[Box, Box] | None:
    """The box around the object, with a margin, and the largest strip of background beside it."""
    side = len(mask)
    if not mask.any():
        return None
    margin = round(MARGIN * side)
    rows = np.flatnonzero(mask.any(axis=1)).tolist()
    columns = np.flatnonzero(mask.any(axis=0)).tolist()
    top, bottom = max(0, rows[0] - margin), min(side, rows[-1] + 1 + margin)
    left, right = max(0, columns[0] - margin), min(side, columns[-1] + 1 + margin)
    beside = (
        (0, top, 0, side),
        (bottom, side, 0, side),
        (0, side, 0, left),
        (0, side, right, side),
    )
    thick = [box for box in beside if min(box[1] - box[0], box[3] - box[2]) >= THINNEST * side]
    if not thick:
        return None
    return (top, bottom, left, right), max(thick, key=lambda b: (b[1] - b[0]) * (b[3] - b[2]))
