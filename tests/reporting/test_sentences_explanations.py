"""The sentences on maps and backgrounds, for every verdict."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.arms import Arm
from headstart.reporting.sentences import background, maps, sentence, with_sentences
from headstart.results import (
    Background,
    BackgroundDifference,
    Centre,
    Faithfulness,
    Focus,
    Interval,
    Model,
    NotMeasured,
    Sanity,
    Similarity,
)

A, B = Arm("simclr", "finetune"), Arm("moco", "finetune")
ABOVE = Interval(value=0.05, low=0.01, high=0.1)
BELOW = Interval(value=-0.05, low=-0.1, high=-0.01)
AROUND = Interval(value=0.01, low=-0.02, high=0.04)
NOTHING = Interval(value=0.3, low=None, high=None)


def reliance(gap: Interval, skill: Interval = ABOVE, p: float = 0.01) -> str:
    row = Background.model_construct(arm=A, gap=gap, skill=skill, skill_p=p)
    return str(sentence(row))


@pytest.mark.parametrize(
    ("low", "p", "tells"), [(0.01, 0.01, True), (-0.01, 0.01, False), (0.01, 0.2, False)]
)
def test_the_background_tells_the_class_by_interval_and_test(
    low: float, p: float, tells: bool
) -> None:
    text = reliance(AROUND, Interval(value=0.05, low=low, high=0.1), p)
    assert text.endswith("the background alone tells it the class") == tells


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (
            ABOVE,
            "leans on the background: it loses 5.0 points when the background comes from a random "
            "class",
        ),
        (BELOW, "does better on a random class's background (5.0 points won): not reliance"),
        (
            AROUND,
            "was not shown to lean on the background: it loses 1.0 points when the background "
            "comes from a random class, and the interval includes 0",
        ),
    ],
)
def test_reliance_by_the_interval_of_the_gap(gap: Interval, text: str) -> None:
    assert reliance(gap) == f"Fine-tuned SimCLR {text}; the background alone tells it the class"


def test_images_of_few_groups_are_not_judged() -> None:
    expected = "Fine-tuned SimCLR was not measured: the images with masks belong to too few groups"
    assert reliance(NOTHING) == expected


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (ABOVE, "Fine-tuned SimCLR leans on the background more than fine-tuned MoCo v2"),
        (BELOW, "Fine-tuned MoCo v2 leans on the background more than fine-tuned SimCLR"),
        (NOTHING, "Fine-tuned SimCLR and fine-tuned MoCo v2 were not measured"),
        (
            AROUND,
            "Between fine-tuned SimCLR and fine-tuned MoCo v2 no difference in reliance on the "
            "background could be shown",
        ),
    ],
)
def test_two_arms_reliance(gap: Interval, text: str) -> None:
    row = BackgroundDifference(arm_a=A, arm_b=B, **gap.model_dump())
    assert sentence(row) == text


def test_the_middle_without_an_interval_is_not_measured() -> None:
    row = Centre.model_construct(arm=A, difference=NOTHING)
    assert sentence(row) == "Fine-tuned SimCLR: not measured"


@pytest.mark.parametrize(
    ("deletion", "insertion", "text"),
    [
        (ABOVE, ABOVE, "points at what moves the answer, better than a random order"),
        (ABOVE, AROUND, "better than a random order by deletion only"),
        (BELOW, ABOVE, "better than a random order by insertion only"),
        (BELOW, AROUND, "no better than a random order"),
        (NOTHING, NOTHING, "not measured: too few images have a map"),
    ],
)
def test_faithfulness(deletion: Interval, insertion: Interval, text: str) -> None:
    row = Faithfulness.model_construct(
        arm=A, attribution="grad_cam", deletion=deletion, insertion=insertion
    )
    assert sentence(row) == f"Fine-tuned SimCLR, grad cam: {text}"


@pytest.mark.parametrize(
    ("verdict", "groups", "text"),
    [
        ("more", 4, "looks at the object more than an untrained network does"),
        ("less", 4, "looks at the object less than an untrained network does"),
        (
            "no more",
            9,
            "looks at the object no more than an untrained network does, as far as 9 images can "
            "tell",
        ),
        ("not measured", 9, "was not measured: fewer than 5 images have a map and a mask"),
        (
            "not measured",
            4,
            "was not measured: fewer than 5 groups of images have a map and a mask",
        ),
    ],
)
def test_focus(verdict: Any, groups: int, text: str) -> None:
    row = Focus.model_construct(
        arm=A, attribution="saliency", verdict=verdict, compared=9, compared_groups=groups
    )
    assert sentence(row) == f"By saliency, fine-tuned SimCLR {text}"


def test_an_untrained_network_has_no_sentence_of_its_focus() -> None:
    assert sentence(Focus.model_construct(verdict=None)) is None


def test_what_is_said_of_likeness_is_what_was_agreed() -> None:
    assert maps.ALIKE["same"] == "look at the same things"
    assert maps.ALIKE["different"] == "look at different things"
    assert maps.ALIKE["unclear"] == "can't tell"
    assert maps.ALIKE["not_reproducible"] == (
        "maps from this method are not reproducible across seeds; no comparison is possible"
    )
    row = Similarity.model_construct(arm_a=A, arm_b=B, verdict="same")
    assert sentence(row) == "Fine-tuned SimCLR and fine-tuned MoCo v2 look at the same things"


def test_a_similarity_without_a_verdict_stays_as_it_is() -> None:
    row = Similarity.model_construct(arm_a=A, arm_b=B, verdict=None)
    assert with_sentences([row])[0] is row


@pytest.mark.parametrize(("passed", "start"), [(True, "the maps"), (False, "ins"), (None, "not")])
def test_sanity(passed: bool | None, start: str) -> None:
    assert str(sentence(Sanity.model_construct(passed=passed))).startswith(start)


def test_what_was_not_measured_says_what_it_takes() -> None:
    few = NotMeasured(reason="few masked images", images=5, needed=10)
    assert background.not_measured(few).endswith(
        "not measured: 5 test images have a mask, and it takes 10 at least."
    )
    assert "--masks FOLDER" in background.not_measured(NotMeasured(reason="no masks"))
    off = background.not_measured(NotMeasured(reason="turned off"))
    assert off.endswith("explain.background_images is 0.")


def test_a_kind_of_row_without_a_sentence_is_refused() -> None:
    with pytest.raises(TypeError, match="has no sentence"):
        sentence(Model())
