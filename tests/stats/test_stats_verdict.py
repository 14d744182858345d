from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.stats.verdict import Evidence, Verdict, judge

SURE = Evidence(difference=0.041, low=0.012, high=0.070, low90=0.017, high90=0.065, p_holm=0.004)
UNSURE = Evidence(difference=0.015, low=-0.020, high=0.051, low90=-0.014, high90=0.045, p_holm=0.4)


def mirrored(e):
    return replace(
        e, difference=-e.difference, low=-e.high, high=-e.low, low90=-e.high90, high90=-e.low90
    )


def test_better_and_worse():
    assert judge(SURE) == "better"
    assert judge(mirrored(SURE)) == "worse"


def test_no_difference_that_matters_within_the_margin_alone():
    same = replace(UNSURE, difference=0.002, low90=-0.011, high90=0.015)
    assert judge(same) == "no difference that matters"
    assert judge(replace(same, margin=0.015)) == "can't tell"


def test_cannot_tell():
    assert judge(UNSURE) == "can't tell"
    assert judge(replace(SURE, p_holm=0.06)) == "can't tell"


def test_neither_learned_and_no_verdict():
    dull = replace(SURE, learned_a=False, learned_b=False)
    assert judge(dull) == "neither learned"
    assert judge(replace(SURE, learned_b=False)) == "better"
    assert judge(replace(dull, failed_gates=("logits depend on B",))) == "no verdict"


@pytest.mark.parametrize(
    "wrong", [{"low90": 0.0}, {"high90": 0.08}, {"p_holm": 0.0}, {"margin": 0.0}]
)
def test_evidence_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        replace(SURE, **wrong)


@st.composite
def evidence(draw):
    low, low90, middle, high90, high = sorted(draw(st.floats(-0.3, 0.3)) for _ in range(5))
    return Evidence(
        difference=middle,
        low=low,
        high=high,
        low90=low90,
        high90=high90,
        p_holm=draw(st.floats(1e-4, 1)),
        margin=draw(st.floats(0.001, 0.1)),
        learned_a=draw(st.booleans()),
        learned_b=draw(st.booleans()),
        failed_gates=draw(st.sampled_from([(), ("the start differs",)])),
    )


@settings(deadline=None)
@given(evidence())
def test_swapping_the_arms_swaps_the_verdict(e):
    swapped = {"better": "worse", "worse": "better"}
    verdict = judge(e)
    assert verdict in get_args(Verdict)
    assert judge(mirrored(e)) == swapped.get(verdict, verdict)
