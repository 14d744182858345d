"""Does a map matter to its model? Deletion and insertion against random orders (Petsiuk, 2018).

Raw areas hold the model's own confidence and robustness and must not be compared between models;
the gaps to random orders of the *same* model may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headstart.attributions.base import Case, blurred, left_as_it_was, own_generator
from headstart.types import Doubles

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Removal:
    """How pixels are taken away: a grid of ``cells`` × ``cells``, in ``steps`` equal steps.

    ``orders`` random orders, drawn from the image and ``seed``, are the comparison: the same for
    every model.
    """

    cells: int = 8
    steps: int = 20
    orders: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.cells, self.steps, self.orders) < 1:
            raise ValueError("cells, steps and orders must be at least 1")


DEFAULT = Removal()


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Softmax probability of the target while pixels go or come, (M, steps + 1) each, float64.

    ``deletion`` takes the most important cells first, ``insertion`` brings them first onto the
    blurred image; ``random`` takes cells in random order, a mean over the orders. Rows of images
    without a map are NaN. Area is by the trapezoid rule over [0, 1].
    """

    deletion: Doubles
    insertion: Doubles
    random: Doubles

    @property
    def gap_deletion(self) -> Doubles:
        """ΔDel = Del_random − Del, (M,): positive is better than a random order."""
        return area(self.random) - area(self.deletion)

    @property
    def gap_insertion(self) -> Doubles:
        """ΔIns = Ins − Ins_random, (M,): positive is better than a random order.

        Bringing cells in an order passes through the same images as taking them in the opposite
        order, backwards, and the opposite of a random order is as random: one area serves both.
        """
        return area(self.insertion) - area(self.random)


def area(curves: Doubles) -> Doubles:
    """Area (M,) under curves (M, points) that are evenly spread over [0, 1]."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2)


def faithfulness(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    maps: Tensor,
    plan: Removal = DEFAULT,
    batch_size: int = 256,
) -> Faithfulness:
    """Remove cells of images ``x`` (M, 3, H, W) in [0, 1] in the order of ``maps`` (M, H, W).

    What is removed is replaced by the image under a blur of σ = H/8. A cell's importance is the
    sum of the map over it, signs included: what speaks against the class goes last. ``target``
    is (M,). The model is left as it was. An image costs steps · (orders + 2) passes or fewer.

    Raises:
        ValueError: shapes that do not fit, or images with fewer pixels than cells a side.
    """
    import torch

    if maps.shape != (len(x), *x.shape[2:]) or target.shape != x.shape[:1]:
        raise ValueError(f"maps {tuple(maps.shape)} and x {tuple(x.shape)} do not fit together")
    if min(x.shape[2:]) < plan.cells:
        raise ValueError(f"images of {tuple(x.shape[2:])} px have no {plan.cells} cells a side")
    curves = []
    with left_as_it_was(model), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        for i in range(len(x)):
            if not bool(maps[i].any()):
                curves.append(np.full((3, plan.steps + 1), np.nan))
                continue
            walk = _Walk(model, x[i : i + 1].float(), int(target[i]), plan, batch_size)
            curves.append(walk.curves(maps[i]))
    deletion, insertion, random = np.stack(curves, axis=1)
    return Faithfulness(deletion, insertion, random)


@dataclass(frozen=True, eq=False)
class _Walk:
    """One image (1, 3, H, W) and all the ways its cells are taken."""

    model: nn.Module
    image: Tensor
    target: int
    plan: Removal
    batch_size: int

    def curves(self, one_map: Tensor) -> Doubles:
        """Deletion, insertion and random curves, (3, steps + 1)."""
        import torch

        count = self.plan.cells**2
        importance = _cell_sums(one_map.float(), self.plan.cells)
        order = importance.argsort(descending=True, stable=True).cpu()
        generator = own_generator(self.image[0])
        generator.manual_seed(generator.initial_seed() + self.plan.seed)
        random = [torch.randperm(count, generator=generator) for _ in range(self.plan.orders)]
        # To insert the most important first is to delete the least important first, backwards.
        orders = torch.stack([order, order.flip(0), *random])
        probability = self._deleted(orders)  # (orders + 2, steps + 1)
        mean = probability[2:].mean(axis=0)
        return np.stack([probability[0], probability[1, ::-1], mean])

    def _deleted(self, orders: Tensor) -> Doubles:
        """The target's probability (R, steps + 1) while cells go in each of the orders (R, n)."""
        import torch

        steps, count = self.plan.steps, orders.shape[1]
        rank = orders.argsort(dim=1)  # the turn of each cell
        taken = (torch.arange(steps + 1) * count / steps).round()
        gone = rank[:, None, :] < taken[None, :, None]  # (R, steps + 1, n)
        inner = gone[:, 1:-1].flatten(0, 1)  # the first and the last are the same for all orders
        states = torch.cat([gone[0, :1], gone[0, -1:], inner])
        found = torch.cat([self._ask(some) for some in torch.split(states, self.batch_size)])
        ends = np.broadcast_to(found[:2].numpy(), (len(orders), 2))
        between = found[2:].numpy().reshape(len(orders), steps - 1)
        return np.concatenate([ends[:, :1], between, ends[:, 1:]], axis=1)

    def _ask(self, gone: Tensor) -> Tensor:
        """The target's probability (N,) without the cells of ``gone`` (N, cells²), float64."""
        rows, columns = (_cell_of(side, self.plan.cells) for side in self.image.shape[2:])
        cell = rows[:, None] * self.plan.cells + columns  # (H, W)
        hidden = gone.to(self.image.device)[:, cell.to(self.image.device)][:, None]
        seen = blurred(self.image).where(hidden, self.image)
        probability: Tensor = self.model(seen).double().softmax(1)[:, self.target]
        return probability.cpu()


def _cell_of(side: int, cells: int) -> Tensor:
    """The cell of each of ``side`` pixels: sizes differ by one where they do not divide."""
    import torch

    return torch.arange(side) * cells // side


def _cell_sums(one_map: Tensor, cells: int) -> Tensor:
    """(cells²,) sums of a map (H, W) over the cells."""
    import torch

    rows, columns = (_cell_of(side, cells).to(one_map.device) for side in one_map.shape)
    index = (rows[:, None] * cells + columns).flatten()
    return torch.zeros(cells**2, device=one_map.device).index_add_(0, index, one_map.flatten())


@dataclass(frozen=True, eq=False)
class CentreBorder:
    """How far the target's probability falls, (M,) each, when a part of the image is blurred.

    A **proxy** for "does it look at the object?" where there are no masks: objects are often, not
    always, in the middle. ``centre`` and ``border`` are of equal area.
    """

    centre: Doubles
    border: Doubles


def centre_against_border(
    model: nn.Module, x: Tensor, target: Tensor, batch_size: int = 64
) -> CentreBorder:
    """Blur (σ = H/8) the central square of half the area, or all the rest, of x (M, 3, H, W)."""
    import torch

    height, width = x.shape[2:]
    inside = (_central(height)[:, None] & _central(width)).to(x.device)
    falls: tuple[list[Tensor], list[Tensor]] = ([], [])
    with left_as_it_was(model), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        for plain, classes in Case(model, x.float(), target.long(), batch_size).batches():
            soft = blurred(plain)

            def ask(seen: Tensor, classes: Tensor = classes) -> Tensor:
                probability: Tensor = model(seen).double().softmax(1)
                return probability.gather(1, classes[:, None])[:, 0].cpu()

            whole = ask(plain)
            falls[0].append(whole - ask(soft.where(inside, plain)))
            falls[1].append(whole - ask(plain.where(inside, soft)))
    centre, border = (torch.cat(part).numpy() for part in falls)
    return CentreBorder(centre, border)


def _central(side: int) -> Tensor:
    """(side,) bool: the middle 1/√2 of a side."""
    import torch

    place = (torch.arange(side) + 0.5) / side
    inside: Tensor = (place - 0.5).abs() < 0.5**1.5
    return inside
