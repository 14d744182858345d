"""Maps are stored as numbers with their ids; pictures are for people only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_study
from headstart.config import Study
from headstart.stages.classify import load_network
from headstart.stages.explain import explain
from headstart.stages.pictures import SIDE, draw_map
from headstart.stages.report import Outcome
from headstart.stages.run import Cell
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


def stored(folder: Path, name: str) -> dict[str, Attributions]:
    """Maps by the folder of their arm."""
    return {
        entry.name: Attributions.load(entry / name)
        for entry in (folder / "explain").iterdir()
        if (entry / "done.json").exists()
    }


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients"])
def test_maps_are_stored_raw_for_the_same_images_and_the_true_class(
    name: str, finished: Outcome, again: Reopened
) -> None:
    index = again.data.index
    label = dict(zip(index.ids.tolist(), index.labels.tolist(), strict=True))
    test = set(index.ids[index.where("test")].tolist())
    maps = stored(finished.results_path.parent, name)
    assert len(maps) == len(ARMS)
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
    cell = Cell("byol", "finetune", 0, 1.0)
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


def test_pictures_exist_and_say_what_the_networks_say(finished: Outcome, again: Reopened) -> None:
    folder = finished.results_path.parent
    names = again.data.index.classes.tolist()
    assert len(finished.results["explained"]) == 2
    for row in finished.results["explained"]:
        paths = [row["photo"], *(p for arm in row["arms"] for p in arm["maps"].values())]
        assert len(set(paths)) == 1 + 2 * len(ARMS)
        for path in paths:
            with Image.open(folder / path) as picture:
                assert picture.format == "PNG"
                assert picture.size == (SIDE, SIDE)
        assert {arm["arm"] for arm in row["arms"]} == ARMS
        for arm in row["arms"]:
            method, protocol = arm["arm"].split("/")
            predictions = again.predictions(Cell(method, protocol, 0, 1.0))
            (i,) = np.flatnonzero(predictions.ids == row["id"])
            logits = predictions.logits[i].astype(np.float64)
            shares = np.exp(logits - logits.max())
            truth = names.index(row["true"])
            assert arm["predicted"] == names[logits.argmax()]
            assert arm["probability"] == pytest.approx(shares[truth] / shares.sum(), abs=1e-4)
            assert predictions.y[i] == truth


def test_every_pair_of_arms_is_compared_beside_the_floor(finished: Outcome) -> None:
    rows = finished.results["attribution_similarity"]
    pairs = {(row["arm_a"], row["arm_b"], row["attribution"]) for row in rows}
    count = len(ARMS) - 1  # random weights are the floor, not an arm
    assert len(pairs) == len(rows) == 2 * count * (count - 1) // 2
    assert not any("random/linear" in pair for pair in pairs)
    for row in rows:
        assert row["images"] + row["left_out"] == 9
        if row["images"]:
            assert row["rmse"] >= 0
            assert -1 <= row["spearman"] <= 1
        assert row["seed"] == 0


def test_explaining_again_finds_the_maps_and_nothing_can_be_left_out(
    again: Reopened, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart import attributions

    def never(*_: object) -> None:
        raise AssertionError("explained anew")

    monkeypatch.setattr(attributions, "attribute", never)
    cell = Cell("simclr", "linear", 0, 1.0)
    encoder, _, entry = again.classifier(cell)
    found = explain(again.run, again.data, {cell: (encoder, entry)})
    assert [arm["arm"] for arm in found.images[0]["arms"]] == ["simclr/linear"]
    assert found.similarity == []


@pytest.mark.parametrize("nothing", [{"images": 0}, {"attributions": []}])
def test_explaining_can_be_left_out(nothing: dict[str, object], tmp_path: Path) -> None:
    run = tiny_study.open_run(tiny_study.study(explain=nothing), tmp_path)
    found = explain(run, tiny_study.made_data(run, pool=4), {})
    assert (found.similarity, found.images) == ([], [])


def test_a_map_of_zeros_is_a_grey_picture(tmp_path: Path) -> None:
    photo = np.full((3, 32, 32), 0.5, np.float32)
    zeros = np.zeros((32, 32), np.float32)
    half = zeros.copy()
    half[:, :16], half[:, 16:] = 1.0, -1.0
    with Image.open(draw_map(zeros, photo, tmp_path / "zeros.png")) as picture:
        pixels = np.asarray(picture)
    assert (pixels == pixels[0, 0, 0]).all()
    with Image.open(draw_map(half, photo, tmp_path / "half.png")) as picture:
        red, _, blue = np.asarray(picture).astype(int).transpose(2, 0, 1)
    assert (red[:, :40] > blue[:, :40]).all()
    assert (red[:, -40:] < blue[:, -40:]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half.png", "zeros.png"]
