"""Given weights as further arms: the whole study, and that all other arms stay as they were."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import headstart
import tiny_study
from headstart.arms import Arm
from headstart.cli import app
from headstart.config import Study, StudyError
from headstart.finished import explain_run
from headstart.layers import build_study, compose_study, flag_layers, read_study_file
from headstart.nn.encoder import build_encoder
from headstart.pipeline import run_study
from headstart.reporting.sentences import sentence
from headstart.stages.pretrain import further_weights, start, start_from_further
from headstart.stages.report import Outcome

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "data": {"limit": 40},
    "pretrain": {"epochs": 1, "batch_size": 32},
    "explain": {"images": 2, "pictures": 1, "attributions": ["saliency"]},
}
GIVEN = ("weights@DINOv2", "simclr@DINOv2")


def asked(bags: Path, **files: str) -> Study:
    return tiny_study.study(bags, only=["simclr"], encoder={"further_weights": files}, **SMALL)


def weights_file(path: Path, seed: int = 77) -> str:
    body = build_encoder("test_resnet", image_size=32, seed=seed).body.state_dict()
    torch.save({"fc.weight": torch.zeros(3, 96), **body}, path)
    return str(path)


@pytest.fixture(scope="module")
def plain(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_study(asked(bags), tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def told() -> tiny_study.Spoken:
    return tiny_study.Spoken()


@pytest.fixture(scope="module")
def given(bags: Path, tmp_path_factory: pytest.TempPathFactory, told: tiny_study.Spoken) -> Outcome:
    """A study with weights whose file is taken away when it is done."""
    folder = tmp_path_factory.mktemp("given")
    file = weights_file(folder / "any.pth")
    outcome = run_study(asked(bags, DINOv2=file), folder / "run", told)
    Path(file).unlink()
    return outcome


def test_every_further_arm_is_judged(given: Outcome) -> None:
    further = [one for one in given.results.arms if one.method in GIVEN]
    assert Counter(str(one.arm) for one in further) == Counter(
        f"{method}/{protocol}" for method in GIVEN for protocol in ("finetune", "linear", "knn")
    )
    assert {one.status for one in further} == {"ok"}
    compared = {str(row.arm_a) for row in given.results.comparisons}
    assert compared >= {str(one.arm) for one in further}
    assert {str(row.arm_b) for row in given.results.comparisons} == {"supervised/supervised"}
    pairs = {(str(row.arm_a), str(row.arm_b)) for row in given.results.method_pairs}
    assert ("weights@DINOv2/finetune", "simclr@DINOv2/finetune") in pairs
    assert ("simclr/finetune", "simclr@DINOv2/finetune") in pairs
    assert {run.method for run in given.results.pretraining} == {"simclr", "simclr@DINOv2"}


def test_arms_from_nothing_are_as_without_weights(given: Outcome, plain: Outcome) -> None:
    shared = [one for one in given.results.arms if one.method not in GIVEN]
    assert shared == list(plain.results.arms)
    numbers = ("arm_a", "arm_b", "fraction", "difference", "low", "high", "p", "seeds", "n")
    here, there = (
        [[getattr(row, name) for name in numbers] for row in outcome.results.comparisons]
        for outcome in (given, plain)
    )
    assert [row for row in here if row[0].method not in GIVEN] == there
    for row, alone in zip(
        [r for r in given.results.comparisons if r.arm_a.method not in GIVEN],
        plain.results.comparisons,
        strict=True,
    ):
        assert row.p_holm >= alone.p_holm  # type: ignore[operator]  # one larger family
    made = [name for name in plain.results.provenance.seconds if not name.startswith("compare")]
    assert set(made) <= set(given.results.provenance.seconds)


def test_arms_that_are_meant_to_start_alike_do(given: Outcome) -> None:
    gates = {g.arm: g for g in given.results.gates if g.gate == "G4"}
    assert gates.keys() == {"supervised", "simclr", *GIVEN}
    assert {g.result for g in gates.values()} == {"PASS"}
    assert "DINOv2" in gates["simclr@DINOv2"].reason
    assert "2 of 2 arms" in gates["simclr@DINOv2"].reason
    begun = {run.method: run.start for run in given.results.pretraining}
    assert begun["simclr"] != begun["simclr@DINOv2"]


def test_table_page_and_warnings_say_it(given: Outcome, told: tiny_study.Spoken) -> None:
    page = given.report_path.read_text(encoding="utf8")
    text = (given.report_path.parent / "report.md").read_text(encoding="utf8")
    for label in ("DINOv2 weights, fine-tuned", "SimCLR continued from DINOv2 weights, fine-tuned"):
        assert label in page
        assert label in text
        row = next(r for r in given.results.comparisons if r.arm_a.label == label)
        judged = row.model_copy(update={"verdict": "can't tell", "reasons": ()})
        assert "DINOv2 weights" in str(sentence(judged))
    assert any("DINOv2: weights from elsewhere" in line for line in given.results.warnings)
    assert any(line.endswith("no part of the encoder: fc.weight") for line in told.lines)
    content = given.results.provenance.further_weights["DINOv2"]
    assert content.startswith("sha256:")
    assert len(content) == 7 + 64
    rows = (given.results_path.parent / "predictions.csv").read_text(encoding="utf8")
    assert ",simclr@DINOv2,finetune,0," in rows


def test_encoders_of_further_arms_come_back(given: Outcome) -> None:
    run = given.results_path.parent
    x = torch.rand(2, 3, 32, 32)
    source = build_encoder("test_resnet", image_size=32, seed=77).eval()
    with torch.no_grad():
        found = headstart.load_encoder(run, "weights@DINOv2")(x)
        torch.testing.assert_close(found, source(x), rtol=0, atol=1e-5)
        continued = headstart.load_encoder(run, method="simclr@DINOv2")(x)
        assert not torch.allclose(continued, found)
        assert not torch.allclose(continued, headstart.load_encoder(run, "simclr")(x))
    with pytest.raises(StudyError, match=r"no encoder of weights@other .*weights@DINOv2"):
        headstart.load_encoder(run, "weights@other")


def test_a_finished_run_is_explained_without_the_file(given: Outcome) -> None:
    folder = given.results_path.parent
    again = explain_run(folder, [("--images", {"explain": {"images": 3}})])
    assert again.results.provenance.further_weights == given.results.provenance.further_weights
    assert again.results.arms == given.results.arms
    assert any(
        str(one.arm) == "simclr@DINOv2/finetune" for one in again.results.explanations.networks
    )  # type: ignore[union-attr]


# --- keys ---------------------------------------------------------------------------------------


def test_the_key_holds_what_the_file_holds(bags: Path, tmp_path: Path) -> None:
    def key(file: str) -> str:
        study = asked(bags, any=file)
        run = tiny_study.open_run(study, tmp_path / "run")
        object.__setattr__(run, "further_weights", further_weights(study))
        assert start(run, 0, "random").key == start(bare, 0, "random").key
        return start_from_further(run, "any").key

    bare = tiny_study.open_run(asked(bags), tmp_path / "run")
    (tmp_path / "other").mkdir()
    first = key(weights_file(tmp_path / "any.pth"))
    shutil.copy(tmp_path / "any.pth", tmp_path / "other" / "name.pth")
    assert key(str(tmp_path / "other" / "name.pth")) == first
    assert key(weights_file(tmp_path / "any.pth", seed=78)) != first


# --- how they are asked for ---------------------------------------------------------------------


def flagged(value: Any) -> dict[str, str]:
    study = compose_study("quick", None, list(flag_layers({"weights": value})))
    return study.encoder.further_weights


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("DINOv2=w/dino.pth", {"DINOv2": "w/dino.pth"}),
        ("w/dinov2.pth", {"dinov2": "w/dinov2.pth"}),
        ("a=x.pth,b=y.safetensors", {"a": "x.pth", "b": "y.safetensors"}),
        ("pretrained", {"pretrained": "pretrained"}),
        ("ImageNet=pretrained", {"ImageNet": "pretrained"}),
        ("w/lr=0.1/dinov2.pth", {"dinov2": "w/lr=0.1/dinov2.pth"}),
        (["a=x.pth", "y.pth"], {"a": "x.pth", "y": "y.pth"}),
        ({"a": Path("x.pth")}, {"a": "x.pth"}),
    ],
)
def test_names_and_files(value: Any, found: dict[str, str]) -> None:
    assert flagged(value) == found


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("simclr=x.pth", "'simclr' is the name of a method"),
        ("a=x.pth,a=y.pth", "the name 'a' is there twice"),
        ("a/x.pth,b/x.pth", "the name 'x' is there twice"),
        ("my weights (1).pth", "write NAME=FILE"),
        ({"a<b>": "x.pth"}, "cannot name weights"),
        ({"a": None}, "encoder.further_weights.a"),
    ],
)
def test_a_mistake_is_one_line(value: Any, told: str) -> None:
    with pytest.raises(StudyError) as caught:
        flagged(value)
    assert told in str(caught.value)
    assert "--weights" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_they_are_compared_with_starts_from_nothing() -> None:
    with pytest.raises(StudyError, match="compared with training from nothing"):
        build_study([("file", {"encoder": {"weights": "x.pth", "further_weights": {"a": "b"}}})])


@pytest.mark.parametrize(
    "written", ["{dinov2: w.pth, hub: pretrained}", "[dinov2=w.pth, hub=pretrained]"]
)
def test_paths_of_a_study_file_begin_at_its_folder(written: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"encoder: {{further_weights: {written}}}", encoding="utf8")
    found = build_study([(str(path), read_study_file(path))]).encoder.further_weights
    assert found == {"dinov2": str(tmp_path / "w.pth"), "hub": "pretrained"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"\x80\x04cos\nsystem\n.", "not readable as plain weights"),
        ("other", "does not fit the backbone"),
    ],
)
def test_the_command_line_refuses_a_file_before_anything_is_read(
    content: bytes | str | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "w.pth"
    if content == "other":
        torch.save(build_encoder("test_vit", image_size=64).body.state_dict(), file)
    elif isinstance(content, bytes):
        file.write_bytes(content)
    words = ["run", "--backbone", "test_resnet", "--image-size", "32", "--device", "cpu"]
    words += ["--weights", f"a={file}", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, StudyError)
    assert told in str(done.exception)
    assert str(file) in str(done.exception)
    assert "\n" not in str(done.exception)


def test_results_hold_the_names_as_data(given: Outcome) -> None:
    stored = json.loads(given.results_path.read_text(encoding="utf8"))
    methods = {one["method"] for one in stored["arms"]}
    assert methods == {"majority", "random", "supervised", "simclr", *GIVEN}
    assert all(Arm(m, "linear") == Arm.parse(f"{m}/linear") for m in methods)
