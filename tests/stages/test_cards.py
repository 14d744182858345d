"""Every network of a finished run has a card that says what the results say, and no more."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from headstart.api import load_classifier, load_encoder
from headstart.arms import PROTOCOLS, is_pretrained
from headstart.stages.report import Outcome
from headstart.store import CARD, Entry


@pytest.fixture(scope="module")
def run(finished: Outcome) -> Path:
    return finished.results_path.parent


def cards(run: Path, verb: str) -> dict[str, str]:
    """By the label of the artifact."""
    found = (run / verb).glob(f"*/{CARD}")
    return {path.parent.name.rpartition("-")[0]: path.read_text("utf8") for path in found}


def test_each_pretrained_encoder_and_each_classifier_has_one(run: Path, finished: Outcome) -> None:
    trained = {f"{row.method}-seed{row.seed}" for row in finished.results.pretraining}
    assert cards(run, "pretrain").keys() == trained
    judged = {
        f"{row.method}-{row.protocol}-seed{row.seed}-{row.label_fraction:g}"
        for row in finished.results.arms
        if PROTOCOLS[row.protocol].network
    }
    assert cards(run, "classify").keys() == judged
    for verb in ("pretrain", "classify"):
        for path in (run / verb).glob(f"*/{CARD}"):
            assert list(path.parent.glob("*.safetensors")), path


def test_a_card_says_what_the_results_say(run: Path, finished: Outcome, bags: Path) -> None:
    text = cards(run, "classify")["simclr-finetune-seed0-1"]
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "headstart"
    assert front["pipeline_tag"] == "image-classification"
    (row,) = (
        row
        for row in finished.results.arms
        if str(row.arm) == "simclr/finetune" and row.label_fraction == 1
    )
    assert row.metrics is not None
    assert f"{100 * (row.metrics.balanced_accuracy or 0):.1f}" in text
    (said,) = (
        found.sentence
        for found in finished.results.comparisons
        if found.arm_a == row.arm and found.fraction == 1
    )
    assert said in text.replace("\\", "")
    assert "exported with" not in text
    for place in (bags, run, Path.home()):
        assert str(place) not in text


def test_its_lines_of_python_load_the_network(run: Path) -> None:
    loads = {"load_encoder": load_encoder, "load_classifier": load_classifier}
    for verb, label in (("pretrain", "byol-seed0"), ("classify", "byol-linear-seed0-0.5")):
        code = re.findall(r"```python\n(.*?)```", cards(run, verb)[label], re.DOTALL)[0]
        call = next(node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
        assert isinstance(call.func, ast.Attribute)
        words = [ast.literal_eval(word) for word in call.args]
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        assert words[0] == "RUN"
        assert is_pretrained(words[1])
        loads[call.func.attr](run, *words[1:], **named)


def test_an_artifact_is_whole_with_any_card_or_none(run: Path) -> None:
    path = next((run / "pretrain").glob(f"simclr-*/{CARD}"))
    entry = Entry(path.parent, path.parent.name.rpartition("-")[2])
    before = path.read_text("utf8")
    said = entry.fault()
    path.write_text("other", "utf8")
    assert entry.fault() == said
    path.write_text(before, "utf8")
