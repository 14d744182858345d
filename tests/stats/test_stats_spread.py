"""The spread over seeds and label draws, against its formula, and where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.stats.spread import spread_of_repeats


def test_a_table_by_hand() -> None:
    # Seed 0: 1 and 3, seed 1: 7 and 9. Within: ((1+1)+(1+1))/2 = 2; means 2 and 8: 18, less 2/2.
    found = spread_of_repeats([1, 3, 7, 9], [0, 0, 1, 1])
    assert found.draws == pytest.approx(np.sqrt(2))
    assert found.seeds == pytest.approx(np.sqrt(17))


def test_with_one_draw_a_seed_nothing_is_said_of_draws() -> None:
    found = spread_of_repeats([0.1, 0.4, 0.7], [0, 1, 2])
    assert found.seeds == pytest.approx(0.3)
    assert np.isnan(found.draws)


def test_with_one_seed_nothing_is_said_of_seeds() -> None:
    found = spread_of_repeats([0.1, 0.4, 0.7], [5, 5, 5])
    assert np.isnan(found.seeds)
    assert found.draws == pytest.approx(0.3)


def test_draws_alone_leave_seeds_without_spread() -> None:
    assert spread_of_repeats([1, 9, 2, 8], [0, 0, 1, 1]).seeds == 0


def test_both_are_found_again_in_a_world_made_with_them() -> None:
    rng = np.random.default_rng(0)
    made = rng.normal(0, 3, (4000, 1)) + rng.normal(0, 1, (4000, 3))
    found = spread_of_repeats(made.ravel(), np.repeat(np.arange(4000), 3))
    assert found.seeds == pytest.approx(3, rel=0.04)
    assert found.draws == pytest.approx(1, rel=0.03)


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), min_size=2, max_size=12))
def test_neither_order_nor_level_matters(rows: list[tuple[float, int]]) -> None:
    values, seeds = np.array([v for v, _ in rows]), np.array([s for _, s in rows])
    one = spread_of_repeats(values, seeds)
    other = spread_of_repeats(values[::-1] + 5, seeds[::-1] + 10)
    for a, b in ((one.seeds, other.seeds), (one.draws, other.draws)):
        assert np.isnan(a) == np.isnan(b)
        assert np.isnan(a) or a == pytest.approx(b, abs=1e-7)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        spread_of_repeats([1.0, 2.0], [0])
