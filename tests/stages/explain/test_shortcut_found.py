"""Bags whose background tells the class, and bags whose does not: the tool tells the two apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.config import demo
from headstart.data.synthetic import BagsSpec, generate
from headstart.layers import build_study
from headstart.pipeline import run_study

ARM = "supervised/supervised"


def explained(folder: Path, shortcut: float) -> dict[str, Any]:
    """The supervised arm of the demo, without any pretraining worth its name."""
    spec = BagsSpec(
        pool=64,
        train_per_class=60,
        validation_per_class=12,
        test_per_class=40,
        size=64,
        shortcut=shortcut,
        seed=4,
    )
    bags = generate(folder / "bags", spec)
    here = {
        "data": {"unlabeled": str(bags / "unlabeled"), "labeled": str(bags / "labeled")},
        "methods": {"simclr": {"hidden": 32, "dim": 32}},
        "label_fractions": [1.0],
        "pretrain": {"epochs": 1},
        "classify": {"protocols": ["linear"]},
        "explain": {"masks": str(bags), "images": 90, "attributions": ["grad_cam"]},
        "engine": {"device": "cpu", "threads": 1},
    }
    study = build_study([("demo", demo()), ("here", here)])
    results = run_study(study, folder / "run").results
    found: dict[str, Any] = results.to_json()["explanations"]
    return found


@pytest.mark.slow
def test_the_background_is_found_where_it_tells_the_class_and_only_there(tmp_path: Path) -> None:
    honest = explained(tmp_path / "honest", shortcut=0.0)
    cheat = explained(tmp_path / "cheat", shortcut=0.95)
    (fair,), (leans,) = (
        [row for row in found["background"] if row["arm"] == ARM] for found in (honest, cheat)
    )
    assert fair["gap"]["high"] < leans["gap"]["low"]
    assert leans["gap"]["low"] > 0
    assert leans["skill"]["low"] > fair["skill"]["high"]
    on, off = (
        next(r for r in found["focus"] if (r["arm"], r["answers"]) == (ARM, "all"))
        for found in (honest, cheat)
    )
    assert on["lift"]["low"] > off["lift"]["high"]
