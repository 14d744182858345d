"""Test images for people to look at: counted again from the predictions, seen again by eye."""

from __future__ import annotations

import csv
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from headstart.arms import MAJORITY, Arm
from headstart.config import Study
from headstart.results import ShownImages
from headstart.stages.report import Outcome
from headstart.stages.report.shown import EACH, PAIRS, SIDE, spread_out
from headstart.types import Features


@pytest.fixture(scope="module")
def shown(finished: Outcome) -> ShownImages:
    assert finished.results.shown is not None
    return finished.results.shown


@pytest.fixture(scope="module")
def answers(finished: Outcome) -> dict[Arm, list[dict[str, str]]]:
    """The rows of predictions.csv with all labels, by arm."""
    found: dict[Arm, list[dict[str, str]]] = {}
    with (finished.results_path.parent / "predictions.csv").open(encoding="utf8", newline="") as f:
        for row in csv.DictReader(f):
            if float(row["label_fraction"]) == 1:
                found.setdefault(Arm(row["method"], row["protocol"]), []).append(row)
    return found


def test_confusions_are_the_commonest_of_each_arm(
    shown: ShownImages, answers: dict[Arm, list[dict[str, str]]]
) -> None:
    assert {row.arm for row in shown.confusions} == answers.keys() - {MAJORITY}
    for arm in answers.keys() - {MAJORITY}:
        rows = answers[arm]
        pairs = Counter((r["label"], r["prediction"]) for r in rows)
        wrong = sorted((n for (a, b), n in pairs.items() if a != b), reverse=True)
        mine = [row for row in shown.confusions if row.arm == arm]
        assert [row.count for row in mine] == wrong[:PAIRS]
        for row in mine:
            assert row.count == pairs[row.true, row.predicted]
            assert row.of == sum(r["label"] == row.true for r in rows)


def test_the_images_of_a_confusion_are_those_so_named_the_surest_first(
    shown: ShownImages, answers: dict[Arm, list[dict[str, str]]]
) -> None:
    for row in shown.confusions:
        said = {
            r["id"]: float(r[f"p:{row.predicted}"])
            for r in answers[row.arm]
            if (r["label"], r["prediction"]) == (row.true, row.predicted)
        }
        ids = [shown.images[i].id for i in row.shown]
        assert len(ids) == min(EACH, len(said))
        assert {shown.images[i].true for i in row.shown} == {row.true}
        sure = [said[i] for i in ids]  # one seed, so each was named once
        assert sure == sorted(sure, reverse=True)
        assert min(sure) >= max((p for i, p in said.items() if i not in ids), default=0) - 2e-6


def test_the_pictures_are_of_the_images(finished: Outcome, bags: Path, shown: ShownImages) -> None:
    folder = finished.results_path.parent

    def small(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB").resize((16, 16)), dtype=float)

    pictures = [small(folder / image.photo) for image in shown.images[:12]]
    originals = [small(bags / image.id) for image in shown.images[:12]]
    apart = [[np.abs(a - b).mean() for b in originals] for a in pictures]
    assert np.argmin(apart, axis=1).tolist() == list(range(12))
    for image in shown.images:
        with Image.open(folder / image.photo) as picture:
            assert picture.size == (SIDE, SIDE)
        assert (folder / image.photo).stat().st_size < 8_000
    assert len(list((folder / "thumbnails").iterdir())) == len(shown.images)


@pytest.mark.skipif(find_spec("umap") is not None, reason="umap draws the maps")
def test_a_map_is_of_the_stored_features(finished: Outcome, shown: ShownImages) -> None:
    assert {one.method for one in shown.maps} >= {"random", "simclr", "byol"}
    for one in shown.maps:
        folders = (finished.results_path.parent / "extract").glob(f"{one.method}-seed{one.seed}-*")
        ids = np.array([shown.images[i].id for i in one.shown])
        x = Features.load(next(folders)).take(ids).x.astype(float)
        expected = PCA(2, svd_solver="full").fit(x)
        points, theirs = np.array(one.points), expected.transform(x)
        assert np.abs(points).max() == 1
        for axis in range(2):
            assert abs(np.corrcoef(points[:, axis], theirs[:, axis])[0, 1]) > 0.999
        assert np.allclose(one.variance, expected.explained_variance_ratio_, atol=1e-6)


def test_no_verdict_of_the_study_needs_them(finished_study: Study, shown: ShownImages) -> None:
    assert len(shown.images) <= 54 + PAIRS * EACH
    assert {one.seed for one in shown.maps} == {min(finished_study.seeds)}


def test_a_cap_takes_evenly_from_the_classes() -> None:
    labels = np.array([0] * 50 + [1] * 20 + [2] * 3)
    taken = spread_out(labels, 33)
    assert np.bincount(labels[taken]).tolist() == [15, 15, 3]
    assert taken.tolist() == sorted(set(taken.tolist()))
    assert spread_out(labels, 99).tolist() == list(range(73))
