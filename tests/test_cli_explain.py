"""``headstart explain``: a finished run before other questions, and one picture of the user's."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart import cli
from headstart.stages.report import Outcome

Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def run(finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run, to be explained."""
    folder = tmp_path_factory.mktemp("explain") / "run"
    shutil.copytree(finished.results_path.parent, folder)
    return folder


def untouched(run: Path) -> set[str]:
    """What was trained: these folders must stay as they are."""
    verbs = ("index", "pretrain", "classify", "evaluate", "compare")
    return {str(p) for verb in verbs for p in (run / verb).rglob("*")}


def test_explained_anew_without_training(run: Path, main: Main) -> None:
    before = untouched(run)
    code, out, err = main(
        "explain", run, "--attributions", "saliency,grad_cam", "--images", 9, "--json"
    )
    assert code == 0, err
    assert Path(out.strip()) == run / "results.json"
    assert untouched(run) == before
    assert "Report: " in err
    assert "can't be told from one seed" in err
    assert "background" in err  # the masks of the run are used again
    results = json.loads((run / "results.json").read_text(encoding="utf8"))
    assert results["study"]["explain"]["attributions"] == ["saliency", "grad_cam"]
    assert {r["attribution"] for r in results["attribution_similarity"]} == {"saliency", "grad_cam"}
    assert "explain" in results["provenance"]["explained_anew"]["command"]
    named = {row["photo"] for row in results["explained"]}
    named |= {p for row in results["explained"] for a in row["arms"] for p in a["maps"].values()}
    assert {f"pictures/{path.name}" for path in (run / "pictures").iterdir()} == named


def test_one_picture_before_all_arms(run: Path, bags: Path, tmp_path: Path, main: Main) -> None:
    picture = tmp_path / "my bag.jpg"
    with Image.open(bags / "labeled/test/hobo/000001.jpg") as image:
        image.resize((90, 60)).save(picture)
    code, out, err = main("explain", run, "--image", picture, "--json")
    assert code == 0, err
    arrays = Path(out.strip())
    assert arrays.name == "maps.npz"
    assert arrays.parent.parent == run / "explained"
    assert re.fullmatch("my bag-[0-9a-f]{8}", arrays.parent.name)
    with np.load(arrays, allow_pickle=False) as found:
        arms = found["arms"].tolist()
        assert found["maps"].shape == (10, 2, 32, 32)
        assert found["maps"].dtype == np.float32
        assert found["attributions"].tolist() == ["saliency", "grad_cam"]
        assert found["converged"].shape == (10, 2)
        assert found["converged"].all()
        assert found["maps"][:, 0].any(axis=(1, 2)).all()  # Grad-CAM may have nothing to show
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-6)
        assert (found["predicted"] == found["probabilities"].argmax(axis=1)).all()
        assert (found["target"] == found["predicted"]).all()
        told = found["classes"][found["predicted"]].tolist()
    assert arms[-1] == "random/linear"
    for name in (*told, "supervised", "random weights", "sheet.png"):
        assert name in err
    with Image.open(arrays.with_name("sheet.png")) as sheet:
        assert sheet.width > 10 * 160


def test_one_picture_of_the_study_gets_the_answers_of_the_study(
    run: Path, bags: Path, main: Main
) -> None:
    """Decoded and cut as the cache does it: the probabilities are those of predictions.csv."""
    import csv

    picture = bags / "labeled/test/hobo/000002.jpg"
    code, out, err = main("explain", run, "--image", picture, "--target", "hobo", "--json")
    assert code == 0, err
    with np.load(Path(out.strip()), allow_pickle=False) as found:
        shares = dict(zip(found["arms"].tolist(), found["probabilities"], strict=True))
        assert set(found["classes"][found["target"]].tolist()) == {"hobo"}
        classes = found["classes"].tolist()
    with (run / "predictions.csv").open(encoding="utf8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["id"].endswith("test/hobo/000002.jpg") and row["label_fraction"] == "1.0"
        ]
    compared = 0
    for row in rows:
        arm = f"{row['method']}/{row['protocol']}"
        if arm in shares:
            expected = [float(row[f"p:{name}"]) for name in classes]
            np.testing.assert_allclose(shares[arm], expected, atol=1e-4)
            compared += 1
    assert compared == 10


def test_a_map_that_did_not_converge_is_marked(
    run: Path, bags: Path, main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart import attributions

    real = attributions.attribute

    def rough(model: Any, x: Any, target: Any, name: str, **more: Any) -> Any:
        found = real(model, x, target, name, **more)
        return replace(found, converged=found.converged & (name != "saliency"))

    picture = bags / "labeled/test/hobo/000003.jpg"
    fine = Path(main("explain", run, "--image", picture, "--json")[1].strip())
    sheet = fine.with_name("sheet.png").read_bytes()
    monkeypatch.setattr(attributions, "attribute", rough)
    code, out, err = main("explain", run, "--image", picture, "--json")
    assert code == 0, err
    assert Path(out.strip()) == fine
    assert "supervised/supervised: saliency did not converge" in err
    with np.load(fine, allow_pickle=False) as found:
        names = found["attributions"].tolist()
        assert (found["converged"] == [name != "saliency" for name in names]).all()
    assert fine.with_name("sheet.png").read_bytes() != sheet


def test_two_pictures_of_one_name_have_a_folder_each(run: Path, bags: Path, main: Main) -> None:
    folders = set()
    for name in ("hobo", "zaino", "hobo"):
        code, out, err = main(
            "explain", run, "--image", bags / f"labeled/test/{name}/000003.jpg", "--json"
        )
        assert code == 0, err
        folders.add(Path(out.strip()).parent)
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attributions", "saliancy"], "did you mean 'saliency'?"),
        (["--images", "-1"], "--images: explain.images"),
        (["--masks", "nowhere"], "nowhere"),
        (["--target", "hobo"], "goes with --image"),
        (["--image", "nowhere.jpg"], "--image nowhere.jpg: no such file"),
        (["--image", "{run}/results.json"], "cannot be read as an image"),
        (["--image", "{bag}", "--target", "zaini"], "did you mean 'zaino'?"),
        (["--set", "seeds=[0]"], "only explain.* and engine.device can be set"),
        (["--set", "engine.precision=fp32"], "only explain.* and engine.device can be set"),
        (["--set", "explain.imagse=3"], "did you mean 'images'?"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], says: str, run: Path, bags: Path, main: Main
) -> None:
    bag = str(bags / "labeled/test/hobo/000000.jpg")
    given = [a.format(run=run, bag=bag) for a in arguments]
    before = untouched(run)
    code, out, err = main("explain", run, *given)
    assert code == 2
    assert out == ""
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert untouched(run) == before


def test_a_folder_that_is_no_finished_run(run: Path, tmp_path: Path, main: Main) -> None:
    code, _, err = main("explain", tmp_path)
    assert code == 2
    assert "no results.json there; give the folder of a finished run" in err
    (tmp_path / "results.json").write_text("[]", encoding="utf8")
    code, _, err = main("explain", tmp_path)
    assert code == 2
    assert "not the results of a run" in err
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(run / "results.json", half)
    shutil.copytree(run / "index", half / "index")
    code, _, err = main("explain", half)
    assert code == 2
    assert "is not there under these settings" in err
    assert not (half / "pretrain").exists()
