"""The model card: what it must say, and that no name in it is more than text."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.export.write import Asked, export
from headstart.reporting.words import fraction_name
from headstart.results import load_results
from headstart.runtime.stored import Wanted

HOSTILE = "<script>x</script> | *bold* `code` [a](http://b)\nnext"


def card(run: Path, out: Path, license_name: str = "unknown", **wanted: Any) -> str:
    wanted = {"method": "simclr", **wanted}
    export(Asked(run, Wanted(**wanted), "safetensors", out, license_name))
    return (out / "README.md").read_text("utf8")


def front(text: str) -> dict[str, Any]:
    """What the Hub reads: the YAML between the first two lines of dashes."""
    assert text.startswith("---\n")
    found = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_an_encoders_card(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["test_resnet"]
    text = card(run, tmp_path / "out")
    assert front(text) == {
        "library_name": "safetensors",
        "pipeline_tag": "image-feature-extraction",
        "license": "unknown",
        "tags": [
            "image-feature-extraction",
            "self-supervised-learning",
            "simclr",
            "test_resnet",
            "headstart",
        ],
    }
    results = load_results(run)
    for row in results.comparisons:
        line = f"- {row.arm_a.label}, {fraction_name(row.fraction)}: {row.sentence}"
        assert (line in text.replace("\\", "")) == (row.arm_a.method == "simclr")
    counts = results.data.counts
    assert f"| pretrained on, without labels | {counts.pool} |" in text
    assert "A Simple Framework for Contrastive Learning" in text
    assert "Bootstrap Your Own Latent" not in text
    assert "| 0 | bauletto |" in text
    assert re.search(r"all \d+ weights are equal bit for bit, and the features of 5", text)
    (artifact,) = json.loads((tmp_path / "out/export.json").read_text("utf8"))["source"][
        "artifacts"
    ]
    assert artifact in text


def test_a_classifiers_card_has_its_own_score_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["test_resnet"]
    text = card(run, tmp_path / "out", "apache-2.0", protocol="linear", fraction=0.5)
    head = front(text)
    assert (head["pipeline_tag"], head["license"]) == ("image-classification", "apache-2.0")
    scores = text.partition("## Test scores")[2].partition("## Verdict")[0]
    rows = [line for line in scores.splitlines() if line.startswith("| ")][1:]
    (own,) = (
        row
        for row in load_results(run).arms
        if str(row.arm) == "simclr/linear" and row.label_fraction == 0.5
    )
    assert own.metrics is not None
    assert [row.split(" | ")[0] for row in rows] == ["| SimCLR, linear head", "| supervised"]
    assert f"{100 * (own.metrics.balanced_accuracy or 0):.1f}" in rows[0]
    verdicts = text.partition("## Verdict")[2].partition("## Check")[0]
    assert verdicts.count("\n- ") == 1


def test_supervised_training_has_no_pretraining_and_no_verdict(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    text = card(runs["test_resnet"], tmp_path / "out", method="supervised", protocol="supervised")
    assert "self-supervised-learning" not in front(text)["tags"]
    assert "pretrained on" not in text
    assert "compared nothing of this network" in text


def test_no_path_of_the_machine(runs: dict[str, Path], bags: Path, tmp_path: Path) -> None:
    for backbone, run in runs.items():
        export(Asked(run, Wanted("simclr"), "timm", tmp_path / backbone))
        for file in (tmp_path / backbone).iterdir():
            content = file.read_bytes()
            for place in (bags, run, tmp_path, Path.home()):
                assert str(place).encode() not in content, file.name


@pytest.mark.parametrize("protocol", [None, "linear"])
def test_names_of_users_are_text(
    protocol: str | None, runs: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["resnet18"], run)
    results = json.loads((run / "results.json").read_text("utf8"))
    results["data"]["classes"][0]["name"] = HOSTILE
    (run / "results.json").write_text(json.dumps(results), "utf8")
    license_name = "mine: yes\ntags: [stolen]\n---\n# Hello"
    text = card(run, tmp_path / "out", license_name, protocol=protocol)
    assert front(text)["license"] == "mine: yes tags: [stolen] --- # Hello"
    assert "stolen" not in front(text)["tags"]
    assert "<script>" not in text
    assert "[a](http" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| 0 |"))
    assert row.count("|") - row.count("\\|") == 3
    record = json.loads((tmp_path / "out" / "export.json").read_text("utf8"))
    assert record["classes"][0] == HOSTILE
