"""Averages, groups and words, against sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import Knobs, build, typed

from headstart.reporting import answer, tables, views, words


def row_of(results: dict, arm: str) -> tables.ArmSummary:
    return next(row for row in tables.summaries(typed(results)) if str(row.arm) == arm)


def test_means_intervals_and_counts_over_seeds() -> None:
    results = build(Knobs(seeds=4))
    cells = [a for a in results["arms"] if (a["method"], a["protocol"]) == ("simclr", "finetune")]
    row = row_of(results, "simclr/finetune")
    scores = np.array([cell["metrics"]["balanced_accuracy"] for cell in cells])
    ends = np.array([cell["intervals"]["balanced_accuracy"] for cell in cells])
    assert row.score == pytest.approx(scores.mean())
    assert row.interval["balanced_accuracy"] == pytest.approx(tuple(ends.mean(0)))
    assert sorted(row.scores) == sorted(scores.tolist())
    summed = np.array([cell["confusion_matrix"] for cell in cells]).sum(0)
    assert tables.confusion(row) == summed.tolist()
    recall = np.mean([[c["recall"] for c in cell["per_class"]] for cell in cells], axis=0)
    assert [entry["recall"] for entry in tables.recalls(row)] == pytest.approx(recall.tolist())


def test_a_lost_seed_leaves_the_mean_but_not_the_row() -> None:
    results = build(Knobs(seeds=3, collapsed=None))
    lost = next(arm for arm in results["arms"] if arm["method"] == "byol")
    lost.update(status="failed", reason="out of memory", metrics=None, intervals=None)
    row = row_of(results, f"byol/{lost['protocol']}")
    assert (len(row.cells), len(row.lost)) == (2, 1)
    shown = views.arm_table(typed(results))["groups"][0][1]
    note = next(r["lost"] for r in shown if r["lost"])
    assert "1 of 3 seeds lost (failed: out of memory)" in note


def test_best_arms_are_the_highest_of_their_kind_at_the_largest_fraction() -> None:
    results = build(Knobs(fractions=(0.1, 1.0)))
    best = tables.best_arms(typed(results))
    assert [str(row.arm) for row in best[2:]] == ["supervised/supervised", "random/linear"]
    assert {row.fraction for row in best} == {1.0}
    rivals = [
        r for r in tables.summaries(typed(results)) if r.fraction == 1.0 and r.pretrained and r.mean
    ]
    for chosen, kind in ((best[0], True), (best[1], False)):
        same = [r.score for r in rivals if (r.arm.protocol == "finetune") is kind]
        assert chosen.score == max(same)


def test_biggest_confusions_by_brute_force() -> None:
    results = build(Knobs(classes=tuple("abcdefgh"), seeds=2))
    arms = tables.best_arms(typed(results))
    shares = sum(
        np.array(tables.confusion(a)) / np.array(tables.confusion(a)).sum(1, keepdims=True)
        for a in arms
    )
    np.fill_diagonal(shares, 0)
    pairs = tables.biggest_confusions(arms, 5)
    assert [shares[pair] for pair in pairs] == pytest.approx(np.sort(shares.ravel())[::-1][:5])


def test_verdicts_fall_into_the_three_groups_and_the_main_protocol_comes_first() -> None:
    results = build(Knobs())
    template = results["comparisons"][0]
    results["comparisons"] = [
        {**template, "arm_a": f"simclr/{protocol}", "verdict": verdict, "sentence": verdict}
        for protocol in ("linear", "finetune")
        for verdict in tables.GROUPS
    ]
    parts = answer.verdict(typed(results))["parts"]
    assert [part["title"][:4] for part in parts] == ["Fine", "Line"]
    for part in parts:
        sizes = {name: len(items) for name, items in part["groups"]}
        assert sizes == {tables.HELPED: 1, tables.DID_NOT: 2, tables.CANNOT_TELL: 3}


def test_another_primary_metric_is_followed() -> None:
    results = build(Knobs(seeds=1))
    results["study"]["compare"]["metric"] = "macro_f1"
    row = row_of(results, "supervised/supervised")
    assert row.score == row.mean["macro_f1"]
    assert tables.against_supervised(typed(results)) == []
    assert views.arm_table(typed(results))["metric"] == "macro-F1"


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_limits_speak_of_the_seeds_there_were(seeds: int) -> None:
    said = " ".join(answer.limits(typed(build(Knobs(seeds=seeds)))))
    assert ("One seed." if seeds == 1 else f"{seeds} seeds.") in said
    assert ("That is few" in said) == (seeds == 3)
    assert "Pictures with an exchanged background are stronger evidence" in said
    unmasked = " ".join(answer.limits(typed(build(Knobs(seeds=seeds, masks=None)))))
    assert "No object masks were used" in unmasked
    assert "SimSiam did not finish" in said


def test_runs_that_met_the_same_event_share_a_sentence() -> None:
    events = views.pretraining(typed(build(Knobs(seeds=3))))["events"]
    (collapse,) = [event for event in events if "collapsed" in event]
    assert collapse.startswith("SimSiam, seeds 0, 1 and 2: collapsed at epoch 4 (step 56)")


def test_pretraining_no_better_than_random_weights_is_said() -> None:
    results = build(Knobs(seeds=1, collapsed=None))
    assert not any("learned nothing" in e for e in views.pretraining(typed(results))["events"])
    results["pretraining"][0]["knn_random"] = 0.99
    assert any("learned nothing" in e for e in views.pretraining(typed(results))["events"])


def test_starts_that_differ_are_said() -> None:
    results = build(Knobs(seeds=2))
    assert views.pretraining(typed(results))["same_start"] == "yes"
    results["pretraining"][0]["start"] = "other"
    assert views.pretraining(typed(results))["same_start"] == "no"


@given(st.floats(0, 1))
def test_per_cent_keeps_one_decimal(share: float) -> None:
    text = words.percent(share)
    assert text.endswith("\u00a0%")
    assert math.isclose(float(text[:-2]), 100 * share, abs_tol=0.0501)


@given(st.floats(-1, 1))
def test_points_have_a_sign_unless_they_round_to_nothing(share: float) -> None:
    text = words.points(share)
    value = float(text.replace("−", "-"))
    assert math.isclose(value, 100 * share, abs_tol=0.0501)
    assert (text[0] in "+−") == (value != 0)
    assert "-" not in text


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, max_size=40), st.integers(5, 30))
def test_shortened_names_stay_different(names: list[str], limit: int) -> None:
    short = words.shortened(names, limit)
    assert len(set(short)) == len(names)
    for name, cut in zip(names, short, strict=True):
        assert cut == name or "…" in cut or cut.startswith(name)


def test_missing_numbers_are_dashes() -> None:
    assert {words.percent(None), words.points(None), words.number(None), words.p_value(None)} == {
        "–"
    }
    assert words.bracket([0.1, None]) == ""
    assert words.points_bracket(None, 0.1) == ""


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.049, "0.049"), (1.0, "1.000")]
)
def test_p_values(p: float, text: str) -> None:
    assert words.p_value(p) == text
