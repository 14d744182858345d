from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from headstart.bench.table import ROWS, bench_table, limit


def found(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = dict.fromkeys((key for key, _, _ in ROWS), 1.0)
    base |= {"method": "byol", "backbone": "resnet18", "image_size": 64, "batch_size": 128}
    base |= {"precision": "bf16", "device": "cpu", "threads": 2, "peer": "lightly"}
    base |= {"train_images_per_s": 100.0, "views_per_s": 5000.0, "ratio_to_floor": 0.97}
    return base | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "arithmetic takes 97% of the time: only a smaller"),
        ({"ratio_to_floor": 1.02}, "arithmetic takes 100% of the time"),
        ({"ratio_to_floor": 0.8, "views_per_s": 500.0}, "making views about 20%: the network is"),
        ({"ratio_to_floor": 0.8}, "the rest is spent on the loop, or this machine was busy"),
        ({"ratio_to_floor": 0.9, "device": "H100", "views_per_s": 2500.0}, "making views about 8%"),
    ],
)
def test_one_sentence_says_what_limits(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in limit(found(**changes))


def test_the_table_names_the_peer_and_leaves_out_what_was_not_measured() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(bench_table(found(peak_gpu_bytes=None, peak_rss_bytes=2_500_000_000)))
    text = console.export_text()
    assert "byol, resnet18 at 64 px, batch 128, bf16, cpu" in text
    assert "real training over lightly" in text
    assert "2,500" in text
    assert "memory of the GPU" not in text
