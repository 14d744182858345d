from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.stats.verdict import Evidence, Verdict, judge, points

SURE = Evidence(
    arm_a="SimCLR, fine-tuned",
    arm_b="supervised",
    difference=0.041,
    low=0.012,
    high=0.070,
    low90=0.017,
    high90=0.065,
    p_holm=0.004,
    seeds=5,
    n=372,
)
UNSURE = replace(
    SURE,
    difference=0.015,
    low=-0.020,
    high=0.051,
    low90=-0.014,
    high90=0.045,
    p_holm=0.4,
    images_needed=3920,
    seeds_needed=14,
)
SCOPE = "(for this dataset, this backbone, 5 seeds, 372 test images)."


def mirrored(e):
    return replace(
        e, difference=-e.difference, low=-e.high, high=-e.low, low90=-e.high90, high90=-e.low90
    )


def test_better():
    assert judge(SURE) == (
        "better",
        "SimCLR, fine-tuned: better than supervised, +4.1 points (95 % CI +1.2 to +7.0) " + SCOPE,
    )


def test_better_by_a_margin_that_matters():
    verdict, text = judge(replace(SURE, low=0.021, low90=0.025))
    assert verdict == "better"
    assert "(95 % CI +2.1 to +7.0), by a margin you said matters " + SCOPE in text


def test_better_but_less_than_matters():
    small = replace(SURE, difference=0.01, low=0.002, high=0.019, low90=0.003, high90=0.018)
    assert judge(small) == (
        "better",
        "SimCLR, fine-tuned: better than supervised, +1.0 points (95 % CI +0.2 to +1.9), "
        "but less than you said matters " + SCOPE,
    )


def test_worse():
    assert judge(mirrored(SURE)) == (
        "worse",
        "SimCLR, fine-tuned: worse than supervised, −4.1 points (95 % CI −7.0 to −1.2) " + SCOPE,
    )
    text = judge(mirrored(replace(SURE, low=0.021, low90=0.025)))[1]
    assert "(95 % CI −7.0 to −2.1), by a margin you said matters" in text


def test_no_difference_that_matters():
    same = replace(UNSURE, difference=0.002, low90=-0.011, high90=0.015)
    assert judge(same) == (
        "no difference that matters",
        "No difference that matters between SimCLR, fine-tuned and supervised: +0.2 points "
        "(90 % CI −1.1 to +1.5), inside the 2 points you said matter " + SCOPE,
    )
    assert judge(replace(same, margin=0.015))[0] == "can't tell"


def test_cannot_tell():
    assert judge(UNSURE) == (
        "can't tell",
        "SimCLR, fine-tuned against supervised: can't tell. The data fit anything from −2.0 to "
        "+5.1 points. To see a 2-point difference you would need about 3,920 test images or 14 "
        "seeds " + SCOPE,
    )


def test_cannot_tell_leaves_out_numbers_that_say_nothing():
    only_seeds = judge(replace(UNSURE, images_needed=None))[1]
    assert "about 14 seeds (for" in only_seeds
    neither = judge(replace(UNSURE, images_needed=300, seeds_needed=None))[1]
    assert neither.endswith("from −2.0 to +5.1 points " + SCOPE)


def test_cannot_tell_because_of_several_comparisons():
    text = judge(replace(SURE, p_holm=0.06))[1]
    assert "+1.2 to +7.0 points, but with several comparisons at once that is not enough" in text


def test_neither_learned_and_no_verdict():
    dull = replace(SURE, learned_a=False, learned_b=False)
    expected = "Neither SimCLR, fine-tuned nor supervised learned the task " + SCOPE
    assert judge(dull) == ("neither learned", expected)
    assert judge(replace(SURE, learned_b=False))[0] == "better"
    invalid = replace(dull, failed_gates=("12 test images are in the pool.", "logits depend on B"))
    verdict, text = judge(invalid)
    assert verdict == "no verdict"
    assert text == (
        "No verdict. This comparison is not valid because 12 test images are in the pool; logits "
        "depend on B " + SCOPE
    )


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_few_seeds_are_marked(seeds):
    assert f"{seeds} seeds (low power), 372 test images" in judge(replace(SURE, seeds=seeds))[1]


def test_one_seed_speaks_of_weights():
    assert judge(replace(SURE, seeds=1))[1] == (
        "These weights (SimCLR, fine-tuned): better than these weights (supervised), +4.1 points "
        "(95 % CI +1.2 to +7.0) (for this dataset, this backbone, 1 seed, 372 test images)."
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.041, "+4.1"), (-0.0203, "−2.0"), (0.0, "0.0"), (-0.0004, "0.0"), (0.1, "+10.0")],
)
def test_points(share, text):
    assert points(share) == text


@pytest.mark.parametrize(
    "wrong",
    [{"low90": 0.0}, {"high90": 0.08}, {"p_holm": 0.0}, {"seeds": 0}, {"n": 0}, {"margin": 0.0}],
)
def test_evidence_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        replace(SURE, **wrong)


@st.composite
def evidence(draw):
    low, low90, middle, high90, high = sorted(draw(st.floats(-0.3, 0.3)) for _ in range(5))
    return Evidence(
        arm_a="SimCLR, fine-tuned",
        arm_b="supervised",
        difference=middle,
        low=low,
        high=high,
        low90=low90,
        high90=high90,
        p_holm=draw(st.floats(1e-4, 1)),
        seeds=draw(st.integers(1, 12)),
        n=draw(st.integers(1, 5000)),
        margin=draw(st.floats(0.001, 0.1)),
        learned_a=draw(st.booleans()),
        learned_b=draw(st.booleans()),
        failed_gates=draw(st.sampled_from([(), ("the start differs",)])),
        images_needed=draw(st.none() | st.integers(1, 9000)),
        seeds_needed=draw(st.none() | st.integers(2, 90)),
    )


@settings(deadline=None)
@given(evidence())
def test_every_sentence_keeps_the_rules(e):
    verdict, text = judge(e)
    assert verdict in get_args(Verdict)
    lower = text.lower()
    assert not any(word in lower for word in ("significant", "p <", "p=", "p-value", "comparable"))
    assert "for this dataset, this backbone" in text
    assert ("low power" in text) == (2 <= e.seeds <= 4)
    assert ("these weights" in lower) == (e.seeds == 1 and verdict != "no verdict")
    assert "method" not in lower
    assert text.endswith(").")


@settings(deadline=None)
@given(evidence())
def test_swapping_the_arms_swaps_the_verdict(e):
    swapped = {"better": "worse", "worse": "better"}
    verdict = judge(e)[0]
    assert judge(mirrored(e))[0] == swapped.get(verdict, verdict)
