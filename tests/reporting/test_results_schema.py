"""The schema takes what a run writes and refuses what no run may write."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import jsonschema
import pytest
from made_results import Knobs, build

from headstart.reporting import schema

VALIDATOR = jsonschema.Draft202012Validator(schema())


def errors(results: dict[str, Any]) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(results)]


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(),
        Knobs(seeds=1, collapsed=None, images=0),
        Knobs(seeds=5, fractions=(0.01, 0.02, 0.05, 0.1, 0.25, 1.0)),
        Knobs(classes=("a", "b"), seeds=1),
    ],
)
def test_results_of_every_size_are_valid(knobs: Knobs) -> None:
    results = build(knobs)
    assert errors(results) == []
    json.dumps(results, allow_nan=False)


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_empty_lists_are_valid() -> None:
    results = build(Knobs(seeds=1))
    lists = ("arms", "pretraining", "comparisons", "attribution_similarity", "explained")
    for key in (*lists, "warnings"):
        results[key] = []
    results["data"]["classes"] = []
    assert errors(results) == []


MUTATIONS: dict[str, tuple[list[str | int], Any]] = {
    "another schema": (["schema"], 2),
    "unknown key": (["arms", 0, "note"], "x"),
    "per cent instead of share": (["arms", 0, "metrics", "accuracy"], 61.2),
    "a metric of another name": (["arms", 0, "metrics", "auc"], 0.7),
    "an arm that is not named method/protocol": (["comparisons", 0, "arm_a"], "simclr"),
    "an unknown verdict": (["comparisons", 0, "verdict"], "significant"),
    "an unknown protocol": (["arms", 0, "protocol"], "probe"),
    "an unknown status": (["arms", 0, "status"], "done"),
    "ok without metrics": (["arms", 0, "metrics"], None),
    "an interval of one end": (["arms", 0, "intervals", "accuracy"], [0.5]),
    "a temperature of nothing": (["arms", 0, "confidence", "temperature"], 0),
    "counts below zero": (["arms", 0, "confusion_matrix", 0, 0], -1),
    "counts that are no whole numbers": (["arms", 0, "confusion_matrix", 0, 0], 1.5),
    "no labels at all": (["arms", 0, "label_fraction"], 0),
    "a reason of two lines": (["pretraining", 0, "reason"], "one\ntwo"),
    "a path out of the run": (["explained", 0, "photo"], "../../etc/passwd"),
    "an absolute path": (["explained", 0, "photo"], "/etc/passwd"),
    "a time that is no time": (["provenance", "started"], "yesterday"),
    "an unknown quantity": (["pretraining", 0, "history", 0, "rank"], 3.0),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_no_run_may_write_is_refused(name: str) -> None:
    path, value = MUTATIONS[name]
    results = build(Knobs(seeds=1))
    place: Any = results
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert errors(results)


def test_a_collapsed_arm_must_say_why() -> None:
    results = build(Knobs(seeds=1))
    lost = next(arm for arm in results["arms"] if arm["status"] == "collapsed")
    lost["reason"] = None
    assert errors(results)


@pytest.mark.parametrize("key", sorted(schema()["required"]))
def test_every_top_level_key_is_needed(key: str) -> None:
    results = build(Knobs(seeds=1))
    del results[key]
    assert errors(results)


def test_every_object_in_the_schema_is_closed_or_open_on_purpose() -> None:
    """Only the maps the contract leaves open take keys that nobody named."""
    open_ones = {
        "study",
        "chosen",
        "removed",
        "versions",
        "seconds",
        "further_weights",
        "maps",
        "scale",
        "without_map",
    }

    def visit(node: Any, name: str) -> None:
        if isinstance(node, list):
            for entry in node:
                visit(entry, name)
        if not isinstance(node, dict):
            return
        if "object" in node.get("type", []) and "if" not in name:
            closed = node.get("additionalProperties") is False
            assert closed or name in open_ones, name
        for key, child in node.items():
            if key in ("properties", "$defs"):
                for inner, value in child.items():
                    visit(value, inner)
            elif key not in ("if", "then", "else"):
                visit(child, name)

    visit(schema(), "results")


def test_the_builder_agrees_with_itself() -> None:
    """Metrics in the made results follow from their confusion matrices (scikit-learn)."""
    from sklearn import metrics

    results = build(Knobs(seeds=1))
    for arm in copy.deepcopy(results["arms"]):
        if arm["metrics"] is None:
            continue
        true, predicted = [], []
        for i, row in enumerate(arm["confusion_matrix"]):
            for j, n in enumerate(row):
                true += [i] * n
                predicted += [j] * n
        expected = {
            "accuracy": metrics.accuracy_score(true, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted),
            "macro_f1": metrics.f1_score(true, predicted, average="macro", zero_division=0),
            "kappa": metrics.cohen_kappa_score(true, predicted),
        }
        for name, value in expected.items():
            assert math.isclose(arm["metrics"][name], value, abs_tol=1e-12), name
