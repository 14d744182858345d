"""Names of arms say what they are, and are read back as they were written."""

from __future__ import annotations

import pytest

from headstart import arms
from headstart.arms import Arm, Origin, Role
from headstart.methods import METHODS


@pytest.mark.parametrize(
    ("origin", "text", "title"),
    [
        (Origin("simclr"), "simclr", "SimCLR"),
        (Origin("simclr", "DINOv2"), "simclr@DINOv2", "SimCLR continued from DINOv2 weights"),
        (Origin.of_weights("DINOv2"), "weights@DINOv2", "DINOv2 weights"),
        (Origin("random"), "random", "random weights"),
        (Origin("another"), "another", "another"),
    ],
)
def test_an_origin_is_read_as_it_was_written(origin: Origin, text: str, title: str) -> None:
    assert str(origin) == text
    assert Origin.parse(text) == origin
    assert arms.method_title(text) == title


@pytest.mark.parametrize("text", ["@x", "x@", "@", ""])
def test_half_an_origin_is_a_plain_name(text: str) -> None:
    assert Origin.parse(text) == Origin(text)


@pytest.mark.parametrize(
    ("text", "role", "label", "candidate"),
    [
        ("weights@dino/finetune", Role.GIVEN, "dino weights, fine-tuned", True),
        ("weights@dino/linear", Role.GIVEN, "dino weights, linear head", True),
        ("byol@dino/knn", Role.CONTINUED, "BYOL continued from dino weights, k-NN", True),
        ("byol/finetune", Role.PRETRAINED, "BYOL, fine-tuned", True),
        ("start/linear", Role.FROZEN, "the starting weights, linear head", True),
        ("random/linear", Role.CONTROL, "random weights, linear head", False),
        ("supervised/supervised", Role.BASELINE, "supervised", False),
        ("some@model", Role.FOREIGN, "some@model", False),
    ],
)
def test_what_an_arm_is(text: str, role: Role, label: str, candidate: bool) -> None:
    arm = Arm.parse(text)
    assert str(arm) == text
    assert (arm.role, arm.label, arm.candidate) == (role, label, candidate)


def test_only_what_a_method_trained_is_pretrained() -> None:
    assert arms.is_pretrained("simclr")
    assert arms.is_pretrained("simclr@dino")
    assert not arms.is_pretrained("weights@dino")
    assert [arms.is_start(m) for m in ("supervised", "random", "weights@dino")] == [
        True,
        True,
        False,
    ]


def test_further_weights_stand_behind_the_rest_each_with_its_methods() -> None:
    wanted = ["random", "simclr", "weights@a", "simclr@a", "weights@b", "simclr@b"]
    shuffled = {*wanted[1::2], *wanted[::2]}
    assert sorted(shuffled, key=arms.method_rank) == wanted


def test_no_two_arms_look_alike() -> None:
    starts = ("a", "b", "c", "d")
    methods = [*METHODS, *(f"{m}@{s}" for s in starts for m in ("weights", *METHODS))]
    marks = {(arms.colour(m, methods), arms.shape(m, methods)) for m in methods}
    assert len(marks) == len(methods)
    alone = list(METHODS)
    for method in alone:  # a report without further weights looks as before
        assert arms.colour(method, methods) == arms.colour(method, alone)
        assert arms.shape(method, methods) == arms.shape(method, alone)
        assert arms.colour(f"{method}@a", methods) == arms.colour(method, alone)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["simclr"], "'simclr' is the name of a method or a control"),
        (["Supervised"], "'Supervised' is the name of a method or a control"),
        (["start"], "'start' is the name of a method or a control"),
        (["weights"], "'weights' is the name of a method or a control"),
        (["dinov2", "DINOv2"], "'DINOv2' is the name of other weights"),
        (["a@b"], "'a@b' cannot name weights"),
        (["a/b"], "'a/b' cannot name weights"),
        (["<b>"], "cannot name weights"),
        (["../up"], "cannot name weights"),
        ([""], "'' cannot name weights"),
        (["x" * 41], "cannot name weights"),
        (["-x"], "cannot name weights"),
        (["a\n"], "cannot name weights"),
    ],
)
def test_a_name_that_cannot_be_is_refused(names: list[str], told: str) -> None:
    assert told in (arms.weights_fault(names) or "")


def test_names_that_can_be() -> None:
    assert arms.weights_fault(["DINOv2", "pretrained", "vit_b.16-in1k", "0"]) is None
