"""Parts of a user's own, registered from outside, go through a whole study."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from torch import Tensor

import headstart
import tiny_study
from headstart.attributions import ATTRIBUTIONS, Case, Maps
from headstart.config import Study
from headstart.data.sources import SOURCES
from headstart.data.sources.base import Found, Place
from headstart.data.sources.folder import Folder
from headstart.executors import EXECUTORS
from headstart.executors.serial import Serial
from headstart.methods import METHODS
from headstart.methods.simclr import SimCLR
from headstart.pipeline import run_study
from headstart.reporting.sections import SECTIONS
from headstart.reporting.sections.base import section


@pytest.fixture(autouse=True)
def registries_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (METHODS, ATTRIBUTIONS, SOURCES, SECTIONS, EXECUTORS):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))


def test_toys_and_methods_outside_the_default_study_run_through(bags: Path, tmp_path: Path) -> None:
    @headstart.register_method("toy")
    class Toy(SimCLR):
        title = "Toy & Co"

        def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
            return super().loss(x2, x1)

    @headstart.register_attribution("toy")
    def toy(case: Case) -> Maps:
        return ATTRIBUTIONS["saliency"](case)

    @headstart.register_source("toy")
    class Elsewhere(Folder):
        def accepts(self, path: Path) -> bool:
            return path.suffix == ".toy"

        def images(self, place: Place) -> list[Found]:
            return super().images(replace(place, path=Path(place.path.read_text(encoding="utf8"))))

    @headstart.register_section("toy")
    @section("Toy & section")
    def about(results: headstart.Results, run: Path) -> str:
        return f"<script>{results.title}, {len(results.pretraining)}</script>"

    @headstart.register_section("silent")
    @section("Silent")
    def silent(results: headstart.Results, run: Path) -> None:
        return None

    asked: list[object] = []

    @headstart.register_executor("toy")
    class Noting(Serial):
        def map(self, work, tasks):  # type: ignore[no-untyped-def]
            tasks = list(tasks)
            asked.extend(tasks)
            return super().map(work, tasks)

    for kind in ("labeled", "unlabeled"):
        (tmp_path / f"{kind}.toy").write_text(str(bags / kind), encoding="utf8")
    methods = {name: dict(METHODS[name].tiny) for name in METHODS if name not in Study().methods}
    study = tiny_study.study(
        data={kind: str(tmp_path / f"{kind}.toy") for kind in ("labeled", "unlabeled")},
        methods=methods,
        label_fractions=[1.0],
        explain={"images": 9, "pictures": 1, "attributions": ["toy"], "faithfulness_images": 0},
        engine={"device": "cpu", "precision": "32", "threads": 1, "executor": "toy"},
    )
    outcome = run_study(study, tmp_path / "run")
    assert asked
    assert {row.method for row in outcome.results.pretraining} == set(methods)
    assert {row.status for row in outcome.results.pretraining} == {"ok"}
    assert {row.attribution for row in outcome.results.attribution_similarity} == {"toy"}
    page = outcome.report_path.read_text(encoding="utf8")
    for name in methods:
        assert escape(METHODS[name].title) in page
    assert '<li><a href="#toy">Toy &amp; section</a></li>' in page
    assert '<h2 id="toy">Toy &amp; section</h2>' in page
    assert f"&lt;script&gt;run, {len(methods)}&lt;/script&gt;" in page
    assert "<script>run" not in page
    assert "Silent" not in page


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="already a method called 'simclr'"):
        headstart.register_method("simclr")(SimCLR)
