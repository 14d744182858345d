"""Processes that train one network together; for one process every function here does nothing.

The *joint batch* of a step is what one process would see; each rank holds its share of it, in the
order of the ranks. A loss is computed of the joint batch on every rank, so it is the same number
everywhere. What is exchanged has its exact gradient: of the sum of all ranks' losses, of which
DistributedDataParallel takes the mean, which is the gradient of the one loss.

Ranks work together inside ``together`` alone. Outside it rank zero does everything else by itself,
and the other ranks wait in ``calls``.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

S = TypeVar("S", Tensor, Sequence[Tensor])
T = TypeVar("T")
JOIN = timedelta(minutes=15)  # until all have started
PATIENCE = timedelta(days=30)  # ranks wait in an exchange while rank zero measures or writes
LOOK_SECONDS, BYE_SECONDS = 0.1, 10.0


@dataclass
class _State:
    rank: int = 0
    world: int = 1
    store: Any = None  # a torch.distributed.Store
    calls: int = 0
    together: bool = False


_state = _State()  # one for the process, as its rank is


class LostRankError(RuntimeError):
    """Another process of the group has ended, and this one cannot go on without it."""


def members() -> int:
    """How many processes have joined, whether or not they are at work together now."""
    return _state.world


def is_helper() -> bool:
    """Whether this process only trains along, and rank zero does all the rest."""
    return _state.rank > 0


def on_this_machine() -> int:
    """How many of them run on this machine, as ``torchrun`` says it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _state.world > 1 else 1


def place_on_this_machine() -> int:
    """Which of those this process is, 0 for the first: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _state.world > 1 else 0


def world() -> int:
    """How many processes share the batch at hand."""
    return _state.world if _state.together else 1


def rank() -> int:
    """The place of this process among those that share the batch: 0 … ``world()`` − 1."""
    return _state.rank if _state.together else 0


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that ``torchrun`` started beside this one, while the block runs."""
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    store, rank, world = next(rendezvous("env://", timeout=JOIN))
    store = dist.PrefixStore(f"start-{_start()}", store)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    _state.rank, _state.world, _state.calls = rank, world, 0
    _state.store = dist.PrefixStore("headstart", store)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _state.rank, _state.world, _state.store = 0, 1, None
        dist.destroy_process_group()


def _start() -> str:
    """How often torchrun has started all anew: on one machine its store keeps what was there.

    Over machines it makes a new store each time, and the machines may not agree on the number.
    """
    if os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        return "0"
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


# --- who does what -----------------------------------------------------------------------------


@contextmanager
def together(call: object = None) -> Iterator[None]:
    """Share batches while the block runs; rank zero sends ``call`` to those that wait for one.

    Raises:
        LostRankError: another rank has ended.
    """
    if call is not None and _state.world > 1 and not is_helper():
        _send(call)
    _state.together = True
    try:
        yield
    except RuntimeError as error:
        if _state.world > 1 and _is_lost(error):
            raise LostRankError(str(error)) from error
        raise
    finally:
        _state.together = False


def calls() -> Iterator[Any]:
    """What rank zero calls this rank to, one after the other, until it dismisses all.

    Raises:
        LostRankError: rank zero has ended.
    """
    assert _state.store
    while True:
        name = f"call-{_state.calls}"
        try:
            while not _state.store.check([name]):
                time.sleep(LOOK_SECONDS)  # a signal is heard in between
            call = pickle.loads(_state.store.get(name))  # noqa: S301 - from this very program
        except RuntimeError as error:
            raise LostRankError(str(error)) from error
        _state.calls += 1
        if call is None:
            _state.store.add("bye", 1)
            return
        yield call


@contextmanager
def leading() -> Iterator[None]:
    """Rank zero's run; at its end the others may end too.

    After a signal, or where one of them was lost, all of them end by themselves.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, LostRankError):
            _dismiss()
        raise
    _dismiss()


def _dismiss() -> None:
    """Let the others end, and wait until they have heard it: rank zero may hold the store."""
    if _state.world == 1:
        return
    assert _state.store
    _send(None)
    end = time.monotonic() + BYE_SECONDS
    while _state.store.add("bye", 0) < _state.world - 1 and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)


def _send(call: object) -> None:
    assert _state.store
    _state.store.set(f"call-{_state.calls}", pickle.dumps(call))
    _state.calls += 1


def _is_lost(error: RuntimeError) -> bool:
    """Whether an exchange failed because the other side is gone; Gloo has no class for it."""
    text = str(error)
    gone = any(word in text for word in ("closed by peer", "reset by peer", "Broken pipe"))
    return isinstance(error, dist.DistError) or gone


# --- what they exchange ------------------------------------------------------------------------


def share(count: int) -> slice:
    """Which of ``count`` things, in order, are this rank's; shares differ by one at most."""
    return slice(rank() * count // world(), (rank() + 1) * count // world())


def mine(things: S) -> S:
    """This rank's share of rows or groups that every rank holds."""
    return things if world() == 1 else things[share(len(things))]


def gather(rows: Tensor) -> Tensor:
    """(b, …) of each rank, in the order of the ranks: the joint (B, …), with gradient.

    The ranks may hold different numbers of rows. Among several, rows become float32.
    """
    if world() == 1:
        return rows
    joint: Tensor = _Gather.apply(rows.float())
    return joint


def total(part: Tensor) -> Tensor:
    """The sum over the ranks, with gradient."""
    if world() == 1:
        return part
    summed: Tensor = _Total.apply(part)
    return summed


def told(value: T) -> T:
    """Rank zero's value, on every rank; any that can be pickled."""
    if world() == 1:
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return cast(T, values[0])


def most(number: int) -> int:
    """The largest of the ranks' numbers."""
    if world() == 1:
        return number
    largest = torch.tensor(number)  # on the CPU: no device has to be waited for
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = [torch.zeros((), dtype=torch.long) for _ in range(world())]
        dist.all_gather(counts, torch.tensor(len(rows)))
        ctx.counts = [int(count) for count in counts]
        longest = max(ctx.counts)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in ctx.counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        begin = sum(ctx.counts[: _state.rank])
        return summed[begin : begin + ctx.counts[_state.rank]]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        summed = part.contiguous().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed
