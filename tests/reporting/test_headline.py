"""The first screen: the headline says what the verdicts say, folds what is equal, flatters none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from made_results import Knobs, build, typed

from headstart.reporting import answer

SPACE = "\u00a0"
THREE = Knobs(fractions=(0.1, 0.5, 1.0))


def first(knobs: Knobs, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The first screen of results whose comparisons were changed one by one."""
    results = build(knobs)
    for entry in results["comparisons"]:
        change(entry)
    return answer.first_screen(typed(results))


def verdicts(verdict: str) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.update(verdict=verdict)


def test_too_close_to_call_says_how_far_it_may_be() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry.update(verdict="can't tell", difference=0.005, low=-0.06, high=0.07)

    said = first(Knobs(seeds=1), change)
    assert said["headline"] == (
        "Too close to call with 180 test images: each gain could be anything from −6.0 to +7.0 "
        "points"
    )
    assert said["deck"] == (
        "SimSiam was not compared: pretraining collapsed: std ratio below 0.1 on three checks in "
        "a row.",
    )


def test_a_gain_at_every_amount_is_one_sentence_with_its_range() -> None:
    def change(entry: dict[str, Any]) -> None:
        gain = {0.1: 0.168, 0.5: 0.12, 1.0: 0.041}[entry["fraction"]]
        entry.update(verdict="better", difference=gain, low=gain - 0.02, high=gain + 0.02)

    said = first(THREE, change)
    assert said["headline"].startswith(
        "MoCo v2, SimCLR and BYOL pretraining beat supervised training at every amount of labels: "
        "+4 to +17 points"
    )


def test_a_gain_too_small_to_matter_is_said_to_be_small() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry.update(verdict="better", difference=0.01, low=0.002, high=0.019)

    said = first(Knobs(), change)["headline"]
    assert said.endswith(": +1.0 points, less than the 2 that matter")


def test_one_seed_speaks_of_models_and_several_of_pretraining() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["verdict"] = "better" if entry["arm_a"] == "simclr/finetune" else "can't tell"

    one, three = (first(Knobs(seeds=seeds), change) for seeds in (1, 3))
    assert one["headline"].startswith("The SimCLR model beats the supervised model: ")
    assert "for these trained models, not for the methods" in one["scope"]
    assert three["headline"].startswith("SimCLR pretraining beats supervised training: ")
    assert "these trained models" not in three["scope"]


def test_a_saving_is_in_the_headline_only_where_the_arm_was_better_and_it_is_sure() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["verdict"] = "better" if entry["arm_a"] == "simclr/finetune" else "can't tell"

    results = build(THREE)
    for entry in results["comparisons"]:
        change(entry)
    results["label_saving"][0].update(labels=100, needed=500.0, low=300.0)
    saved = "; it saves about 4 of 5 labels"
    assert answer.first_screen(typed(results))["headline"].endswith(saved)
    results["label_saving"][0]["low"] = 90.0  # may be none at all
    assert "saves" not in answer.first_screen(typed(results))["headline"]
    results["label_saving"][0].update(low=300.0, quotable=False)
    assert "saves" not in answer.first_screen(typed(results))["headline"]
    results["label_saving"][0]["quotable"] = True
    for entry in results["comparisons"]:
        entry["verdict"] = "can't tell"
    assert "saves" not in answer.first_screen(typed(results))["headline"]


def test_a_loss_is_never_left_out_of_a_headline_with_gains() -> None:
    def change(entry: dict[str, Any]) -> None:
        best = entry["arm_a"] == "simclr/finetune" and entry["fraction"] < 1
        entry["verdict"] = "better" if best else "worse"

    said = first(THREE, change)
    assert "SimCLR pretraining beats supervised training with" in said["headline"]
    assert "orse" in said["headline"]
    lost = first(THREE, verdicts("worse"))
    assert lost["headline"].startswith("No head start shown. MoCo v2, SimCLR and BYOL pretraining")
    assert "do worse than supervised training at every amount of labels" in lost["headline"]


def test_many_parts_are_counted_and_names_keep_their_spelling() -> None:
    results = build(Knobs(fractions=(0.1, 0.3, 0.5, 1.0), collapsed=None))
    wins = {"moco": 0, "simclr": 1, "byol": 2, "simsiam": 3}
    for entry in results["comparisons"]:
        method, _, _ = entry["arm_a"].partition("/")
        place = (0.1, 0.3, 0.5, 1.0).index(entry["fraction"])
        entry["verdict"] = "better" if place <= wins[method] else "worse"
    for arm in results["arms"]:
        arm["method"] = arm["method"].replace("simsiam", "dINO")
    for entry in results["comparisons"]:
        entry["arm_a"] = entry["arm_a"].replace("simsiam", "dINO")
    said = answer.first_screen(typed(results))
    assert said["headline"].startswith(
        "dINO pretraining beats supervised training at every amount of labels"
    )
    assert said["headline"].endswith("Worse in six other comparisons.")
    assert said["deck"][0] == (
        "In all, pretraining was better in ten comparisons and worse in six comparisons."
    )


def test_undecided_amounts_of_labels_are_named_together() -> None:
    def change(entry: dict[str, Any]) -> None:
        small = entry["fraction"] < 1
        entry["verdict"] = "can't tell" if small else "no difference that matters"

    said = first(THREE, change)
    assert said["headline"] == (
        f"No difference that matters with all labels, too close to call with 10{SPACE}% and "
        f"50{SPACE}% of the labels"
    )
    assert len(said["deck"]) == 3


@pytest.mark.parametrize(
    ("verdict", "start"),
    [
        ("no difference that matters", "MoCo v2, SimCLR and BYOL pretraining make"),
        ("neither learned", "Neither pretraining nor supervised training learned the task"),
        ("no verdict", "No verdict: "),
    ],
)
def test_one_verdict_for_all_is_one_headline(verdict: str, start: str) -> None:
    assert first(Knobs(), verdicts(verdict))["headline"].startswith(start)


def test_training_that_had_not_ended_is_the_headline_where_it_is_the_answer() -> None:
    late = "supervised had not converged; set classify.finetune.max_lengthening=64"
    results = build(Knobs(seeds=1))
    for entry in results["comparisons"]:
        entry.update(verdict="no verdict", reasons=[f"{late} (G10, trained until it stopped)"])
    gate = {"gate": "G10", "name": "trained until it stopped improving", "result": "FAIL"}
    results["gates"].append({**gate, "arm": "supervised/supervised", "reason": late})
    said = answer.first_screen(typed(results))
    assert said["headline"] == (
        "No verdict: the supervised model had not finished learning when training was stopped"
    )
    assert said["steps"][0].command == "--set classify.finetune.max_lengthening=64"


@pytest.mark.parametrize(
    ("arm", "status", "reason", "said"),
    [
        ("simclr/finetune", "collapsed", "std ratio 0", "SimCLR pretraining collapsed"),
        ("simclr/finetune", "failed", "training failed: x", "training of fine-tuned SimCLR failed"),
        ("supervised/supervised", "failed", "training failed: x", "supervised training failed"),
    ],
)
def test_a_lost_arm_is_the_headline_where_it_is_the_answer(
    arm: str, status: str, reason: str, said: str
) -> None:
    def change(entry: dict[str, Any]) -> None:
        lost = {"arm": arm, "fraction": 1.0, "seed": 0, "status": status, "reason": reason}
        entry.update(verdict="no verdict", lost=lost)

    assert first(Knobs(), change)["headline"] == f"No verdict: {said}"


def test_the_headline_follows_the_fine_tuned_arms_and_counts_the_others() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["verdict"] = "worse" if entry["arm_a"].endswith("linear") else "better"

    said = first(Knobs(), change)
    assert "worse" not in said["headline"]
    assert said["frozen"] == ("Frozen, under a linear head or k-NN: worse in three comparisons.")


def test_nothing_compared_is_said() -> None:
    said = answer.first_screen(typed({**build(Knobs()), "comparisons": []}))
    assert said["headline"].startswith("No answer")


def test_what_to_do_next_says_what_it_buys_and_what_it_costs() -> None:
    def change(entry: dict[str, Any]) -> None:
        entry.update(verdict="can't tell", images_needed=4092)

    steps = first(Knobs(seeds=1), change)["steps"]
    assert [step.what for step in steps] == [
        "Label more test images",
        "Run 3 seeds",
        "Try fewer labels",
    ]
    assert "about 4\u202f100 of them (180 now) a difference of 2 points would show" in steps[0].why
    assert "One seed took 15 min of computing here." in steps[1].why
    assert steps[1].command == "--seeds 0,1,2"
    assert [s.what for s in first(Knobs(seeds=5, fractions=(0.1, 1.0)), change)["steps"]] == [
        "Label more test images"
    ]


@pytest.mark.parametrize("verdict", ["can't tell", "no verdict", "neither learned"])
def test_what_was_not_decided_is_never_called_a_gain(verdict: str) -> None:
    said = first(THREE, verdicts(verdict))
    told = " ".join([said["headline"], *said["deck"]]).lower()
    assert not any(word in told for word in ("beat", "head start", "significant", "saves"))
