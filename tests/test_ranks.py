"""Several processes compute what one computes on the joint batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from headstart import ranks
from headstart.methods import METHODS
from joint_table import ENCODERS, end, furthest, relative


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("method", METHODS)
def test_processes_compute_what_one_computes(
    method: str, encoder: str, world: int, joint_runs: Path
) -> None:
    """Loss, gradients, queue, moving averages, statistics and weights, in float64.

    Batches of 18 and 16 images: neither 2 nor 4 processes all have equal shares of 18.
    """
    case = f"{method}, {encoder}"
    one = end(joint_runs, "train exactly", 1)[case]
    several = end(joint_runs, "train exactly", world)[case]
    assert several["losses"] == pytest.approx(one["losses"], rel=1e-7)
    assert len(one["losses"]) == len(one["gradients"]) == 3
    for alone, shared in zip(one["gradients"], several["gradients"], strict=True):
        assert furthest(alone, shared) < 1e-10
        assert max(float(g.abs().max()) for g in alone.values()) > 1e-3
    assert furthest(one["network"], several["network"]) < 1e-10


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("method", METHODS)
def test_in_float32_they_differ_by_rounding(
    method: str, encoder: str, world: int, joint_runs: Path
) -> None:
    case = f"{method}, {encoder}"
    one, several = (end(joint_runs, "train", n)[case] for n in (1, world))
    assert several["losses"] == pytest.approx(one["losses"], rel=2e-6, abs=1e-6)
    for alone, shared in zip(one["gradients"], several["gradients"], strict=True):
        assert relative(alone, shared) < 3e-5
    assert relative(one["network"], several["network"]) < 1e-6


@pytest.mark.parametrize("task", ["train", "train exactly"])
def test_all_ranks_end_with_the_same_bits(task: str, joint_runs: Path) -> None:
    zero = end(joint_runs, task, 4)
    for rank in (1, 2, 3):
        other = end(joint_runs, task, 4, rank)
        for case, ended in zero.items():
            assert furthest(ended["network"], other[case]["network"]) == 0


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_resumes_on_another_number_of_processes(
    method: str, world: int, joint_runs: Path
) -> None:
    """Begun by four, stopped after three of six steps, ended by one or two."""
    whole = end(joint_runs, "whole", 1)[method]
    resumed = end(joint_runs, "resume", world)[method]
    assert len(resumed["gradients"]) == 3
    assert resumed["losses"] == pytest.approx(whole["losses"], rel=1e-7)
    assert furthest(whole["network"], resumed["network"]) < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_activations_that_are_computed_again_are_of_the_joint_batch(
    method: str, joint_runs: Path
) -> None:
    """Every bit as where they are kept; MoCo's groups keep BatchNorm statistics of their own."""
    two = end(joint_runs, "recompute", 2)
    kept, again = (two[f"{method}, {way}"] for way in ("kept", "computed again"))
    assert again["losses"] == kept["losses"]
    for one, other in zip(kept["gradients"], again["gradients"], strict=True):
        assert furthest(one, other) == 0
    assert furthest(kept["network"], again["network"]) == 0


@given(count=st.integers(1, 300), world=st.integers(1, 70))
def test_shares_are_in_order_and_differ_by_one_at_most(count: int, world: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "world", lambda: world)
        shares = []
        for rank in range(world):
            patch.setattr(ranks, "rank", lambda rank=rank: rank)
            shares.append(range(count)[ranks.share(count)])
    assert [i for share in shares for i in share] == list(range(count))
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_one_process_is_left_alone() -> None:
    """Not even a copy is made."""
    x = torch.rand(3, 2, requires_grad=True)
    with ranks.joined(), ranks.together():
        for helper in (ranks.gather, ranks.total, ranks.mine, ranks.told):
            assert helper(x) is x
        assert (ranks.world(), ranks.rank(), ranks.most(3)) == (1, 0, 3)
        assert ranks.share(7) == slice(0, 7)


# --- a whole study -----------------------------------------------------------------------------


def test_rank_zero_alone_writes(joint_runs: Path) -> None:
    """A whole study: of files, folders and what is moved, the other process touches none."""
    assert len(end(joint_runs, "study", 2)["written"]) > 100
    assert end(joint_runs, "study", 2, rank=1)["written"] == []


def test_a_study_of_two_processes_is_the_study_of_one(joint_runs: Path) -> None:
    """The same artifacts under the same keys; the encoders differ by rounding."""
    one, two = (joint_runs / f"run-of-{n}" / "pretrain" for n in (1, 2))
    encoders = [path.relative_to(one) for path in one.glob("*-seed0-*/encoder.safetensors")]
    assert len(encoders) == 2
    for path in encoders:
        assert relative(load_file(one / path), load_file(two / path)) < 1e-5
