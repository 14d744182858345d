"""The files of ``docs/extending.md`` do what the page says, all of them in one tiny study."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import examples
import tiny_study
from headstart.attributions import ATTRIBUTIONS, attribute
from headstart.data.scan import find_labeled, find_unlabeled
from headstart.data.sources import SOURCES
from headstart.executors import EXECUTORS
from headstart.methods import METHODS
from headstart.pipeline import run_study
from headstart.reporting.sections import SECTIONS
from headstart.trackers import TRACKERS

REGISTRIES = (METHODS, ATTRIBUTIONS, SOURCES, SECTIONS, EXECUTORS, TRACKERS)


@pytest.fixture(autouse=True)
def the_page_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    for name in examples.FILES:
        examples.imported(name)


def test_the_page_has_a_file_of_each_kind() -> None:
    ours = {name for registry in REGISTRIES for name in registry}
    assert {"uniformity", "gradient_times_input", "table", "slowest", "told", "json_lines"} <= ours
    assert len(examples.FILES) == len(REGISTRIES)


def test_a_study_of_nothing_but_new_parts(bags: Path, tmp_path: Path) -> None:
    places = {
        "labeled": SOURCES["table"]().example(find_labeled(bags / "labeled"), tmp_path / "a"),
        "unlabeled": SOURCES["table"]().example(find_unlabeled(bags / "unlabeled"), tmp_path / "b"),
    }
    study = tiny_study.study(
        data={name: str(path) for name, path in places.items()},
        only=["uniformity"],
        label_fractions=[1.0],
        classify={"protocols": ["linear"]},
        explain={
            "images": 9,
            "pictures": 1,
            "attributions": ["gradient_times_input"],
            "faithfulness_images": 0,
        },
        engine={
            "device": "cpu",
            "precision": "32",
            "threads": 1,
            "executor": "told",
            "track": "json_lines",
        },
    )
    tell = tiny_study.Spoken()
    outcome = run_study(study, tmp_path / "run", tell)
    assert {row.status for row in outcome.results.pretraining} == {"ok"}
    page = outcome.report_path.read_text(encoding="utf8")
    for shown in ("Alignment &amp; uniformity", "Gradient × input", 'id="slowest"'):
        assert shown in page
    assert any(line.endswith(" done") for line in tell.lines)
    told = list(map(json.loads, (tmp_path / "run" / "told.jsonl").read_text("utf8").splitlines()))
    (trained,) = outcome.results.pretraining
    losses = [row["values"]["loss"] for row in told if "uniformity" in row.get("series", "")]
    assert losses == [moment.loss for moment in trained.history]
    assert told[-1]["sentence"] == outcome.results.comparisons[-1].sentence


def test_the_methods_loss_is_what_the_page_says() -> None:
    encoder = tiny_study.small_encoder()
    method = METHODS["uniformity"](encoder, 10, dim=8)
    x = torch.rand(4, 3, 16, 16)
    z = torch.nn.functional.normalize(method.embed(torch.cat([x, x.flip(0)])), dim=1)
    z1, z2 = z[:4].tolist(), z[4:].tolist()

    def far(a: list[float], b: list[float]) -> float:
        return math.dist(a, b) ** 2

    def spread(zs: list[list[float]]) -> float:
        pairs = [math.exp(-2 * far(a, b)) for a in zs for b in zs if a is not b]
        return math.log(sum(pairs) / len(pairs))

    expected = sum(map(far, z1, z2)) / 4 + (spread(z1) + spread(z2)) / 2
    assert method.loss(x, x.flip(0)).item() == pytest.approx(expected, abs=1e-4)


def test_the_attribution_explains_a_linear_model_exactly() -> None:
    weights = torch.randn(3 * 8 * 8, 2)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2, bias=False))
    model[1].weight.data = weights.T.contiguous()
    x = torch.rand(2, 3, 8, 8)
    found = attribute(model, x, torch.tensor([0, 1]), "gradient_times_input").maps
    assert torch.allclose(found.sum(dim=(1, 2)), (x.flatten(1) @ weights).diagonal(), atol=1e-4)
