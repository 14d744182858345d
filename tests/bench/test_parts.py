from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.bench import parts
from headstart.config import View
from headstart.data.batches import Images, Order, ViewPairs
from headstart.data.cache import PixelCache
from headstart.nn.encoder import build_encoder


@pytest.fixture
def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 40, 40), dtype=np.uint8)
    nothing = ("",) * 40
    cache = PixelCache(pixels, np.ones(40, np.float32), nothing, nothing)
    return Images(cache, np.arange(40), 32, torch.device("cpu"))


def test_decoding_is_timed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def slow(path: Path, side: int) -> str:
        asked.append(path)
        time.sleep(0.01)
        return "not an image"

    monkeypatch.setattr("headstart.data.worker.decode", slow)
    paths = [Path("a"), Path("b")]
    assert 1 < parts.decode_rate(paths, 80) <= 100
    assert asked == paths * (parts.REPEATS + 1)


def test_views_are_counted_by_view_and_on_one_thread(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    seen: set[int] = set()
    make = ViewPairs.__call__

    def slow(self: ViewPairs, step: int) -> tuple[torch.Tensor, ...]:
        seen.add(torch.get_num_threads())
        time.sleep(0.02)
        return make(self, step)

    monkeypatch.setattr(ViewPairs, "__call__", slow)
    rate = parts.views_rate(ViewPairs(images, Order(40, 10, seed=0), View(), View()))
    assert 20 < rate <= 20 / 0.02  # 2 · 10 views in at least 20 ms
    assert seen == {1}
    assert torch.get_num_threads() == threads


def test_heads_are_set_against_the_passes_that_they_save(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "IMAGES", 200)
    encoder = build_encoder("test_resnet", image_size=32)
    cost = parts.heads_cost(encoder, images)
    rate = cost["forward_images_per_s_per_core"]
    labels = 5 * sum(round(fraction * 200) for fraction in parts.FRACTIONS)
    assert cost["heads_core_seconds"] > 0
    assert cost["epochs_core_seconds"] * rate == pytest.approx(150 * labels)
    assert cost["one_head_core_seconds"] * rate == pytest.approx(150 * 200)
