"""Candidates meet the better of the supervised arms, chosen on validation images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.arms import BASELINE, MATCHED, Arm
from headstart.reporting.sentences import write_comparisons
from headstart.stages.compare.baselines import baseline
from headstart.stages.compare.families import Judged, Key, Question
from headstart.stages.compare.findings import findings

SIMCLR = Arm("simclr", "finetune")
ASKED = Question(replicates=2000)


def world(validation: dict[tuple[Arm, float], tuple[float, ...]]) -> Judged:
    """Two seeds at two label fractions; compute-matched is the best of all on test images."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    right = {BASELINE: 0.5, MATCHED: 0.8, SIMCLR: 0.65}
    predicted = {
        Key(arm, seed, fraction): np.where(rng.random(y.size) < share, y, (y + 1) % 3)
        for arm, share in right.items()
        for fraction in (0.2, 1.0)
        for seed in (0, 1)
    }
    told = {
        Key(arm, seed, fraction): value
        for (arm, fraction), values in validation.items()
        for seed, value in enumerate(values)
    }
    return Judged(y, predicted, dict.fromkeys(predicted, True), validation=told)


VALIDATION = {
    (BASELINE, 0.2): (0.6, 0.7),
    (MATCHED, 0.2): (0.7, 0.5),  # worse in the mean, though better on the first seed
    (BASELINE, 1.0): (0.6, 0.6),
    (MATCHED, 1.0): (0.8, 0.9),
}


def test_the_better_arm_on_validation_is_the_baseline_at_each_fraction() -> None:
    judged = world(VALIDATION)
    assert baseline(judged, [0.2]) == BASELINE  # on test images the other one is better
    assert baseline(judged, [1.0]) == MATCHED
    assert baseline(judged, [0.2, 1.0]) == MATCHED
    found = write_comparisons(findings(judged, ASKED))
    rows = {row.fraction: row for row in found.comparisons}
    assert (rows[0.2].arm_b, rows[1.0].arm_b) == (BASELINE, MATCHED)
    for row in rows.values():
        assert row.chosen_from == (BASELINE, MATCHED)
        assert "the better of the two on validation" in row.sentence
    assert rows[0.2].verdict == "better"
    assert rows[1.0].verdict != "better"
    assert {row.arm_b for row in found.area_differences} == {MATCHED}
    assert {row.arm_a for row in found.comparisons} == {SIMCLR}


def test_without_a_choice_the_plain_arm_stands_and_nothing_is_said_of_it() -> None:
    judged = world(VALIDATION)
    alone = {key: p for key, p in judged.predicted.items() if key.arm != MATCHED}
    row = findings(replace(judged, predicted=alone), ASKED).comparisons[0]
    assert row.arm_b == BASELINE
    assert row.chosen_from == ()
    assert "validation" not in row.sentence


def test_of_equals_and_of_unknowns_the_plain_arm_stands() -> None:
    assert baseline(world({}), [1.0]) == BASELINE
    assert baseline(world({(BASELINE, 1.0): (0.6,), (MATCHED, 1.0): (0.6,)}), [1.0]) == BASELINE


def test_a_matched_arm_stands_in_for_a_lost_baseline() -> None:
    judged = world(VALIDATION)
    left = {key: p for key, p in judged.predicted.items() if key.arm != BASELINE}
    assert baseline(replace(judged, predicted=left), [1.0]) == MATCHED
