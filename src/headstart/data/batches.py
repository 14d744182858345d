"""Batches as functions of the step, so that a training can resume at any step.

The order of an epoch depends on (seed, epoch), the random parameters of a view on (seed, step,
view); so a resumed run sees exactly the images it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from headstart import ranks
from headstart.config import View
from headstart.data.cache import PixelCache
from headstart.data.views import centre_views, draw_views, render
from headstart.types import Ints

ALL = slice(None)
BUFFER = 32_768  # images of shards that are shuffled together
AHEAD = 4  # batches, this one counted, that are made ready where images are decoded as they come


def generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on all the numbers given."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


@dataclass(frozen=True)
class Images:
    """Some rows of a pixel cache, as tensors on a device."""

    cache: PixelCache
    rows: Ints
    size: int
    """Side of the views in pixels."""
    device: torch.device
    dtype: torch.dtype = torch.float32
    """What random views are computed in."""

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, positions: Ints) -> tuple[Tensor, Tensor]:
        """Whole images (B, C, S, S) as the cache has them on the device, their aspects (B,) on the
        CPU.
        """
        rows = self.rows[positions]
        shape = (len(rows), *self.cache.pixels.shape[1:])
        if not 0 <= rows.min(initial=0) <= rows.max(initial=0) < len(self.cache.pixels):
            raise IndexError(f"the cache has {len(self.cache.pixels)} images")
        # Pinned, the copy to a GPU runs beside its computing.
        dtype = torch.uint8 if self.cache.pixels.dtype == np.uint8 else torch.uint16
        pixels = torch.empty(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        self.cache.take(rows, pixels.numpy())
        return pixels.to(self.device, non_blocking=True), torch.from_numpy(self.cache.aspect[rows])

    def expect(self, batches: Iterable[Ints]) -> None:
        """Batches of positions that will be asked for soon, the next first."""
        self.cache.expect(self.rows[positions] for positions in batches)

    def views(
        self, positions: Ints, *drawn: tuple[View, torch.Generator], part: slice = ALL
    ) -> tuple[Tensor, ...]:
        """Random views of the same images, each by its own distribution and generator.

        With ``part``, the views of some of them alone, drawn as they are among all.
        """
        pixels, _ = self.pixels(positions[part])
        aspect = torch.from_numpy(self.cache.aspect[self.rows[positions]])
        views = []
        for view, key in drawn:
            draw, bicubic = draw_views(view, aspect, key)[part], view.interpolation == "bicubic"
            views.append(render(pixels, draw, self.size, bicubic=bicubic, dtype=self.dtype))
        return tuple(views)

    def centred(self, positions: Ints) -> Tensor:
        """The evaluation transform of some images: (B, C, T, T) in [0, 1]."""
        return centre_views(*self.pixels(positions), self.size)


@dataclass(frozen=True)
class Order:
    """Which images make up a step: a permutation an epoch, in batches of ``batch_size``.

    Images of ``shards`` come shard by shard, shuffled over ``buffer`` images, as from a shuffle
    buffer of WebDataset; no more than that many images are shuffled as any others.

    An epoch shorter than a batch is one smaller batch. The ragged last batch is left out with
    ``drop_last``, and always where it is a single image, which BatchNorm cannot take.
    """

    count: int
    batch_size: int
    seed: int
    drop_last: bool = True
    shards: Ints | None = None
    """The shard (N,) that each image lies in, where images of a shard should be read together; −1
    for one that lies by itself and may come at any time."""
    buffer: int = BUFFER

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"training needs at least 2 images, not {self.count}")

    @cached_property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, at least one."""
        whole, rest = divmod(self.count, self.batch_size)
        return max(1, whole + (rest > 1 and not self.drop_last))

    @property
    def by_shard(self) -> bool:
        """Whether images come shard by shard, and not in an order that is random throughout."""
        return self.shards is not None and self.count > self.buffer

    def images(self, steps: int) -> int:
        """How many images the first ``steps`` steps see, each as often as it is seen."""
        epochs, rest = divmod(steps, self.steps_per_epoch)
        whole = min(self.count, self.steps_per_epoch * self.batch_size)
        return epochs * whole + rest * self.batch_size

    def positions(self, step: int) -> Ints:
        """The images of a step, (≤batch_size,), as positions 0 … count−1."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return self._permutation(epoch)[start : start + self.batch_size]

    def _permutation(self, epoch: int) -> Ints:
        made: dict[int, Ints] = self.__dict__.setdefault("_made", {})  # each epoch's order, once
        if epoch not in made:
            for old in [e for e in made if abs(e - epoch) > 1]:  # who looks ahead needs two
                del made[old]
            made[epoch] = self._shuffled(generator(self.seed, 0, epoch))
        return made[epoch]

    def _shuffled(self, key: torch.Generator) -> Ints:
        """The positions in random order.

        Of shards: shard by shard, no image farther from its place than ``buffer``.
        """
        if self.shards is None or not self.by_shard:
            return torch.randperm(self.count, generator=key).numpy()
        turn = torch.randperm(int(self.shards.max()) + 1, generator=key).numpy()
        lot = torch.rand(self.count, generator=key, dtype=torch.float64).numpy()
        sharded = np.flatnonzero(self.shards >= 0)
        by_shard = sharded[np.argsort(turn[self.shards[sharded]], kind="stable")]
        place = lot * self.count
        spread = np.linspace(0, self.count, len(sharded), endpoint=False)
        place[by_shard] = spread + (lot[by_shard] - 0.5) * self.buffer
        return np.argsort(place, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class ViewPairs:
    """Step -> two random views of the same unlabelled images: of this rank's share of them.

    An image has the same views on any number of ranks, as they are drawn for the joint batch.
    """

    images: Images
    order: Order
    view1: View
    view2: View

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """x1, x2: (b, 3, T, T) in [0, 1] each."""
        seed = self.order.seed
        first, second = generator(seed, 1, step), generator(seed, 2, step)
        positions = self.order.positions(step)
        drawn = (self.view1, first), (self.view2, second)
        self.images.expect(self._share(step + ahead) for ahead in range(AHEAD))
        x1, x2 = self.images.views(positions, *drawn, part=ranks.share(len(positions)))
        return x1, x2

    def _share(self, step: int) -> Ints:
        positions = self.order.positions(step)
        return positions[ranks.share(len(positions))]


@dataclass(frozen=True)
class LabelledBatches:
    """Step -> images with their classes; augmented by ``view``, or as evaluation sees them."""

    images: Images
    order: Order
    labels: Tensor
    """Classes of all the images, (N,) on the device."""
    view: View | None

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """x (B, 3, T, T) in [0, 1], y (B,)."""
        positions = self.order.positions(step)
        y = self.labels[torch.from_numpy(positions).to(self.labels.device, non_blocking=True)]
        if self.view is None:
            return self.images.centred(positions), y
        (x,) = self.images.views(positions, (self.view, generator(self.order.seed, 1, step)))
        return x, y
