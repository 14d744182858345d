"""suggest: images of the pool, from a finished run, as a table and a sheet."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import headstart
import tiny_study
from headstart.config import Study, StudyError
from headstart.finished import predict_images, suggest_images
from headstart.pipeline import run_study
from headstart.results import load_results
from headstart.stages.predict import Wanted
from headstart.stages.report import Outcome
from headstart.stages.suggest import Suggested, as_csv
from headstart.types import DatasetIndex
from tiny_study import Spoken


@pytest.fixture(scope="module")
def run(finished: Outcome) -> Path:
    return finished.report_path.parent


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suggested") / "new" / "folder"


@pytest.fixture(scope="module")
def found(run: Path, out: Path) -> Suggested:
    return suggest_images(run, 20, out)


def index_of(run: Path) -> DatasetIndex:
    return DatasetIndex.load(next(run.glob("index/*/datasetindex.npz")).parent)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "suggestions.csv").open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def test_only_unlabelled_images_are_suggested_and_each_once(found: Suggested, run: Path) -> None:
    index = index_of(run)
    assert len(found.positions) == len(set(found.paths)) == 20
    assert set(index.splits[found.positions].tolist()) == {"pool"}
    assert found.paths == tuple(index.paths[found.positions].tolist())
    assert found.pool == len(index.where("pool"))
    assert found.labelled == len(index.where("train"))


def test_the_table_has_a_row_for_each(found: Suggested, out: Path) -> None:
    rows = rows_of(out)
    assert list(rows[0]) == ["rank", "path", "cluster", "typicality", "distance", "class"]
    assert [row["rank"] for row in rows] == [str(i) for i in range(1, 21)]
    assert tuple(row["path"] for row in rows) == found.paths
    assert tuple(row["class"] for row in rows) == found.classes
    for name in ("cluster", "typicality", "distance"):
        values = [float(row[name]) for row in rows]
        np.testing.assert_allclose(values, getattr(found, name), atol=1e-4)


def test_the_sheet_opens_and_shows_every_image(out: Path) -> None:
    with Image.open(out / "sheet.jpg") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[:2] == (6 + 2 * 152, 6 + 10 * 134)  # two rows of ten
    for row in range(2):
        for column in range(10):
            y, x = 6 + row * 152, 6 + column * 134
            assert pixels[y : y + 128, x : x + 128].std() > 5
            assert (pixels[y + 128 : y + 146, x : x + 128] < 128).any()  # its rank


def test_nothing_is_left_half_written_and_nothing_in_the_run(out: Path, run: Path) -> None:
    assert {path.name for path in out.iterdir()} == {"suggestions.csv", "sheet.jpg"}
    before = sorted(path for path in run.rglob("*") if path.name != ".lock")
    suggest_images(run, 3)
    assert sorted(path for path in run.rglob("*") if path.name != ".lock") == before


def test_the_encoder_is_the_best_of_k_nn_on_validation(
    found: Suggested, run: Path, bags: Path
) -> None:
    """Asked anew through ``predict``, which decodes the validation images again."""
    folder = bags / "labeled" / "validation"
    scores = {}
    for arm in load_results(run).arms:
        if arm.protocol == "knn" and arm.label_fraction == 1:
            asked = predict_images(run, [folder], Wanted(f"{arm.method}/knn"))
            truth = [Path(name).parent.name for name in asked.names]
            answers = [asked.classes[i] for i in asked.predicted]
            right = [a == b for a, b in zip(truth, answers, strict=True)]
            scores[arm.method] = np.mean(
                [
                    np.mean([r for r, t in zip(right, truth, strict=True) if t == c])
                    for c in set(truth)
                ]
            )
    assert found.encoder.score == pytest.approx(max(scores.values()))
    assert scores[found.encoder.method] == pytest.approx(found.encoder.score)


def test_distances_and_classes_are_those_of_the_run(found: Suggested, run: Path) -> None:
    knn = Wanted(f"{found.encoder.method}/knn", seed=found.encoder.seed)
    index = index_of(run)
    x, train = (
        predict_images(run, [Path(path) for path in paths], knn).features
        for paths in (found.paths, index.paths[index.where("train")].tolist())
    )
    x, train = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (x, train))
    apart = np.linalg.norm(x[:, None] - train[None], axis=2).min(axis=1)
    np.testing.assert_allclose(found.distance, apart, atol=1e-4)
    named = predict_images(run, [Path(path) for path in found.paths])
    assert found.classes == tuple(named.classes[i] for i in named.predicted)


def test_the_seed_decides(found: Suggested, run: Path) -> None:
    again, other = suggest_images(run, 20), suggest_images(run, 20, seed=1)
    assert again.paths == found.paths
    assert again.lines == found.lines
    assert other.paths != found.paths


def test_whether_it_beats_chance_is_tried_out_and_said(found: Suggested) -> None:
    assert found.trial is not None
    what, worth = found.lines
    assert what.startswith("20 images of ")
    assert "balanced accuracy on validation images" in what
    assert worth == found.trial.sentence
    assert found.trial.held_out == 27
    expected = {
        "better": "It beats random choice here.",
        "worse": "Random choice did better here",
        "not shown": "It does not beat random choice here",
    }
    assert expected[found.trial.verdict] in worth


def test_where_it_could_not_be_tried_out_that_is_said(found: Suggested) -> None:
    _, worth = replace(found, trial=None).lines
    assert "whether it beats a random one here is not known" in worth


def test_a_run_without_a_classifier_names_no_classes(found: Suggested) -> None:
    rows = list(csv.DictReader(as_csv(replace(found, classes=())).splitlines()))
    assert len(rows) == 20
    assert {row["class"] for row in rows} == {""}


def test_long_work_shows_how_far_it_is(run: Path) -> None:
    spoken = Spoken()
    suggest_images(run, 3, tell=spoken)
    bars = {name for name, _, _ in spoken.bars}
    assert {"looking at the unlabelled images", "looking for copies", "trying it out"} <= bars
    for name in bars:
        last = [(done, total) for what, done, total in spoken.bars if what == name][-1]
        assert last[0] == last[1]


def small(bags: Path, pool: Path | None, home: Path) -> Study:
    """One method, one head: a run of seconds."""
    return tiny_study.study(
        bags,
        only=["simclr"],
        data={"unlabeled": str(pool) if pool else None, "cache": str(home / "cache")},
        classify={"protocols": ["knn"]},
        explain={"images": 0},
    )


def test_near_copies_are_suggested_once(bags: Path, tmp_path: Path) -> None:
    """A pool of four pictures, each kept seven times: brighter, recompressed, mirrored, blurred."""
    pool = tmp_path / "pool"
    pool.mkdir()
    for k, path in enumerate(sorted((bags / "unlabeled").rglob("*.jpg"))[:4]):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        kinds = {
            "a.png": picture,
            "b.jpg": picture,
            "c.png": picture.point(lambda value: min(255, value + 4)),
            "d.png": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            "e.png": picture.filter(ImageFilter.GaussianBlur(0.5)),
            "f.png": picture.resize((80, 80)),
        }
        for name, kind in kinds.items():
            kind.save(pool / f"{k}{name}")
    run_study(small(bags, pool, tmp_path), tmp_path / "run")
    found = suggest_images(tmp_path / "run", 20)
    shown = sorted(Path(path).name[0] for path in found.paths)
    assert shown == ["0", "1", "2", "3"]
    assert "16 fewer than asked" in found.lines[0]


def test_a_run_without_a_pool_is_told_so(bags: Path, tmp_path: Path) -> None:
    run_study(small(bags, None, tmp_path), tmp_path / "run")
    with pytest.raises(StudyError, match="no unlabelled images to choose from"):
        suggest_images(tmp_path / "run", 3)


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "--n 0: ask for at least one"), (-2, "--n -2"), (10_000, "ask for at most")],
)
def test_a_wrong_number_is_one_line(
    n: int,
    words: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from headstart import cli

    with pytest.raises(headstart.StudyError, match=words):
        headstart.suggest(run, n, progress=False)
    command = ["headstart", "suggest", str(run), "--n", str(n), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("headstart: ")
    assert words in line
    assert not list(tmp_path.rglob("*.csv"))


def test_places_that_do_not_fit_are_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyError, match="--out"):
        suggest_images(run, 3, tmp_path / "file")
    with pytest.raises(StudyError, match=r"no results\.json"):
        suggest_images(tmp_path, 3)
    assert (tmp_path / "file").read_text() == "mine"


def test_python_and_the_command_line_agree(
    found: Suggested,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: Path,
) -> None:
    from headstart import cli

    python = headstart.suggest(run, 20, progress=False)
    assert python.paths == found.paths
    command = ["headstart", "suggest", str(run), "--n", "20", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = capsys.readouterr().err
    assert all(line in said for line in found.lines)
    assert "sheet.jpg" in said
    assert (tmp_path / "suggestions.csv").read_bytes() == (out / "suggestions.csv").read_bytes()
