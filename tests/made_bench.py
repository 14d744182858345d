"""A file of ``headstart bench`` with round numbers."""

from __future__ import annotations

from headstart.plan.rates import Bench

STAGES = {
    "labelled_step_s": {"8": 0.09, "32": 0.33},  # 10 ms each time, and 10 ms an image
    "judged_images_per_s": 1000.0,
    "look_s": 2.0,
    "look_images": 1000,
    "head_s": {"100": 0.2, "500": 0.6},  # 0.1 s each time, and 1 ms an image
    "score_s": {"100": 0.1, "1000": 0.1},
}


def a_bench(**changes: object) -> Bench:
    """Of the network of ``tiny_study``, as older versions wrote it; ``changes`` replace values."""
    values: dict[str, object] = {
        "method": "simclr",
        "backbone": "test_resnet",
        "image_size": 32,
        "batch_size": 32,
        "settings": {"hidden": 32, "dim": 32},
        "device": "cpu",
        "precision": "32",
        "threads": 2,
        "date": "2026-01-01",
        "train_images_per_s": 100.0,
        "forward_images_per_s_per_core": 1000.0,
        "cache_images_per_s_per_core": 500.0,
        "heads_core_seconds": 4.0,
    }
    return Bench.model_validate(values | changes)
