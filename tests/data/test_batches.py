"""Batches are functions of the step alone, whatever the sizes and whatever was asked before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart import ranks
from headstart.config import View
from headstart.data.batches import Images, LabelledBatches, Order, ViewPairs, generator
from headstart.data.cache import PixelCache

torch.set_num_threads(1)

COUNT, SIZE = 23, 16
PLAIN = View(jitter_p=0, gray_p=0, blur_p=0)  # crops and flips: a plain colour stays what it is


def plain_images(rows: np.ndarray | None = None) -> Images:
    """Row i of the cache is all of the grey value 5·i, so a view tells which image it shows."""
    grey = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.uint8(5)
    pixels = np.broadcast_to(grey, (40, 3, 20, 20)).copy()
    nothing = ("",) * 40
    cache = PixelCache(pixels, np.linspace(0.7, 1.4, 40, dtype=np.float32), nothing, nothing)
    rows = np.arange(COUNT) if rows is None else rows
    return Images(cache, rows.astype(np.int64), SIZE, torch.device("cpu"))


def noisy_images() -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, 3, 20, 20), dtype=np.uint8)
    nothing = ("",) * COUNT
    cache = PixelCache(pixels, np.ones(COUNT, np.float32), nothing, nothing)
    return Images(cache, np.arange(COUNT), SIZE, torch.device("cpu"))


def shown(x: torch.Tensor) -> list[int]:
    """The rows that plain views show."""
    return (x.mean(dim=(1, 2, 3)) * 255 / 5).round().int().tolist()


# --- order -------------------------------------------------------------------------------------


@given(
    count=st.integers(2, 90),
    batch=st.integers(2, 40),
    seed=st.integers(0, 2**40),
    drop_last=st.booleans(),
)
def test_an_epoch_shows_each_image_at_most_once(
    count: int, batch: int, seed: int, drop_last: bool
) -> None:
    order = Order(count, batch, seed, drop_last)
    for epoch in (0, 3):
        first = epoch * order.steps_per_epoch
        parts = [order.positions(first + i) for i in range(order.steps_per_epoch)]
        sizes = [len(part) for part in parts]
        together = np.concatenate(parts)
        assert len(np.unique(together)) == len(together)
        assert 0 <= together.min() <= together.max() < count
        assert min(sizes) >= 2
        assert all(size == min(batch, count) for size in sizes[:-1])
        left_out = count - len(together)
        rest = count % batch
        if count < batch:
            assert left_out == 0
        elif drop_last:
            assert left_out == rest
        else:
            assert left_out == (1 if rest == 1 else 0)


@given(steps=st.integers(0, 60), count=st.integers(2, 50), drop_last=st.booleans())
def test_images_are_counted_as_they_are_seen(steps: int, count: int, drop_last: bool) -> None:
    order = Order(count, 8, 0, drop_last)
    assert order.images(steps) == sum(len(order.positions(step)) for step in range(steps))


@pytest.mark.parametrize(
    ("count", "drop_last", "sizes"),
    [
        (82, True, [8] * 10),
        (82, False, [8] * 10 + [2]),  # N = 10·B + 2
        (81, True, [8] * 10),
        (81, False, [8] * 10),  # a single image is no batch
        (80, False, [8] * 10),
        (5, True, [5]),
        (5, False, [5]),
        (8, True, [8]),
        (9, False, [8]),
        (2, True, [2]),
    ],
)
def test_sizes_of_an_epochs_batches(count: int, drop_last: bool, sizes: list[int]) -> None:
    order = Order(count, 8, 0, drop_last)
    assert order.steps_per_epoch == len(sizes)
    two_epochs = [len(order.positions(step)) for step in range(2 * len(sizes))]
    assert two_epochs == sizes * 2


def test_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    order = Order(40, 8, seed=3)
    forward = [order.positions(step).tolist() for step in range(15)]
    torch.manual_seed(99)
    torch.rand(7)
    again = Order(40, 8, seed=3)
    backward = [again.positions(step).tolist() for step in reversed(range(15))]
    assert forward == backward[::-1]
    whole = [sorted(np.concatenate(forward[i : i + 5]).tolist()) for i in (0, 5, 10)]
    assert whole == [list(range(40))] * 3
    assert forward[:5] != forward[5:10] != forward[10:]  # each epoch has its own order
    assert forward[:5] != [Order(40, 8, seed=4).positions(step).tolist() for step in range(5)]


def test_order_does_not_depend_on_the_batch_size() -> None:
    small, large = Order(40, 8, seed=3), Order(40, 20, seed=3)
    assert np.array_equal(
        np.concatenate([small.positions(step) for step in range(5)]),
        np.concatenate([large.positions(step) for step in range(2)]),
    )


def test_one_image_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Order(1, 8, 0)


def test_generators_differ_by_every_number() -> None:
    keys = [(0, 1, 5), (0, 2, 5), (1, 1, 5), (0, 1, 6), (0, 5, 1), (2**40, 1, 5)]
    draws = [torch.rand(4, generator=generator(*key)) for key in keys]
    for i, a in enumerate(draws):
        assert torch.equal(a, torch.rand(4, generator=generator(*keys[i])))
        assert all(not torch.equal(a, b) for b in draws[:i])


# --- views -------------------------------------------------------------------------------------


def test_views_of_a_step_are_the_same_whatever_was_drawn_before() -> None:
    pairs = ViewPairs(noisy_images(), Order(COUNT, 6, seed=1), View(), View())
    wanted = pairs(4)
    for step in (0, 7, 2, 4, 4):
        pairs(step)
        torch.rand(3)
    fresh = ViewPairs(noisy_images(), Order(COUNT, 6, seed=1), View(), View())
    for got in (pairs(4), fresh(4)):
        assert all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True))


def test_the_two_views_are_of_the_same_images_and_not_alike() -> None:
    pairs = ViewPairs(plain_images(), Order(COUNT, 6, seed=1), PLAIN, PLAIN)
    x1, x2 = pairs(1)
    assert x1.shape == x2.shape == (6, 3, SIZE, SIZE)
    assert shown(x1) == shown(x2) == pairs.order.positions(1).tolist()
    noisy = ViewPairs(noisy_images(), Order(COUNT, 6, seed=1), PLAIN, PLAIN)
    n1, n2 = noisy(1)
    assert not torch.allclose(n1, n2)
    later = noisy(1 + noisy.order.steps_per_epoch)[0]
    assert not torch.allclose(n1, later)


def test_each_view_has_its_own_recipe() -> None:
    gray = PLAIN.model_copy(update={"gray_p": 1.0})
    x1, x2 = ViewPairs(noisy_images(), Order(COUNT, 6, seed=1), PLAIN, gray)(0)
    assert not torch.allclose(x1[:, 0], x1[:, 1])
    torch.testing.assert_close(x2[:, 0], x2[:, 1])


def test_views_are_drawn_without_touching_the_global_random_state() -> None:
    before = torch.get_rng_state()
    ViewPairs(noisy_images(), Order(COUNT, 6, seed=1), View(), View())(0)
    assert torch.equal(before, torch.get_rng_state())


# --- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [None, PLAIN])
def test_labels_belong_to_their_images(view: View | None) -> None:
    rows = np.random.default_rng(0).permutation(40)[:COUNT]  # not the order of the cache
    images = plain_images(rows)
    labels = torch.from_numpy(rows * 10)  # each image's label is told by its picture
    batches = LabelledBatches(images, Order(COUNT, 6, seed=2, drop_last=False), labels, view)
    seen: list[int] = []
    for step in range(2 * batches.order.steps_per_epoch):
        x, y = batches(step)
        assert x.shape == (len(y), 3, SIZE, SIZE)
        assert [10 * row for row in shown(x)] == y.tolist()
        seen += y.tolist()
    assert sorted(seen) == sorted(labels.tolist() * 2)


def test_labelled_batches_are_functions_of_the_step() -> None:
    labels = torch.arange(COUNT)
    batches = LabelledBatches(noisy_images(), Order(COUNT, 6, seed=2), labels, View())
    x, y = batches(3)
    batches(0)
    again, labels_again = batches(3)
    assert torch.equal(x, again)
    assert torch.equal(y, labels_again)


def test_centred_is_the_evaluation_transform_of_the_asked_images() -> None:
    images = plain_images()
    assert shown(images.centred(np.array([4, 1, 17]))) == [4, 1, 17]
    assert len(images) == COUNT
    one = noisy_images().centred(np.array([5]))
    among = noisy_images().centred(np.array([2, 5, 9]))[1:2]
    torch.testing.assert_close(one, among)


def test_a_row_that_the_cache_does_not_have_is_an_error() -> None:
    with pytest.raises(IndexError, match="40 images"):
        plain_images(np.array([3, 40])).pixels(np.array([0, 1]))


# --- several processes -------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [True, False])
def test_sixty_four_ranks_see_what_one_process_sees(
    drop_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same views of the same images, each on one rank, over an epoch with a ragged end."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 3, 12, 12), dtype=np.uint8)
    nothing = ("",) * 300
    cache = PixelCache(pixels, rng.uniform(0.7, 1.4, 300).astype(np.float32), nothing, nothing)
    images = Images(cache, np.arange(300), 8, torch.device("cpu"))
    order = Order(300, 115, seed=2, drop_last=drop_last)  # 115, 115 and 70
    view = View(solarize_p=0.2)
    pairs = ViewPairs(images, order, view, view.model_copy(update={"interpolation": "bicubic"}))
    seen: list[int] = []
    monkeypatch.setattr(ranks, "world", lambda: 64)
    for step in range(order.steps_per_epoch):
        parts, whole = [], order.positions(step)
        for rank in range(64):
            monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
            parts.append(pairs(step))
            seen += whole[ranks.share(len(whole))].tolist()
        with monkeypatch.context() as alone:
            alone.setattr(ranks, "world", lambda: 1)
            alone.setattr(ranks, "rank", lambda: 0)
            both = pairs(step)
        for view_of_all, shares in zip(both, zip(*parts, strict=True), strict=True):
            torch.testing.assert_close(torch.cat(shares), view_of_all, rtol=0, atol=1e-5)
    assert len(set(seen)) == len(seen) == (230 if drop_last else 300)


# --- shards ------------------------------------------------------------------------------------


def by_shard(count: int = 4000, shards: int = 40, buffer: int = 500, seed: int = 0) -> Order:
    """Shards of 95 to 104 images each; a tenth of all lie in none."""
    rng = np.random.default_rng(1)
    numbers = np.sort(rng.integers(0, shards, count))
    return Order(
        count, 32, seed, shards=np.where(rng.random(count) < 0.1, -1, numbers), buffer=buffer
    )


def epoch_of(order: Order, epoch: int = 0) -> np.ndarray:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return np.concatenate([order.positions(step) for step in steps])


def test_every_image_of_every_shard_comes_once_an_epoch() -> None:
    order = by_shard()
    for epoch in range(3):
        assert sorted(epoch_of(order, epoch).tolist()) == list(range(order.count))
    assert not np.array_equal(epoch_of(order, 0), epoch_of(order, 1))


def test_few_shards_are_open_at_a_time_and_each_only_once() -> None:
    """So that a copy of each has to be fetched once an epoch, and few are kept."""
    order = by_shard()
    assert order.shards is not None
    came = order.shards[epoch_of(order)]
    places = {shard: np.flatnonzero(came == shard) for shard in range(40)}
    first, last = (np.array([f(p) for p in places.values()]) for f in (np.min, np.max))
    open_at = [((first <= i) & (i <= last)).sum() for i in range(order.count)]
    assert max(open_at) <= 500 / 90 + 3
    spread = np.flatnonzero(came == -1)  # those of no shard come at any time
    assert (
        np.abs(
            np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, len(spread)), spread) / 4000
            - np.linspace(0, 1, 9)
        ).max()
        < 0.1
    )


def test_a_batch_mixes_shards() -> None:
    order = by_shard()
    assert order.shards is not None
    mixed = [len(set(order.shards[order.positions(step)].tolist())) for step in range(20, 100)]
    assert min(mixed) >= 4


def test_shards_that_the_buffer_holds_are_shuffled_as_anything_else() -> None:
    shards = np.arange(40) // 10
    plain, held = Order(40, 8, 3), Order(40, 8, 3, shards=shards, buffer=40)
    assert not held.by_shard
    assert np.array_equal(epoch_of(plain), epoch_of(held))


def test_a_training_by_shards_goes_on_where_it_stopped() -> None:
    order, again = by_shard(), by_shard()
    steps = [3, 124, 125, 126, 250, 251]
    assert [again.positions(s).tolist() for s in reversed(steps)] == [
        order.positions(s).tolist() for s in reversed(steps)
    ]


def test_sixty_four_ranks_see_every_image_of_every_shard_once_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = by_shard()
    seen: list[int] = []
    monkeypatch.setattr(ranks, "world", lambda: 64)
    for rank in range(64):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        for step in range(order.steps_per_epoch):
            positions = order.positions(step)
            seen += positions[ranks.share(len(positions))].tolist()
    assert sorted(seen) == list(range(order.count))
