"""The comparisons of a study, against slow references and in worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart.arms import BASELINE, Arm
from headstart.reporting.sentences import write_comparisons
from headstart.reporting.sentences.differences import OVER
from headstart.results import LostArm
from headstart.stages.compare.families import (
    Judged,
    Key,
    PairComparisons,
    Question,
    against,
    beats_chance,
    between,
)
from headstart.stages.compare.findings import findings as whole
from headstart.stats.bootstrap import Resampling, grouped
from headstart.stats.hypotheses import holm, mcnemar_midp
from two_arms import crossed_bootstrap

SUPERVISED = str(BASELINE)
A_LINEAR = Arm("a", "linear")
ASKED = Question(replicates=400)
FRACTIONS = (0.125, 0.25, 0.5, 1.0)
LABELS = {0.125: 50, 0.25: 100, 0.5: 200, 1.0: 400}


def findings(*given: Any) -> dict[str, Any]:
    """What was found, as ``results.json`` spells it."""
    return write_comparisons(whole(*given)).to_json()


def answers(y: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    right = rng.random(y.size) < accuracy
    return np.where(right, y, (y + rng.integers(1, 4, y.size)) % 4)


def world(
    arms: Mapping[str, tuple[float, ...]],
    seeds: tuple[int, ...] = (0, 1, 2),
    fractions: tuple[float, ...] = FRACTIONS,
    n: int = 240,
) -> Judged:
    """Arms with the accuracies given for each fraction, on ``n`` images of four classes."""
    y = np.arange(n) % 4
    predicted = {
        Key(Arm.parse(arm), seed, f): answers(y, accuracy, 1000 * a + 10 * seed + i)
        for a, (arm, row) in enumerate(arms.items())
        for i, (f, accuracy) in enumerate(zip(fractions, row, strict=True))
        for seed in seeds
    }
    learned = {key: beats_chance(y, found, 4, 200) for key, found in predicted.items()}
    return Judged(y, predicted, learned, labels={f: LABELS[f] for f in fractions})


CURVES = {
    SUPERVISED: (0.40, 0.52, 0.64, 0.76),
    "simclr/finetune": (0.52, 0.64, 0.76, 0.80),
    "byol/finetune": (0.41, 0.52, 0.63, 0.76),
    "moco/finetune": (0.30, 0.42, 0.60, 0.70),
    "random/linear": (0.25, 0.25, 0.25, 0.25),
    "simclr/linear": (0.40, 0.42, 0.44, 0.46),
}


@pytest.fixture(scope="module")
def found() -> dict:
    return findings(world(CURVES, n=1200), ASKED)


def test_a_row_is_what_the_bootstrap_of_that_pair_alone_says(found: dict) -> None:
    judged = world(CURVES, n=1200)
    for row in found["comparisons"]:
        a, b = (
            np.stack([judged.predicted[Key(Arm.parse(arm), s, row["fraction"])] for s in (0, 1, 2)])
            for arm in (row["arm_a"], row["arm_b"])
        )
        alone = crossed_bootstrap(judged.y, a, b, plan=Resampling(400, seed=0))
        got = [row[k] for k in ("difference", "low", "high", "p")]
        assert got == pytest.approx([alone.difference, alone.low, alone.high, alone.p])


def family(rows: list[dict[str, Any]], *protocols: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["arm_a"].partition("/")[2] in protocols]


def assert_corrected_together(rows: list[dict[str, Any]], among: list[dict[str, Any]]) -> None:
    expected = dict(zip(map(id, among), holm([row["p"] for row in among]), strict=True))
    assert rows
    for row in rows:
        assert row["p_holm"] == pytest.approx(expected[id(row)])


def test_every_family_is_corrected_by_itself(found: dict) -> None:
    rows = found["comparisons"]
    assert_corrected_together(rows, rows)
    for fraction in FRACTIONS:
        pairs = [row for row in found["method_pairs"] if row["fraction"] == fraction]
        assert_corrected_together(pairs, pairs)  # all of them fine-tuned
    for protocol in ("finetune", "linear"):
        areas = family(found["area_differences"], protocol)
        assert_corrected_together(areas, areas)
    sizes = [len(found[name]) for name in ("comparisons", "method_pairs", "area_differences")]
    assert sizes == [4 * 4, 4 * 3, 4]


def test_controls_are_in_no_family(found: dict) -> None:
    arms = {row[k] for rows in found.values() for row in rows for k in ("arm_a", "arm_b")}
    assert arms == set(CURVES) - {"random/linear"}
    assert {row["arm_b"] for row in found["comparisons"]} == {SUPERVISED}
    pairs = {(row["arm_a"], row["arm_b"]) for row in found["method_pairs"]}
    assert all(a.endswith("/finetune") and b.endswith("/finetune") for a, b in pairs)
    assert Arm("start", "linear").candidate
    assert not Arm("supervised", "matched").candidate


def test_the_area_is_the_mean_difference_where_labels_double(found: dict) -> None:
    # Evenly spaced in ln n, the trapezoid weighs the ends half.
    by_fraction = {
        row["fraction"]: row["difference"]
        for row in found["comparisons"]
        if row["arm_a"] == "simclr/finetune"
    }
    d = [by_fraction[f] for f in FRACTIONS]
    expected = (d[0] / 2 + d[1] + d[2] + d[3] / 2) / 3
    row = next(r for r in found["area_differences"] if r["arm_a"] == "simclr/finetune")
    assert row["difference"] == pytest.approx(expected)
    assert row["verdict"] == "better"
    assert row["sentence"].startswith(OVER + "fine-tuned SimCLR beats supervised training")
    assert row["fractions"] == list(FRACTIONS)


def test_labels_saved_are_twofold_where_the_curve_is_shifted_by_one_doubling(found: dict) -> None:
    rows = {
        row["fraction"]: row for row in found["label_saving"] if row["arm_a"] == "simclr/finetune"
    }
    assert set(rows) == {0.125, 0.25, 0.5}
    assert rows[0.125]["labels"] == 50
    assert 70 < rows[0.125]["needed"] < 140
    assert rows[0.125]["low"] < 100 < rows[0.125]["high"]
    assert rows[0.125]["quotable"]
    assert "it saves roughly" in rows[0.125]["sentence"]
    assert rows[0.25]["quotable"]  # 100 labels, a quarter of 400
    assert not rows[0.5]["quotable"]
    assert "roughly" not in rows[0.5]["sentence"]


def test_a_saving_out_of_sight_is_null_and_says_on_which_side() -> None:
    judged = world({SUPERVISED: (0.3, 0.35, 0.4, 0.45), "a/knn": (0.9, 0.9, 0.9, 0.9)})
    for row in findings(judged, ASKED)["label_saving"]:
        assert row["needed"] is None
        assert row["censored"] == "above"
        assert not row["quotable"]
    judged = world({SUPERVISED: (0.7, 0.75, 0.8, 0.85), "a/knn": (0.4, 0.4, 0.4, 0.5)})
    for row in findings(judged, ASKED)["label_saving"]:
        assert row["censored"] == "below"


def test_no_saving_is_claimed_for_what_did_not_learn() -> None:
    judged = world({SUPERVISED: (0.4, 0.5, 0.6, 0.7), "a/linear": (0.25, 0.25, 0.25, 0.25)})
    assert findings(judged, ASKED)["label_saving"] == []


def test_one_label_count_has_no_curve() -> None:
    judged = world({SUPERVISED: (0.5,), "a/linear": (0.6,)}, fractions=(1.0,))
    found = findings(judged, ASKED)
    assert found["area_differences"] == found["label_saving"] == []
    assert len(found["comparisons"]) == 1


def test_fractions_that_add_no_label_are_left_out_of_the_curve() -> None:
    judged = world({SUPERVISED: (0.4, 0.5, 0.6, 0.7), "a/linear": (0.5, 0.6, 0.7, 0.8)})
    judged = replace(judged, labels={0.125: 9, 0.25: 9, 0.5: 18, 1.0: 36})
    found = findings(judged, ASKED)
    assert found["area_differences"][0]["fractions"] == [0.125, 0.5, 1.0]
    assert [row["labels"] for row in found["label_saving"]] == [9, 18]


def test_a_single_seed_carries_mcnemar_and_several_do_not() -> None:
    judged = world({SUPERVISED: (0.5,), "a/linear": (0.6,)}, seeds=(4,), fractions=(1.0,))
    row = findings(judged, ASKED)["comparisons"][0]
    a, b = (judged.predicted[Key(arm, 4, 1.0)] == judged.y for arm in (A_LINEAR, BASELINE))
    only = [int(np.sum(a & ~b)), int(np.sum(b & ~a))]
    assert row["discordant"] == only
    assert row["p_mcnemar"] == mcnemar_midp(*only)
    assert "this supervised model" in row["sentence"].lower()
    both = world({SUPERVISED: (0.5,), "a/linear": (0.6,)}, fractions=(1.0,))
    row = findings(both, ASKED)["comparisons"][0]
    assert (row["discordant"], row["p_mcnemar"]) == (None, None)


def test_a_blocked_arm_has_no_verdict_anywhere_and_others_keep_theirs() -> None:
    reason = "weights of seed 0: abc here, def for the others (G4, same starting weights)"
    judged = replace(
        world(CURVES), blocked={(Arm("simclr", "finetune"), f): (reason,) for f in FRACTIONS}
    )
    for name, rows in findings(judged, ASKED).items():
        for row in rows:
            mine = "simclr/finetune" in (row["arm_a"], row["arm_b"])
            if name == "label_saving":
                assert not mine
            else:
                assert (row["verdict"] == "no verdict") == mine
                assert (reason in row["sentence"]) == mine


def test_a_blocked_baseline_blocks_every_comparison_with_it() -> None:
    judged = replace(world(CURVES), blocked={(BASELINE, f): ("it broke",) for f in FRACTIONS})
    found = findings(judged, ASKED)
    assert {row["verdict"] for row in found["comparisons"]} == {"no verdict"}
    assert "no verdict" not in {row["verdict"] for row in found["method_pairs"]}


def test_arms_are_compared_on_the_seeds_they_share() -> None:
    judged = world({SUPERVISED: (0.5,), "a/linear": (0.6,), "b/linear": (0.6,)}, fractions=(1.0,))
    fewer = {k: v for k, v in judged.predicted.items() if k[:2] != (A_LINEAR, 1)}
    found = findings(replace(judged, predicted=fewer), ASKED)
    seeds = {row["arm_a"]: row["seeds"] for row in found["comparisons"]}
    assert seeds == {"a/linear": 2, "b/linear": 3}
    assert found["method_pairs"][0]["seeds"] == 2


def test_an_arm_that_was_lost_keeps_a_row_in_its_place() -> None:
    judged = world({SUPERVISED: (0.5,), "a/linear": (0.6,)}, fractions=(1.0,))
    why = "collapsed: std ratio 0.01. Likely cause: a learning rate"
    gone = Arm("simsiam", "linear")
    lost = [
        *(LostArm(arm=gone, fraction=1.0, seed=s, status="collapsed", reason=why) for s in (0, 1)),
        LostArm(arm=A_LINEAR, fraction=1.0, seed=1, status="failed", reason="x"),
    ]
    rows = findings(judged, ASKED, lost)["comparisons"]
    assert [row["arm_a"] for row in rows] == ["a/linear", "simsiam/linear"]
    assert rows[1]["verdict"] == "no verdict"
    assert rows[1]["difference"] is None
    assert "(seed 0)" in rows[1]["sentence"]


def test_images_of_a_group_count_as_one() -> None:
    """Every image three times over: with groups the interval is that of the originals."""
    base = world({SUPERVISED: (0.5,), "a/linear": (0.6,)}, seeds=(0,), fractions=(1.0,))
    three = Judged(
        np.repeat(base.y, 3),
        {k: np.repeat(v, 3) for k, v in base.predicted.items()},
        base.learned,
        groups=grouped(np.repeat(np.arange(base.y.size), 3).tolist()),
    )

    def width(judged: Judged) -> float:
        question = replace(ASKED, replicates=2000)
        row = PairComparisons(judged, question).differences([((A_LINEAR, BASELINE), 1.0)])[0]
        assert row.low is not None
        assert row.high is not None
        return row.high - row.low

    assert width(three) == pytest.approx(width(base), rel=0.1)
    assert width(replace(three, groups=None)) < 0.75 * width(base)


def test_groups_are_numbers_by_first_appearance_or_nothing() -> None:
    assert grouped(["b", "a", "b"]).tolist() == [0, 1, 0]  # type: ignore[union-attr]
    assert grouped(["b", "a", "c"]) is None


def test_pairs() -> None:
    a, b, c = (Arm(name, "linear") for name in "abc")
    assert against([a, b, c], b) == [(a, b), (c, b)]
    assert between([a, b, c]) == [(a, b), (a, c), (b, c)]


# --- label draws ---------------------------------------------------------------------------------


def drawn_world(seeds: int, draws: int, apart: tuple[float, float], n: int = 600) -> Judged:
    """Two arms at a fifth of the labels and at all; ``apart`` are the standard deviations of the
    gain of arm a from seed to seed and from draw to draw.
    """
    rng = np.random.default_rng(1)
    y = np.arange(n) % 4
    predicted = {}
    for seed in range(seeds):
        of_seed = rng.normal(0, apart[0])
        for draw in range(draws):
            gain = of_seed + rng.normal(0, apart[1])
            predicted[Key(BASELINE, seed, 0.2, draw)] = answers(y, 0.5, 10 * seed + draw)
            better = answers(y, 0.6 + gain, 10 * seed + draw)
            predicted[Key(A_LINEAR, seed, 0.2, draw)] = better
        predicted[Key(BASELINE, seed, 1.0)] = answers(y, 0.8, 500 + seed)
        predicted[Key(A_LINEAR, seed, 1.0)] = answers(y, 0.8, 600 + seed)
    return Judged(y, predicted, dict.fromkeys(predicted, True), labels={0.2: 50, 1.0: 250})


def test_draws_are_repeats_where_labels_are_left_over_and_one_where_they_are_not() -> None:
    rows = whole(drawn_world(3, 2, (0.02, 0.02)), ASKED).comparisons
    assert [(r.fraction, r.seeds, r.label_draws) for r in rows] == [(0.2, 3, 2), (1.0, 3, 1)]
    few, every = rows
    assert few.spread is not None
    assert few.spread.label_draws is not None
    assert every.spread is not None
    assert every.spread.label_draws is None
    assert few.discordant is None


def test_a_curve_over_all_labels_keeps_the_draws_of_the_smaller_counts() -> None:
    found = whole(drawn_world(3, 2, (0.02, 0.02)), ASKED)
    assert [(a.seeds, a.label_draws) for a in found.area_differences] == [(3, 2)]
    assert [s.seeds for s in found.label_saving] == [3]


def test_the_luck_of_the_draws_widens_the_interval() -> None:
    def width(*apart: float) -> float:
        row = whole(drawn_world(5, 2, apart), ASKED).comparisons[0]
        assert row.high is not None
        assert row.low is not None
        return row.high - row.low

    assert width(0.0, 0.1) > 1.5 * width(0.0, 0.0)
    assert width(0.1, 0.0) > 1.5 * width(0.0, 0.0)


def test_with_one_seed_draws_are_in_the_interval_and_promise_no_seeds() -> None:
    row = whole(drawn_world(1, 6, (0.0, 0.1)), ASKED).comparisons[0]
    assert (row.seeds, row.label_draws, row.seeds_needed) == (1, 6, None)
    still = whole(drawn_world(1, 6, (0.0, 0.0)), ASKED).comparisons[0]
    assert row.high - row.low > 1.5 * (still.high - still.low)
    assert row.spread is not None
    assert row.spread.seeds is None
    assert row.spread.label_draws == pytest.approx(0.1, rel=0.6)
