"""How often does a whole report of equal arms call one of them better?"""

from __future__ import annotations

import numpy as np
import pytest
from made_results import Knobs, build, typed

from headstart.reporting import answer
from headstart.reporting.sentences import write_comparisons
from headstart.results import Comparisons
from headstart.stages.compare.families import Question
from headstart.stages.compare.findings import findings
from simulated_reports import EqualArms, false_betters, rows

ALLOWED = 0.06
LUCKY = EqualArms(3).with_luck(2)


def in_the_box(found: Comparisons) -> list[str]:
    """The verdicts that the answer box of a report shows, in its grids and in its sentences."""
    made = typed(build(Knobs(seeds=1, fractions=EqualArms.fractions)))
    results = made.model_copy(update={"comparisons": write_comparisons(found).comparisons})
    shown = [
        (part["grid"]["rows"], [item for _, items in part["groups"] for item in items])
        for part in answer.verdict(results)["parts"]
    ]
    verdicts = [cell["verdict"] for grid, _ in shown for _, cells in grid for cell in cells]
    assert len(verdicts) == sum(len(items) for _, items in shown)
    return verdicts


def test_the_answer_box_shows_every_comparison_and_they_are_the_fast_ones() -> None:
    judged = EqualArms(seeds=3).report(0)
    found = findings(judged, Question(replicates=500))
    fast = {(r.arm, r.fraction): r for r in rows(judged, 500)}
    for row in found.comparisons:
        same = fast[row.arm_a, row.fraction]
        assert (row.difference, row.p) == pytest.approx((same.difference, same.p))
    assert len(in_the_box(found)) == len(fast) == 4 * 3 * 3


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_fast_count_is_what_the_box_says(seeds: int) -> None:
    judged = EqualArms(seeds=seeds).report(1)
    told = false_betters(list(rows(judged, 2000)))["as it is"]
    assert ("better" in in_the_box(findings(judged, Question(replicates=2000)))) == told


def rates(world: EqualArms, reports: int) -> dict[str, float]:
    told = [false_betters(list(rows(world.report(i), 2000))) for i in range(reports)]
    return {name: float(np.mean([one[name] for one in told])) for name in told[0]}


def test_few_reports_of_equal_arms_call_one_better() -> None:
    found = rates(EqualArms(1), reports=120)
    assert found["as it is"] <= ALLOWED
    # Corrected within one protocol and fraction alone it is too often: the world is no easy one.
    assert found["each protocol and fraction"] > ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("world", [EqualArms(1), EqualArms(3), EqualArms(5), LUCKY])
def test_reports_of_equal_arms_keep_the_promise(world: EqualArms) -> None:
    assert rates(world, reports=600)["as it is"] <= ALLOWED
