"""What arms are called inside a sentence."""

from __future__ import annotations

import pytest

from headstart.arms import BASELINE, MATCHED, Arm
from headstart.reporting.sentences import names


@pytest.mark.parametrize(
    ("arm", "one", "several"),
    [
        (BASELINE, "this supervised model", "supervised training"),
        (
            MATCHED,
            "this compute-matched supervised model",
            "compute-matched supervised training",
        ),
        (Arm("simclr", "finetune"), "this fine-tuned SimCLR model", "fine-tuned SimCLR"),
        (
            Arm("moco", "linear"),
            "this MoCo v2 model with a linear head",
            "MoCo v2 with a linear head",
        ),
        (
            Arm("weights@DINO", "finetune"),
            "this fine-tuned model from DINO weights",
            "the fine-tuned model from DINO weights",
        ),
        (
            Arm("simclr@DINO", "knn"),
            "this SimCLR model continued from DINO weights with k-NN",
            "SimCLR continued from DINO weights with k-NN",
        ),
        (
            Arm("start", "linear"),
            "this model from the starting weights with a linear head",
            "the model from the starting weights with a linear head",
        ),
        (Arm("mine.csv", ""), "this model (mine.csv)", "mine.csv"),
    ],
)
def test_one_seed_is_a_model_and_several_a_method(arm: Arm, one: str, several: str) -> None:
    assert names.arm(arm, 1) == one
    assert names.arm(arm, 5) == several


def test_several_methods_are_one_subject() -> None:
    simclr, byol = Arm("simclr", "finetune"), Arm("byol", "finetune")
    given, further = Arm("weights@DINO", "finetune"), Arm("simclr@DINO", "finetune")
    assert names.subject([simclr], 1) == "the SimCLR model"
    assert names.subject([simclr, byol], 1) == "the SimCLR and BYOL models"
    assert names.subject([simclr, byol], 3) == "SimCLR and BYOL pretraining"
    assert names.subject([simclr, given], 1) == "the SimCLR model and the model from DINO weights"
    many = [Arm(name, "finetune") for name in ("simclr", "byol", "moco", "vicreg")]
    assert names.subject(many, 3, total=4) == "all four pretraining methods"
    assert names.subject(many, 1, total=12) == "four of 12 pretrained models"
    assert names.subject([given], 3) == "starting from DINO weights"
    assert names.subject([further], 3) == "SimCLR continued from DINO weights"
