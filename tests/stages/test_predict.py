"""predict: the same answers as the evaluation gave, for images from anywhere."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.config import StudyError
from headstart.data.splits import label_budget
from headstart.finished import predict_images
from headstart.results import load_results
from headstart.stages.predict import USUAL, Wanted, as_csv, save_embeddings, usual_limit
from headstart.stages.report import Outcome
from headstart.types import DatasetIndex


@pytest.fixture(scope="module")
def run(finished: Outcome) -> Path:
    return finished.report_path.parent


@pytest.fixture(scope="module")
def test_images(bags: Path) -> Path:
    return bags / "labeled" / "test"


def judged(run: Path, arm: str) -> dict[str, dict[str, str]]:
    """What the run itself said of its test images at all labels, by path below the folder."""
    with (run / "predictions.csv").open(encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["id"].partition("/test/")[2]: row
        for row in rows
        if f"{row['method']}/{row['protocol']}" == arm and row["label_fraction"] == "1.0"
    }


def validation_budget(run: Path) -> set[str]:
    """Ids, below the folder, of the validation images that go with all labels."""
    (folder,) = (path.parent for path in run.rglob("datasetindex.npz"))
    index = DatasetIndex.load(folder)
    chosen = label_budget(index, 1.0, 0, 0).validation
    return {str(identity).removeprefix("labeled/") for identity in index.ids[chosen]}


@pytest.mark.parametrize("arm", ["simclr/finetune", "moco/linear", "byol/knn", "random/linear"])
def test_test_images_get_the_answers_of_the_evaluation(
    arm: str, run: Path, test_images: Path
) -> None:
    found = predict_images(run, [test_images], Wanted(arm))
    known = judged(run, arm)
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(rows) == len(known)
    for row in rows:
        before = known[row["path"].partition("/test/")[2]]
        # Calibration divides the logits by the temperature: p becomes p^(1/T), made to sum to 1.
        shares = np.array([float(before[f"p:{name}"]) for name in found.classes])
        sharper = np.maximum(shares, 1e-9) ** (1 / found.temperature)
        scaled = [float(row[f"p:{name}"]) for name in found.classes]
        np.testing.assert_allclose(scaled, sharper / sharper.sum(), atol=2e-3)
        assert float(row["probability"]) == max(scaled)
        top = sorted(shares)[-2:]
        assert top[1] - top[0] < 1e-4 or row["class"] == before["prediction"]


def test_best_is_best_on_validation(run: Path, test_images: Path) -> None:
    scores = {
        str(arm.arm): arm.chosen["validation"]
        for arm in load_results(run).arms
        if arm.label_fraction == 1 and arm.chosen and "validation" in arm.chosen
    }
    best = str(predict_images(run, [test_images]).cell.arm)
    assert scores[best] == max(scores.values())


def test_what_cannot_be_read_has_a_reason_and_keeps_its_place(
    run: Path, test_images: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    first = next(test_images.rglob("*.jpg"))
    found = predict_images(run, [broken, first, broken])
    assert found.names == (str(broken), str(first), str(broken))
    assert found.predicted.tolist()[0] == found.predicted.tolist()[2] == -1
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert rows[0]["note"].startswith("not read: ")
    assert rows[0]["class"] == ""
    assert rows[1]["class"]


def test_distances_are_those_to_the_fifth_nearest_training_image(run: Path, bags: Path) -> None:
    parts = {}
    for part in ("train", "validation", "test"):
        parts[part] = predict_images(run, [bags / "labeled" / part], Wanted("moco/linear"))
    x = {
        name: found.features / np.linalg.norm(found.features, axis=1, keepdims=True)
        for name, found in parts.items()
    }
    for name in ("validation", "test"):
        apart = np.linalg.norm(x[name][:, None] - x["train"][None], axis=2)
        expected = np.sort(apart, axis=1)[:, 4]
        np.testing.assert_allclose(parts[name].distance, expected, atol=1e-4)
    held_out = validation_budget(run)
    apart = [
        distance
        for name, distance in zip(
            parts["validation"].names, parts["validation"].distance, strict=True
        )
        if Path(name).as_posix().partition("/labeled/")[2] in held_out
    ]
    assert len(apart) == len(held_out) == parts["test"].held_out == 18
    assert parts["test"].limit == pytest.approx(max(apart), abs=1e-5)  # ⌈19 · 0.95⌉ is the last
    expected = parts["test"].distance > parts["test"].limit
    np.testing.assert_array_equal(parts["test"].unlike, expected)


def test_features_are_written_by_path(run: Path, test_images: Path, tmp_path: Path) -> None:
    import pandas

    found = predict_images(run, [test_images], Wanted("moco/linear"))
    save_embeddings(found, tmp_path / "e.npz")
    save_embeddings(found, tmp_path / "e.parquet")
    with np.load(tmp_path / "e.npz") as stored:
        np.testing.assert_array_equal(stored["features"], found.features)
        assert tuple(stored["paths"]) == found.names
    table = pandas.read_parquet(tmp_path / "e.parquet")
    np.testing.assert_array_equal(table.drop(columns="path").to_numpy(), found.features)


def test_nothing_is_left_in_the_run(run: Path, test_images: Path) -> None:
    before = sorted(path for path in run.rglob("*") if path.name != ".lock")
    predict_images(run, [test_images])
    assert sorted(path for path in run.rglob("*") if path.name != ".lock") == before


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("moco/finetuned"), "--arm moco/finetuned: no such classifier"),
        (Wanted(fraction=0.3), "--label-fraction 0.3"),
        (Wanted(seed=4), "--seed 4"),
        (Wanted("majority/majority"), "no such classifier"),
    ],
)
def test_what_the_run_does_not_have_is_said(
    wanted: Wanted, words: str, run: Path, test_images: Path
) -> None:
    with pytest.raises(StudyError, match=words):
        predict_images(run, [test_images], wanted)


def test_no_images_are_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such image"):
        predict_images(run, [tmp_path / "nowhere"])
    with pytest.raises(StudyError, match="no images given"):
        predict_images(run, [])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(StudyError, match="none of the 1 images can be read"):
        predict_images(run, [tmp_path])


@given(
    arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 2), unique=True),
)
def test_the_limit_is_exceeded_by_one_in_twenty(distances: np.ndarray) -> None:
    """Of n + 1 exchangeable images each is as likely to be the new one: count them all."""
    exceeded = sum(
        value > usual_limit(np.delete(distances, i))
        for i, value in enumerate(distances)
        if len(distances) > 1
    )
    assert exceeded <= max(1, np.floor((1 - USUAL) * len(distances) + 1e-9))


def test_the_command_reads_a_list_and_writes_a_table(
    run: Path,
    test_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from headstart import cli

    images = sorted(test_images.rglob("*.jpg"))[:3]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, images)) + "\n"))
    monkeypatch.setattr(sys, "argv", ["headstart", "predict", str(run), "-"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == [str(path) for path in images]
    for option, path in (("--out", "no/p.csv"), ("--embeddings", "features.csv")):
        flags = [option, str(tmp_path / path)]
        monkeypatch.setattr(sys, "argv", ["headstart", "predict", str(run), str(images[0]), *flags])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
