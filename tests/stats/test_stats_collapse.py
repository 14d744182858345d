from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.stats.collapse import ADVICE, HEALTH, Check, CollapseWatch, Health, Thresholds
from headstart.stats.representation import spread

GOOD = Check(
    step=1000,
    loss=-0.8,
    std_ratio=0.9,
    mean_cosine=0.05,
    rankme=60.0,
    effective_rank=40.0,
    dimension=128,
    probe_size=512,
    classes=9,
    grad_norm=0.7,
    loss_floor=-1.0,
    knn=0.5,
    knn_random=0.3,
)


def follow(*checks: Check, watch: CollapseWatch | None = None) -> list[Health]:
    watch, out = watch or CollapseWatch(), []
    for i, check in enumerate(checks):
        watch, health = watch.update(replace(check, step=check.step + i))
        out.append(health)
    return out


def verdicts(*checks: Check, watch: CollapseWatch | None = None) -> list[str]:
    return [health.verdict for health in follow(*checks, watch=watch)]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"std_ratio": 0.03}, "std ratio 0.03 < 0.1"),
        ({"mean_cosine": 0.995}, "mean cosine 0.9950 > 0.99"),
        ({"rankme": 1.1}, "RankMe 1.1 < 1.5"),
        ({"loss": -0.9995, "std_ratio": 0.2}, "loss -0.9995 at its trivial value -1.0000"),
    ],
)
def test_complete_collapse_takes_three_checks_in_a_row(bad, named):
    check = replace(GOOD, **bad)
    healths = follow(check, check, check)
    assert [h.verdict for h in healths] == ["healthy", "healthy", "collapsed"]
    assert "check 2 of the 3" in healths[1].reason
    assert healths[1].doubtful  # its encoder is not kept as a healthy one
    assert named in healths[2].reason
    assert healths[2].stop
    assert "learning rate" in healths[2].advice
    assert verdicts(check, check, GOOD, check, check) == ["healthy"] * 5


def test_different_measures_continue_one_streak():
    checks = [replace(GOOD, **c) for c in ({"std_ratio": 0.05}, {"rankme": 1.2}, {"rankme": 1.2})]
    assert verdicts(*checks)[-1] == "collapsed"


def test_a_loss_at_its_floor_with_spread_outputs_is_no_collapse():
    assert verdicts(*[replace(GOOD, loss=-1.0, std_ratio=0.5)] * 5) == ["healthy"] * 5
    assert verdicts(*[replace(GOOD, loss_floor=None, loss=0.0)] * 5) == ["healthy"] * 5


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm", "std_ratio", "effective_rank"])
def test_a_broken_number_stops_at_once_even_in_warm_up(name, value):
    (health,) = follow(replace(GOOD, **{name: value}), watch=CollapseWatch(warmup_steps=10**6))
    assert health.verdict == "not a number"
    assert health.stop
    assert name.replace("_", " ") in health.reason
    assert str(value) in health.reason


def test_a_zero_gradient_stops_at_once():
    (health,) = follow(replace(GOOD, grad_norm=0.0))
    assert (health.verdict, health.stop) == ("dead", True)
    assert health.reason == "gradient norm is 0 at step 1000"


def test_nothing_is_judged_in_warm_up_and_nothing_of_it_is_held_against_the_run():
    watch = CollapseWatch(warmup_steps=1000)
    flat = replace(GOOD, std_ratio=0.01, effective_rank=1.0)
    early = [replace(flat, step=step) for step in (0, 200, 400)]
    late = replace(flat, step=1000)
    assert verdicts(*early, late, watch=watch)[:3] == ["healthy"] * 3
    for check in (*early, late):
        watch, health = watch.update(check)
    assert watch.constant == 1
    assert not health.stop


UNLEARNED = {"knn": 0.32, "knn_random": 0.3}
"""k-NN hardly above random weights."""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"effective_rank": 3.0, "classes": 0, "dimension": 32}, "effective rank 3.0 < 4.0"),
        ({"effective_rank": 8.0}, "effective rank 8.0 < 9.0 of at most 128"),
        ({"effective_rank": 20.0, "dimension": 511}, "effective rank 20.0 < 25.6 of at most 511"),
    ],
)
def test_a_low_rank_warns_when_it_stays_and_knn_has_learned_nothing(changes, named):
    check = replace(GOOD, **UNLEARNED, **changes)
    healths = follow(check, check, check)
    assert [h.verdict for h in healths] == ["healthy", "healthy", "dimensional"]
    assert not healths[2].stop
    assert f"{named}" in healths[2].reason
    assert healths[2].reason.endswith("k-NN 0.320 is hardly above random weights (0.300)")
    assert "augmentation" in healths[2].advice
    assert verdicts(check, check, GOOD, check, check) == ["healthy"] * 5


def test_a_low_rank_harms_nobody_while_knn_learns():
    assert verdicts(*[replace(GOOD, effective_rank=3.0)] * 9) == ["healthy"] * 9


def test_a_low_rank_warns_where_knn_fell_from_its_best():
    low = replace(GOOD, effective_rank=5.0, knn=0.44)
    healths = follow(GOOD, low, low, low)
    assert healths[-1].verdict == "dimensional"
    assert healths[-1].reason.endswith("k-NN 0.440 fell from 0.500")


def test_a_low_rank_is_not_judged_in_the_first_half_of_a_run():
    low = replace(GOOD, effective_rank=3.0, **UNLEARNED)
    assert verdicts(*[low] * 5, watch=CollapseWatch(total_steps=2100)) == ["healthy"] * 5
    assert verdicts(*[low] * 3, watch=CollapseWatch(total_steps=2000))[-1] == "dimensional"


def test_without_knn_a_low_rank_that_stays_warns():
    low = replace(GOOD, effective_rank=3.0, knn=None)
    assert verdicts(low, low, low)[-1] == "dimensional"


def test_a_falling_rank_warns():
    fallen = replace(GOOD, effective_rank=9.9, **UNLEARNED)
    healths = follow(GOOD, replace(fallen, effective_rank=10.5), fallen, fallen, fallen)
    assert [h.verdict for h in healths] == ["healthy"] * 4 + ["dimensional"]
    assert healths[4].reason.startswith("effective rank 9.9 fell from 40.0 on 3 checks in a row")


def test_many_classes_never_ask_for_more_rank_than_there_is():
    def last(**changes):
        return verdicts(*[replace(GOOD, **UNLEARNED, **changes)] * 3)[-1]

    assert last(classes=200, effective_rank=70.0) == "healthy"
    assert last(classes=200, effective_rank=60.0) == "dimensional"
    assert last(dimension=2, effective_rank=2.0) == "healthy"


def test_a_shortcut_is_a_solved_task_that_teaches_nothing():
    start = replace(GOOD, loss=-0.1, knn=0.3)
    solved = replace(GOOD, loss=-0.95, knn=0.29)
    healths = follow(start, solved, solved, solved)
    assert [h.verdict for h in healths] == ["healthy"] * 3 + ["shortcut"]
    assert healths[3].reason == (
        "pretext solved, k-NN flat: loss fell from -0.100 to -0.950, k-NN 0.290 is not above "
        "random weights (0.300)"
    )
    assert not healths[3].stop
    learning = replace(solved, knn=0.31)
    assert verdicts(start, solved, solved, learning, solved)[-1] == "healthy"
    assert verdicts(start, *[replace(solved, knn=None)] * 4)[-1] == "healthy"
    unsolved = replace(solved, loss=-0.12)
    assert verdicts(start, *[unsolved] * 4)[-1] == "healthy"


def test_collapse_is_said_before_its_consequences():
    # A constant output also has a low rank; the complete collapse is the news.
    check = replace(GOOD, std_ratio=0.0, mean_cosine=1.0, rankme=1.0, effective_rank=1.0, knn=0.1)
    assert verdicts(check, check, check)[-1] == "collapsed"


def test_thresholds_can_be_set():
    watch = CollapseWatch(thresholds=Thresholds(checks=1, std_ratio=0.5))
    assert verdicts(replace(GOOD, std_ratio=0.4), watch=watch) == ["collapsed"]


def test_the_watch_is_pure_and_its_state_survives_a_checkpoint():
    check = replace(GOOD, std_ratio=0.01)
    watch = CollapseWatch()
    one, _ = watch.update(check)
    two, _ = one.update(check)
    assert watch == CollapseWatch()
    assert (watch.constant, one.constant, two.constant) == (0, 1, 2)
    stored = asdict(two)
    restored = CollapseWatch(**{**stored, "thresholds": Thresholds(**stored["thresholds"])})
    assert restored.update(check)[1].verdict == "collapsed"


def from_outputs(Z: np.ndarray) -> Check:
    s = spread(Z)
    return replace(
        GOOD,
        **UNLEARNED,
        std_ratio=s.std_ratio,
        mean_cosine=s.mean_cosine,
        rankme=s.rankme,
        effective_rank=s.effective_rank,
        dimension=Z.shape[1],
        probe_size=len(Z),
    )


def test_the_ways_to_fail_from_real_matrices():
    rng = np.random.default_rng(0)
    healthy = rng.standard_normal((512, 128))
    constant = np.tile(healthy[:1], (512, 1)) + 1e-3 * healthy
    line = rng.standard_normal((512, 1)) * rng.standard_normal(128)
    opposite = np.where(np.arange(512) % 2, 1.0, -1.0)[:, None] * np.ones(128)
    for Z, expected in (
        (healthy, "healthy"),
        (constant, "collapsed"),
        (np.zeros((512, 128)), "collapsed"),
        (line + 1e-2 * healthy, "dimensional"),
    ):
        assert verdicts(*[from_outputs(Z)] * 3)[-1] == expected
    # Two opposite points leave RankMe at 1 as well.
    assert verdicts(*[from_outputs(opposite)] * 3)[-1] == "collapsed"


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda r, c, k, e, g, loss: replace(
                GOOD, std_ratio=r, mean_cosine=c, rankme=k, effective_rank=e, grad_norm=g, loss=loss
            ),
            *[st.floats(0, 1.2), st.floats(-1, 1), st.floats(1, 128), st.floats(1, 128)],
            *[st.floats(0, 10), st.floats(allow_nan=True)],
        ),
        max_size=8,
    )
)
def test_every_health_explains_itself_in_one_line(checks):
    for health in follow(*checks):
        assert health.verdict in HEALTH
        assert health.reason
        assert "\n" not in health.reason + health.advice
        assert bool(health.advice) == (health.verdict != "healthy")
        assert health.stop == (health.verdict in ("collapsed", "not a number", "dead"))


def test_every_bad_verdict_has_advice():
    assert set(ADVICE) == set(HEALTH) - {"healthy"}
