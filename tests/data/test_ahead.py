from __future__ import annotations

import threading

import pytest
import torch

from headstart.data.ahead import Ahead

CPU = torch.device("cpu")


class Counted:
    """A batch that holds its step, and remembers which were made and by whom."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.threads: set[int] = set()

    def __call__(self, step: int) -> tuple[torch.Tensor, ...]:
        self.made.append(step)
        self.threads.add(threading.get_ident())
        if step == 7:
            raise OSError("the disk is gone")
        return torch.full((2,), step), torch.tensor(step)


def test_every_step_gets_its_own_batch_and_none_is_made_twice() -> None:
    counted = Counted()
    ahead = Ahead(counted, 5, CPU)
    for step in range(5):
        assert [t.max().item() for t in ahead(step)] == [step, step]
    assert counted.made == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in counted.threads


def test_the_next_batch_is_made_before_it_is_asked_for() -> None:
    counted, second = Counted(), threading.Event()

    def batch(step: int) -> tuple[torch.Tensor, ...]:
        if step == 1:
            second.set()
        return counted(step)

    Ahead(batch, 5, CPU)(0)
    assert second.wait(timeout=30)


def test_a_step_out_of_turn_is_made_when_asked_for() -> None:
    ahead = Ahead(Counted(), 6, CPU)
    assert [ahead(step)[1].item() for step in (0, 4, 2, 3)] == [0, 4, 2, 3]


def test_what_making_a_batch_raised_is_raised_where_it_is_asked_for() -> None:
    ahead = Ahead(Counted(), 9, CPU)
    ahead(6)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead(7)
