"""The sentence of a verdict, for every verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.arms import BASELINE, Arm
from headstart.reporting.sentences import sentence
from headstart.reporting.words import points
from headstart.results import AreaDifference, Comparison, LostArm
from headstart.stats.verdict import Evidence, Verdict, judge


@dataclass(frozen=True)
class Case(Evidence):
    """Evidence, and what else a sentence says."""

    seeds: int = 5
    n: int = 372
    images_needed: int | None = None
    seeds_needed: int | None = None
    scope: str = "this dataset, this backbone"


def row(e):
    return Comparison(
        arm_a=Arm("simclr", "finetune"),
        arm_b=BASELINE,
        metric="balanced_accuracy",
        fraction=1.0,
        difference=e.difference,
        low=e.low,
        high=e.high,
        low90=e.low90,
        high90=e.high90,
        p=e.p_holm,
        p_holm=e.p_holm,
        seeds=e.seeds,
        n=e.n,
        margin=e.margin,
        images_needed=e.images_needed,
        seeds_needed=e.seeds_needed,
        reasons=e.failed_gates,
        scope=e.scope,
        verdict=judge(e),
        discordant=None,
        p_mcnemar=None,
    )


def said(e):
    made = row(e)
    return made.verdict, sentence(made)


SURE = Case(
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
SCOPE = "This holds for this dataset, this backbone, 5 seeds and 372 test images."


def mirrored(e):
    return replace(
        e, difference=-e.difference, low=-e.high, high=-e.low, low90=-e.high90, high90=-e.low90
    )


def test_better():
    assert said(SURE) == (
        "better",
        "Fine-tuned SimCLR beats supervised training: +4.1 points (95 % interval +1.2 to +7.0). "
        + SCOPE,
    )


def test_better_by_a_margin_that_matters():
    verdict, text = said(replace(SURE, low=0.021, low90=0.025))
    assert verdict == "better"
    assert "(95 % interval +2.1 to +7.0), more than the 2 points you said matter. " + SCOPE in text


def test_better_but_less_than_matters():
    small = replace(SURE, difference=0.01, low=0.002, high=0.019, low90=0.003, high90=0.018)
    assert said(small) == (
        "better",
        "Fine-tuned SimCLR beats supervised training: +1.0 points (95 % interval +0.2 to +1.9), "
        "less than the 2 points you said matter. " + SCOPE,
    )


def test_worse():
    assert said(mirrored(SURE)) == (
        "worse",
        "Fine-tuned SimCLR does worse than supervised training: −4.1 points "
        "(95 % interval −7.0 to −1.2). " + SCOPE,
    )
    text = said(mirrored(replace(SURE, low=0.021, low90=0.025)))[1]
    assert "(95 % interval −7.0 to −2.1), more than the 2 points you said matter" in text


def test_no_difference_that_matters():
    same = replace(UNSURE, difference=0.002, low90=-0.011, high90=0.015)
    assert said(same) == (
        "no difference that matters",
        "No difference that matters between fine-tuned SimCLR and supervised training: +0.2 points "
        "(90 % interval −1.1 to +1.5), within the 2 points you said matter. " + SCOPE,
    )
    assert said(replace(same, margin=0.015))[0] == "can't tell"


def test_cannot_tell():
    assert said(UNSURE) == (
        "can't tell",
        "Too close to call: fine-tuned SimCLR could be anything from 2.0 points worse to 5.1 "
        "points better than supervised training. About 3,920 test images or about 14 seeds would "
        "show 2 points. " + SCOPE,
    )


def test_cannot_tell_leaves_out_numbers_that_say_nothing():
    only_seeds = said(replace(UNSURE, images_needed=None))[1]
    assert "better than supervised training. About 14 seeds would show" in only_seeds
    neither = said(replace(UNSURE, images_needed=300, seeds_needed=None))[1]
    assert neither.endswith("5.1 points better than supervised training. " + SCOPE)


def test_cannot_tell_because_of_several_comparisons():
    text = said(replace(SURE, p_holm=0.06))[1]
    assert "anything from 1.2 to 7.0 points better than supervised training. By itself" in text
    assert "but not among so many comparisons. " + SCOPE in text
    loss = said(mirrored(replace(SURE, p_holm=0.06)))[1]
    assert "anything from 7.0 to 1.2 points worse than supervised training. By itself" in loss


def test_neither_learned_and_no_verdict():
    dull = replace(SURE, learned_a=False, learned_b=False)
    expected = (
        "Neither fine-tuned SimCLR nor supervised training learned the task: both are no better "
        "than guessing. " + SCOPE
    )
    assert said(dull) == ("neither learned", expected)
    assert said(replace(SURE, learned_b=False))[0] == "better"
    invalid = replace(dull, failed_gates=("12 test images are in the pool.", "logits depend on B"))
    verdict, text = said(invalid)
    assert verdict == "no verdict"
    assert text == (
        "No verdict. This comparison is not valid: 12 test images are in the pool; logits depend "
        "on B. " + SCOPE.replace("This holds for", "It was asked of")
    )


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_few_seeds_are_marked(seeds):
    assert f"{seeds} seeds (few) and 372 test images" in said(replace(SURE, seeds=seeds))[1]


def test_one_seed_speaks_of_these_models():
    assert said(replace(SURE, seeds=1))[1] == (
        "This fine-tuned SimCLR model beats this supervised model: +4.1 points (95 % interval +1.2 "
        "to +7.0). This holds for this dataset, this backbone, 1 seed and 372 test images."
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.041, "+4.1"), (-0.0203, "−2.0"), (0.0, "0.0"), (-0.0004, "0.0"), (0.1, "+10.0")],
)
def test_points(share, text):
    assert points(share) == text


@st.composite
def evidence(draw):
    low, low90, middle, high90, high = sorted(draw(st.floats(-0.3, 0.3)) for _ in range(5))
    return Case(
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
    verdict, text = said(e)
    assert verdict in get_args(Verdict)
    lower = text.lower()
    assert not any(word in lower for word in ("significant", "p <", "p=", "p-value", "comparable"))
    assert "this dataset, this backbone" in text
    assert ("(few)" in text) == (2 <= e.seeds <= 4)
    assert ("this supervised model" in lower) == (e.seeds == 1 and verdict != "no verdict")
    assert "method" not in lower
    assert re.search(r"this backbone, [\d,]+ seeds?( \(few\))? and [\d,]+ test images?\.$", text)


def test_an_area_says_that_it_is_over_all_label_counts():
    shared = {
        name: getattr(row(SURE), name)
        for name in AreaDifference.model_fields.keys() & Comparison.model_fields.keys()
    }
    area = AreaDifference(**shared, fractions=(0.5, 1.0))
    assert sentence(area) == "Over all amounts of labels, f" + sentence(row(SURE))[1:]


@pytest.mark.parametrize(
    ("arm", "reason", "text"),
    [
        (Arm("simclr", "finetune"), "training failed: x. More", "training failed: x (seed 3)."),
        (Arm("simclr", "finetune"), "std ratio 0", "pretraining failed; std ratio 0 (seed 3)."),
        (
            BASELINE,
            "training failed: x",
            "nothing to compare it with. supervised: training failed: x (seed 3).",
        ),
    ],
)
def test_a_lost_arm_says_which_and_why(arm, reason, text):
    lost = LostArm(arm=arm, fraction=1.0, seed=3, status="failed", reason=reason)
    gone = row(SURE).model_copy(update={"verdict": "no verdict", "seeds": 0, "lost": lost})
    assert sentence(gone) == "No verdict. SimCLR, fine-tuned: " + text
