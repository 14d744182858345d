"""Images that the cache has no room for: the same pixels, in any order, with bounded memory."""

from __future__ import annotations

import gc
import io
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

import tiny_study
from headstart.config import StudyError, View
from headstart.data import stream as stream_module
from headstart.data.bands import Bands
from headstart.data.batches import Images, Order, ViewPairs
from headstart.data.cache import Kept, PixelCache, open_cache
from headstart.data.near import NearCopies
from headstart.data.sources.base import Found
from headstart.data.stream import Streamed
from headstart.stages.extract import extract
from headstart.stages.index import index
from headstart.stages.pretrain import pretrain, start
from headstart.types import Features

SIDE, COUNT, KEPT = 16, 30, 12
ONE = 3 * SIDE**2  # bytes of an image


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed % 5, 30, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """Pool and labelled images, with and without a file of their own; one of each is broken."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for i in range(COUNT):
        content = png(i) if i not in (3, 25) else b"torn"
        label = "cat" if i >= 24 else ""
        path = folder / f"{i:03d}.png"
        path.write_bytes(content)
        read = None if i % 3 else path.read_bytes
        found.append(Found(f"{i}", str(path), label, read=read, stamp=(len(content), i)))
    return found


@pytest.fixture(scope="module")
def whole(files: list[Found], tmp_path_factory: pytest.TempPathFactory) -> PixelCache:
    return open_cache(files, SIDE, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def partly(files: list[Found], tmp_path_factory: pytest.TempPathFactory) -> PixelCache:
    budget = KEPT * ONE + ONE // 2
    return open_cache(files, SIDE, tmp_path_factory.mktemp("part"), kept=Kept(budget=budget))


def places_taken(cache: PixelCache) -> int:
    assert isinstance(cache.pixels, Streamed)
    return len(cache.pixels._again._places)


def test_no_more_is_kept_than_the_budget_holds_and_labelled_images_first(
    files: list[Found], tmp_path: Path
) -> None:
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=KEPT * ONE))
    (stored,) = tmp_path.rglob("pixels.npy")
    assert stored.stat().st_size < KEPT * ONE + 200
    assert isinstance(cache.pixels, Streamed)
    places = cache.pixels._listed.places
    assert np.flatnonzero(places >= 0).tolist() == [*range(6), *range(24, 30)]


def test_a_budget_that_holds_all_makes_the_same_cache(files: list[Found], tmp_path: Path) -> None:
    open_cache(files, SIDE, tmp_path)
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=COUNT * ONE))
    assert not isinstance(cache.pixels, Streamed)
    assert len(list(tmp_path.rglob("pixels.npy"))) == 1


def test_all_is_known_of_images_that_are_not_kept(whole: PixelCache, partly: PixelCache) -> None:
    assert partly.digests == whole.digests
    assert [bool(why) for why in partly.reasons] == [bool(why) for why in whole.reasons]
    assert np.array_equal(partly.aspect, whole.aspect)
    for name in ("hashes", "mirrored", "flat"):
        assert np.array_equal(getattr(partly.prints, name), getattr(whole.prints, name))


@given(
    rows=st.lists(st.integers(0, COUNT - 1), max_size=40),
    soon=st.lists(st.lists(st.integers(0, COUNT - 1), max_size=10), max_size=5),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
def test_any_rows_in_any_order_are_the_same_pixels(
    whole: PixelCache, partly: PixelCache, rows: list[int], soon: list[list[int]]
) -> None:
    partly.expect(np.array(batch, np.int64) for batch in soon)
    asked = np.array(rows, np.int64)
    assert np.array_equal(partly.take(asked), whole.pixels[asked])
    assert not asked.size or np.array_equal(partly.pixels[asked[0]], whole.pixels[asked[0]])


def test_slices_shape_and_length_are_those_of_an_array(
    whole: PixelCache, partly: PixelCache
) -> None:
    assert partly.pixels.shape == whole.pixels.shape
    assert partly.pixels.dtype == whole.pixels.dtype
    assert len(partly.pixels) == len(whole.pixels)
    assert np.array_equal(partly.pixels[5:20], whole.pixels[5:20])


def test_few_places_are_enough(
    files: list[Found], whole: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer than a batch needs, and with most of them taken by what nobody came for."""
    monkeypatch.setattr(stream_module, "WAITING_BYTES", 6 * ONE)
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=ONE))
    cache.expect([np.arange(10, 20)])
    for _ in range(3):
        assert np.array_equal(cache.take(np.arange(COUNT)), whole.pixels[:])
        assert places_taken(cache) <= 6


def test_what_is_expected_is_decoded_before_it_is_asked_for(partly: PixelCache) -> None:
    assert isinstance(partly.pixels, Streamed)
    again = partly.pixels._again
    rows = np.arange(10, 18)
    partly.expect([rows])
    for _ in range(600):
        again._look(0.05)
        if again._ready.issuperset(rows.tolist()):
            break
    asked: list[int] = []
    real, again._ask = again._ask, lambda row, _: asked.append(row)  # type: ignore[method-assign]
    try:
        partly.take(rows[:4])
    finally:
        again._ask = real  # type: ignore[method-assign]
    assert set(asked) <= set(rows.tolist())
    assert again._ready.issuperset(rows[4:].tolist())


def test_an_epoch_decodes_each_image_once(
    whole: PixelCache, partly: PixelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Besides those of the next epoch that are made ready at its end."""
    readable = np.flatnonzero([not why for why in whole.reasons])
    order = Order(len(readable), 4, 0)
    images = Images(partly, readable, 12, torch.device("cpu"))
    assert isinstance(partly.pixels, Streamed)
    partly.expect([])
    partly.take(np.arange(6, 24))  # forget what other tests expected
    asked: list[int] = []
    real = partly.pixels._again._decoding.ask

    def ask(job: tuple[int, str, int]) -> None:
        asked.append(job[0])
        real(job)

    monkeypatch.setattr(partly.pixels._again._decoding, "ask", ask)
    pairs = ViewPairs(images, order, View(), View())
    for step in range(order.steps_per_epoch):
        pairs(step)
    in_epoch = {int(readable[p]) for s in range(order.steps_per_epoch) for p in order.positions(s)}
    streamed = {row for row in in_epoch if partly.pixels._listed.places[row] < 0}
    assert streamed <= set(asked)
    ahead = sum(len(order.positions(order.steps_per_epoch + k)) for k in range(3))
    assert len(asked) <= len(streamed) + ahead


def test_two_threads_take_what_each_asked_for(whole: PixelCache, partly: PixelCache) -> None:
    """A training reads ahead in a thread while the watch looks at other images."""
    wrong: list[int] = []

    def take(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(12):
            rows = rng.integers(0, COUNT, 7)
            partly.expect([rows])
            if not np.array_equal(partly.take(rows), whole.pixels[rows]):
                wrong.append(seed)

    threads = [threading.Thread(target=take, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_channels_that_are_no_colours_are_decoded_again_too(tmp_path: Path) -> None:
    files = []
    for i in range(8):
        values = np.random.default_rng(i).integers(0, 60000, (5, 24, 24)).astype(np.uint16)
        path = tmp_path / f"{i}.npy"
        np.save(path, values)
        files.append(Found(str(i), str(path)))
    whole = open_cache(files, SIDE, tmp_path / "a", kept=Kept(Bands(5)))
    part = open_cache(files, SIDE, tmp_path / "b", kept=Kept(Bands(5), 3 * 5 * 2 * SIDE**2))
    assert isinstance(part.pixels, Streamed)
    assert (part.pixels._listed.places >= 0).sum() == 3
    assert np.array_equal(part.take(np.arange(8)), whole.pixels[:])
    assert np.array_equal(part.prints.hashes, whole.prints.hashes)


def test_near_copies_are_found_among_images_that_are_not_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for i in range(12):
        coarse = np.random.default_rng(i % 11).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((60, 60), Image.Resampling.BICUBIC)
        path = tmp_path / f"{i}.jpg"
        image.save(path, quality=95 - 5 * int(rng.integers(1, 9)) * (i == 11))
        files.append(Found(str(i), str(path)))
    whole = open_cache(files, 48, tmp_path / "a")
    part = open_cache(files, 48, tmp_path / "b", kept=Kept(budget=1))
    pairs = [NearCopies(cache).pairs(range(12)) for cache in (whole, part)]
    assert [(p.a.tolist(), p.b.tolist(), p.near.tolist()) for p in pairs] == [
        ([0], [11], [True])
    ] * 2
    assert np.array_equal(pairs[0].correlation, pairs[1].correlation)


def test_views_of_a_training_are_the_same(whole: PixelCache, partly: PixelCache) -> None:
    rows = np.array([i for i in range(COUNT) if i not in (3, 25)])
    made = []
    for cache in (whole, partly):
        images = Images(cache, rows, 12, torch.device("cpu"))
        pairs = ViewPairs(images, Order(len(rows), 8, 0), View(), View())
        made.append([pairs(step) for step in range(10)])
    for ours, theirs in zip(*made, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


# --- what goes wrong ---------------------------------------------------------------------------


def altered(tmp_path: Path, content: bytes | None) -> tuple[PixelCache, Path]:
    """A cache that keeps nothing but one image, and a file that is not what it was."""
    files = []
    for i in range(4):
        path = tmp_path / f"{i}.png"
        path.write_bytes(png(i))
        files.append(Found(str(i), str(path)))
    cache = open_cache(files, SIDE, tmp_path / "cache", kept=Kept(budget=ONE))
    path = tmp_path / "2.png"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    return cache, path


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (png(9), "it was altered"), (b"torn", "cannot be read again")],
    ids=["gone", "another", "torn"],
)
def test_an_image_that_is_not_what_it_was_ends_the_run_in_one_line(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    cache, path = altered(tmp_path, content)
    assert cache.take(np.array([1, 3])).any()
    with pytest.raises(StudyError, match=why) as error:
        cache.take(np.array([1, 2]))
    assert str(error.value).startswith(str(path))
    assert "run again to go on" in str(error.value)


def test_a_worker_that_dies_is_replaced(
    files: list[Found], whole: PixelCache, tmp_path: Path
) -> None:
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=ONE))
    assert np.array_equal(cache.take(np.arange(8)), whole.pixels[:8])
    assert isinstance(cache.pixels, Streamed)
    workers = cache.pixels._again._decoding._workers.workers
    for worker in workers:
        os.kill(worker.process.pid, signal.SIGKILL)
    assert np.array_equal(cache.take(np.arange(COUNT)), whole.pixels[:])


def test_a_pause_is_no_fault_of_the_workers(
    files: list[Found], whole: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two trainings nobody looks for minutes, and what was expected waits."""
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=ONE))
    cache.take(np.array([1]))
    assert isinstance(cache.pixels, Streamed)
    workers = cache.pixels._again._decoding._workers
    processes = {worker.process.pid for worker in workers.workers}
    cache.expect([np.arange(6, 20)])
    real = time.monotonic
    monkeypatch.setattr("headstart.data.workers.time.monotonic", lambda: real() + 3600)
    assert np.array_equal(cache.take(np.arange(COUNT)), whole.pixels[:])
    assert {worker.process.pid for worker in workers.workers} == processes


def test_nothing_is_left_when_a_cache_is_dropped(files: list[Found], tmp_path: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("headstart-*"))
    cache = open_cache(files, SIDE, tmp_path, kept=Kept(budget=ONE))
    cache.take(np.arange(4, 9))
    assert isinstance(cache.pixels, Streamed)
    workers = [w.process for w in cache.pixels._again._decoding._workers.workers]
    assert workers
    assert set(Path(tempfile.gettempdir()).glob("headstart-*")) - before
    del cache
    gc.collect()
    assert all(process.returncode is not None for process in workers)
    assert not set(Path(tempfile.gettempdir()).glob("headstart-*")) - before


# --- a study -----------------------------------------------------------------------------------


def test_a_budget_changes_no_bit_of_a_study(bags: Path, tmp_path: Path) -> None:
    """Near-copies, pretraining, features; with a tenth of the pool's pixels on disk."""
    found = []
    for name, budget in (("all", None), ("few", "100kB")):
        data = {"cache": str(tmp_path / f"cache {name}"), "cache_budget": budget}
        asked = tiny_study.study(bags, data=data, only=["simclr"])
        run = tiny_study.open_run(asked, tmp_path / name)
        indexed = index(run)
        assert isinstance(indexed.cache.pixels, Streamed) == (name == "few")
        trained = pretrain(run, indexed, "simclr", 0, start(run, 0, "random"))
        features = Features.load(extract(run, indexed, trained, "simclr").folder)
        weights = load_file(trained.folder / "encoder.safetensors")
        near = (indexed.entry.folder / "near_duplicates.csv").read_bytes()
        found.append((indexed.index.digest, near, weights, features))
    (digest, near, weights, features), (other, other_near, other_weights, again) = found
    assert digest == other
    assert near == other_near
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    assert np.array_equal(features.x, again.x)
