"""Maps are stored as numbers with their ids; pictures are for people only."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

import tiny_study
from headstart.arms import Arm
from headstart.config import Study
from headstart.finished import explain_run
from headstart.reporting import schema
from headstart.runtime.networks import load_network
from headstart.runtime.run import Cell
from headstart.stages.explain import explain
from headstart.stages.explain.pictures import SIDE
from headstart.stages.report import Outcome
from headstart.types import Attributions
from tiny_study import Reopened

torch.set_num_threads(1)

ARMS = {
    "supervised/supervised",
    "random/linear",
    *(f"{m}/{p}" for m in ("moco", "simclr", "simsiam", "byol") for p in ("linear", "finetune")),
}


@pytest.fixture(scope="module")
def again(finished: Outcome, finished_study: Study) -> Reopened:
    return Reopened.of(finished_study, finished.results_path.parent)


def stored(folder: Path, name: str, target: str = "true class") -> dict[str, Attributions]:
    """Maps by the folder of their arm."""
    own = target != "true class"
    return {
        entry.name: Attributions.load(entry)
        for entry in (folder / "explain").glob(f"*-{name}{'-own' if own else ''}-????????????????")
        if (entry / "attributions.npz").exists()
    }


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients"])
def test_maps_are_stored_raw_for_the_same_images_and_the_true_class(
    name: str, finished: Outcome, again: Reopened
) -> None:
    index = again.data.index
    label = dict(zip(index.ids.tolist(), index.labels.tolist(), strict=True))
    test = set(index.ids[index.where("test")].tolist())
    maps = stored(finished.results_path.parent, name)
    assert len(maps) == len(ARMS) + 1  # random weights come twice
    first = next(iter(maps.values()))
    assert len(set(first.ids.tolist())) == 9
    assert set(first.target.tolist()) == set(range(9))  # one of each class
    for found in maps.values():
        assert found.maps.dtype == np.float32
        assert found.maps.shape == (9, 32, 32)
        assert np.isfinite(found.maps).all()
        assert np.array_equal(found.ids, first.ids)
        assert set(found.ids.tolist()) <= test
        assert found.target.tolist() == [label[identity] for identity in found.ids.tolist()]
        assert (found.maps < 0).any() == (name != "saliency")


def test_stored_saliency_is_the_gradient_of_the_stored_network(
    finished: Outcome, again: Reopened
) -> None:
    run, data = again.run, again.data
    cell = Cell(Arm("byol", "finetune"), 0, 1.0)
    encoder, _, entry = again.classifier(cell)
    (found,) = (
        maps
        for name, maps in stored(finished.results_path.parent, "saliency").items()
        if name.startswith(cell.label)
    )
    network = load_network(run, data, cell, entry, encoder)
    place = {identity: i for i, identity in enumerate(data.index.ids.tolist())}
    positions = np.array([place[identity] for identity in found.ids.tolist()])
    x = data.images(positions).centred(np.arange(9)).clone().requires_grad_()
    logits = network(x)
    logits.gather(1, torch.from_numpy(found.target)[:, None]).sum().backward()
    assert x.grad is not None
    expected = x.grad.abs().amax(1).numpy()
    np.testing.assert_allclose(found.maps, expected, rtol=1e-3, atol=1e-6)


def test_own_predictions_are_explained_where_they_are_wrong(
    finished: Outcome, again: Reopened
) -> None:
    folder = finished.results_path.parent
    names = {cell.label: cell for cell in cells(again)}
    for entry, found in stored(folder, "saliency", "own prediction").items():
        cell = next((c for label, c in names.items() if entry.startswith(f"{label}-sal")), None)
        if cell is None:  # the second network of random weights is not in the study
            continue
        predictions = again.predictions(cell)
        row = dict(zip(predictions.ids.tolist(), range(len(predictions.ids)), strict=True))
        asked = [row[identity] for identity in found.ids.tolist()]
        assert found.target.tolist() == predictions.predicted[asked].tolist()
        assert (found.target != predictions.y[asked]).all()


def cells(again: Reopened) -> list[Cell]:
    return [Cell(Arm.parse(arm), 0, 1.0) for arm in sorted(ARMS)]


def test_pictures_exist_and_say_what_the_networks_say(finished: Outcome, again: Reopened) -> None:
    folder = finished.results_path.parent
    names = again.data.index.classes.tolist()
    assert len(finished.results.to_json()["explained"]) == 3
    for row in finished.results.to_json()["explained"]:
        paths = [row["photo"], *(p for arm in row["arms"] for p in arm["maps"].values())]
        shown = sum(len(arm["maps"]) for arm in row["arms"])
        assert len(set(paths)) == 1 + shown
        assert shown > len(ARMS)
        for path in paths:
            with Image.open(folder / path) as picture:
                assert picture.format == "PNG"
                assert picture.size == (SIDE, SIDE)
            assert (folder / path).stat().st_size < 6_000
        assert {arm["arm"] for arm in row["arms"]} == ARMS
        for arm in row["arms"]:
            assert set(arm["maps"]) == set(arm["scale"])
            method, protocol = arm["arm"].split("/")
            predictions = again.predictions(Cell(Arm(method, protocol), 0, 1.0))
            (i,) = np.flatnonzero(predictions.ids == row["id"])
            logits = predictions.logits[i].astype(np.float64)
            shares = np.exp(logits - logits.max())
            truth = names.index(row["true"])
            assert arm["predicted"] == names[logits.argmax()]
            assert arm["probability"] == pytest.approx(shares[truth] / shares.sum(), abs=1e-4)
            assert predictions.y[i] == truth


def test_every_pair_of_arms_is_compared_beside_its_nulls(finished: Outcome) -> None:
    rows = finished.results.to_json()["attribution_similarity"]
    about = {(r["arm_a"], r["arm_b"], r["attribution"], r["target"], r["answers"]) for r in rows}
    count = len(ARMS) - 1  # random weights are a null, not an arm
    assert len(about) == len(rows) == 2 * 2 * 4 * count * (count - 1) // 2
    assert not any("random/linear" in key for key in about)
    for row in rows:
        assert row["images"] + row["left_out"] == 9
        assert row["seeds"] == [0]
        if "nulls" in row:
            assert row["nulls"]["floor"]["spearman"] is not None
            assert row["verdict"] == "no_ceiling"


def test_masks_measure_focus_and_background_for_every_arm(finished: Outcome) -> None:
    found = finished.results.to_json()["explanations"]
    assert found["masks"]["images"] == 9
    assert found["masks"]["test_images"] == 54
    assert not found["masks"]["approximate"]
    assert 0.1 < found["masks"]["area"] < 0.7
    for rows in (found["focus"], found["background"], found["faithfulness"]):
        assert {row["arm"] for row in rows} == ARMS
    assert len(found["focus"]) == 2 * 3 * len(ARMS)
    assert len(found["background_differences"]) == 36
    assert found["centre"] == []
    assert found["notes"] == []


def test_explaining_again_finds_everything(
    finished: Outcome, finished_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart import attributions
    from headstart.attributions import faithfulness
    from headstart.stages import report
    from headstart.stages.explain import background, similarity

    def never(*_: object, **__: object) -> None:
        raise AssertionError("explained anew")

    monkeypatch.setattr(attributions, "attribute", never)
    monkeypatch.setattr(faithfulness, "faithfulness", never)
    monkeypatch.setattr(similarity, "compare_images", never)
    monkeypatch.setattr(background, "_ask", never)
    monkeypatch.setattr(report, "write_report", lambda _, folder: folder / "report.html")
    copy = tmp_path / "run"
    shutil.copytree(finished.results_path.parent, copy)
    again = explain_run(copy).results.to_json()
    for key in ("explanations", "attribution_similarity", "explained", "comparisons"):
        assert again[key] == finished.results.to_json()[key]
    kept = again["provenance"]
    assert kept["command"] == finished.results.to_json()["provenance"]["command"]
    assert set(kept["explained_anew"]) == {"command", "started", "finished", "total_seconds"}


def test_one_more_attribution_is_computed_alone_and_without_masks_there_is_a_proxy(
    finished: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart import attributions

    asked: set[str] = set()
    real = attributions.attribute

    def noted(*given: Any, **more: Any) -> Any:
        asked.add(given[3])
        return real(*given, **more)

    monkeypatch.setattr(attributions, "attribute", noted)
    copy = tmp_path / "run"
    shutil.copytree(finished.results_path.parent, copy)
    names = ["saliency", "integrated_gradients", "grad_cam"]
    changes = {"explain": {"attributions": names, "masks": None}}
    results = explain_run(copy, [("test", changes)]).results.to_json()
    assert asked == {"grad_cam"}
    found = results["explanations"]
    assert {row["attribution"] for row in found["sanity"]} == set(names)
    assert (found["masks"], found["focus"], found["background"]) == (None, [], [])
    assert {row["arm"] for row in found["centre"]} == ARMS
    assert "not measured" in found["notes"][0]
    page = (copy / "report.html").read_text(encoding="utf8")
    assert "A proxy without masks" in page
    assert "--masks" in page


def test_every_arm_may_be_without_maps_and_the_report_holds(
    finished: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that ignore their input: no map, no similarity, and never a comparison of zeros."""
    from headstart import attributions
    from headstart.attributions import Maps

    def nothing(model: Any, x: torch.Tensor, *_: object, **__: object) -> Maps:
        return Maps(x.new_zeros(len(x), *x.shape[2:]), torch.ones(len(x), dtype=torch.bool))

    monkeypatch.setattr(attributions, "attribute", nothing)
    copy = tmp_path / "run"
    shutil.copytree(finished.results_path.parent, copy)
    shutil.rmtree(copy / "explain")
    changes = {"explain": {"attributions": ["saliency"], "background_images": 0}}
    done = explain_run(copy, [("test", changes)])
    validator = jsonschema.Draft202012Validator(schema())
    assert [e.message for e in validator.iter_errors(done.results.to_json())] == []
    found = done.results.to_json()["explanations"]
    assert {row["images"] for row in found["faithfulness"]} == {0}
    assert {
        row["verdict"] for row in done.results.to_json()["attribution_similarity"] if "nulls" in row
    } == {"no_maps"}
    assert all(row["without_map"] == {"saliency": 9} for row in found["networks"])
    assert "no map" in done.report_path.read_text(encoding="utf8")


@pytest.mark.parametrize("fault", ["not finite", "no stage"])
def test_why_a_network_has_no_map_is_kept(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from made_atlas import Known, cell, open_data

    from headstart import attributions
    from headstart.attributions import NoMap
    from headstart.stages.explain.maps import TRUE, ExplainedNetwork

    def refuse(*_: object, **__: object) -> None:
        raise NoMap("no stage of 7 × 7 cells or more")

    monkeypatch.setattr(attributions, "attribute", refuse)
    run, data = open_data(tmp_path, held_out=2)
    source = run.store.entry("explain", "made", {})
    network = Known(cell("byol/linear", 0), source, source, torch.nn.Identity())
    answers = np.full((6, 3), np.nan if fault == "not finite" else 0.5, np.float32)
    explained = ExplainedNetwork(run, data, network, data.index.where("test"), answers)
    entry = explained.attribute("saliency", TRUE)
    assert entry.info["converged"] == [False] * 6
    assert fault in entry.info["reason"]
    assert not Attributions.load(entry.folder).maps.any()


@pytest.mark.parametrize("nothing", [{"images": 0}, {"attributions": []}])
def test_explaining_can_be_left_out(nothing: dict[str, object], tmp_path: Path) -> None:
    run = tiny_study.open_run(tiny_study.study(explain=nothing), tmp_path)
    found = explain(run, tiny_study.made_data(run, pool=4), {})
    assert (found.similarity, found.images, found.findings) == ((), (), None)
