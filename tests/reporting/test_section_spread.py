"""The section that tells the luck of seeds from the luck of the labels drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import build, typed

from headstart.reporting.sections import SECTIONS
from headstart.results import Spread


@pytest.mark.parametrize("draws", [1, 2])
def test_both_spreads_stand_in_points_or_it_says_how_to_tell_them_apart(
    draws: int, tmp_path: Path
) -> None:
    made = typed(build())
    spread = Spread(seeds=0.031, label_draws=0.017 if draws > 1 else None)
    rows = [
        row.model_copy(update={"spread": spread, "label_draws": draws}) for row in made.comparisons
    ]
    results = made.model_copy(update={"comparisons": tuple(rows)})
    written = str(SECTIONS["spread"].write(results, tmp_path))
    assert written.count("<tr>") == len(rows) + 1
    assert ">3.1<" in written
    assert (">1.7<" in written) == (draws > 1)
    assert ("label_draws" in written) == (draws == 1)


def test_one_training_an_arm_has_no_spread_to_show(tmp_path: Path) -> None:
    assert SECTIONS["spread"].write(typed(build()), tmp_path) is None
