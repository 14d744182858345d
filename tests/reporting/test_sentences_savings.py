"""The sentence of a label saving: a number, "at least", or nothing claimed."""

from __future__ import annotations

from math import inf, isfinite

import pytest

from headstart.arms import BASELINE, Arm
from headstart.reporting.sentences import sentence
from headstart.reporting.sentences.savings import saving_sentence
from headstart.results import LabelSaving as Row
from headstart.stats.labels import LabelSaving

SAVED = LabelSaving(140, 540.0, 380.0, 860.0, 70, 1400)


def test_sentence_of_a_saving():
    assert saving_sentence(SAVED, "SimCLR") == (
        "With 10 % of your labels (140), SimCLR does as well as supervised training with about "
        "540 labels (95 % interval 380–860): it saves roughly 3.9× (2.7–6.1×)."
    )


def test_sentence_when_the_upper_limit_is_out_of_sight():
    text = saving_sentence(LabelSaving(140, 540.0, 380.0, inf, 70, 1400), "SimCLR")
    assert (
        "(95 % interval 380 to at least 1,400): it saves roughly 3.9× (2.7× to at least 10.0×)"
        in text
    )
    text = saving_sentence(LabelSaving(140, 150.0, 0.0, 380.0, 70, 1400), "SimCLR")
    assert "(95 % interval fewer than 70 to 380)" in text
    assert "(less than 0.5× to 2.7×)" in text


def test_sentence_of_a_loss():
    text = saving_sentence(LabelSaving(140, 84.0, 75.0, 100.0, 70, 1400), "SimCLR")
    assert "it saves none, roughly 0.6× (0.5–0.7×)" in text


@pytest.mark.parametrize("low", [380.0, 0.0, inf])
@pytest.mark.parametrize("labels", [140, 700])
def test_a_censored_saving_says_at_least(low, labels):
    text = saving_sentence(LabelSaving(labels, inf, low, inf, 70, 1400), "SimCLR")
    assert (
        f"better than supervised training with all 1,400: it saves at least {1400 / labels}×"
        in (text)
    )
    assert "roughly" not in text


def test_a_saving_near_the_largest_count_says_at_least():
    near = LabelSaving(400, 900.0, 620.0, inf, 70, 1400)
    assert not near.quotable
    text = saving_sentence(near, "SimCLR")
    assert "with at least 620 labels: it saves at least 1.6×" in text
    assert "roughly" not in text
    assert "900" not in text
    unsure = saving_sentence(LabelSaving(400, 900.0, 350.0, inf, 70, 1400), "SimCLR")
    assert "whether it saves labels cannot be told" in unsure
    assert "×" not in unsure
    odd = saving_sentence(LabelSaving(400, 900.0, inf, inf, 70, 1400), "SimCLR")
    assert "with at least 1,400 labels: it saves at least 3.5×" in odd


def test_worse_than_the_fewest_labels_saves_none():
    text = saving_sentence(LabelSaving(140, 0.0, 0.0, 75.0, 70, 1400), "SimCLR")
    assert "worse than supervised training with 70 labels: it saves none (less than 0.5×)" in text


def side(labels):
    return "below" if labels == 0 else "above" if labels == inf else None


@pytest.mark.parametrize("needed", [0.0, 84.0, 540.0, inf])
@pytest.mark.parametrize("low", [0.0, 75.0, 380.0])
@pytest.mark.parametrize("high", [560.0, inf])
def test_a_row_of_the_results_says_what_the_saving_says(needed, low, high):
    """Censored counts are None in the results, and their side stands beside them."""
    saving = LabelSaving(140, needed, low, high, 70, 1400)
    ends = {
        name: value if value and isfinite(value) else None
        for name, value in {"needed": needed, "low": low, "high": high}.items()
    }
    row = Row(
        arm_a=Arm("simclr", "finetune"),
        arm_b=BASELINE,
        fraction=0.1,
        labels=140,
        **ends,
        censored=side(needed),
        low_censored=side(low),
        high_censored=side(high),
        smallest=70,
        largest=1400,
        quotable=saving.quotable,
        seeds=5,
        n=372,
    )
    assert sentence(row) == saving_sentence(saving, "fine-tuned SimCLR")


def test_a_row_without_the_measured_counts_is_refused():
    row = Row.model_construct(smallest=None, largest=None)
    with pytest.raises(ValueError, match="label counts"):
        sentence(row)
