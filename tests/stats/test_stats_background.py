"""Background reliance: oracles that read only the object, only the background, or a mix."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config import Study
from headstart.stats.background import (
    Answers,
    gap_difference,
    reliance,
    too_few,
    worst_group,
)
from headstart.stats.bootstrap import Resampling

PLAN = Resampling(replicates=1000)
K = 9


def asked(reads_background, n=270, agree=1.0, noise=0.0, seed=0):
    """A reader of backgrounds with probability ``reads_background`` an image, else of objects.

    The background of an image is its class's with probability ``agree``, else any: so it tells the
    class of the background's *family*, not of the donor.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    family = np.where(rng.random(n) < agree, y, rng.integers(K, size=n))
    same = np.arange(n) - K  # the one before it in its class: each gives its background once
    rand = rng.permutation(n)
    reads = rng.random(n) < reads_background

    def answer(background):
        found = np.where(reads, background, y)
        return np.where(rng.random(n) < noise, rng.integers(K, size=n), found)

    return Answers(
        y=y,
        original=answer(family),
        only_fg=np.where(reads, rng.integers(K, size=n), y),
        only_bg=np.where(reads, family, rng.integers(K, size=n)),
        mixed_same=answer(family[same]),
        mixed_rand=answer(family[rand]),
        background=y[rand],
        classes=K,
    )


def test_by_hand():
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    answers = Answers(
        y=y,
        original=y,
        only_fg=y,
        only_bg=np.array([0, 0, 0, 1, 1, 1, 0, 0]),
        mixed_same=np.array([0, 0, 0, 1, 1, 1, 1, 0]),
        mixed_rand=np.array([0, 1, 1, 0, 1, 0, 0, 1]),
        background=np.array([0, 1, 1, 0, 1, 0, 0, 1]),
        classes=2,
    )
    found = reliance(answers, PLAN)
    assert {name: v.value for name, v in found.accuracy.items()} == {
        "original": 1,
        "only_fg": 1,
        "only_bg": 0.625,
        "mixed_same": 0.75,
        "mixed_rand": 0.5,
    }
    assert found.gap.value == 0.25
    assert found.paste_cost.value == 0.25
    assert found.skill.value == pytest.approx((0.75 + 0.5) / 2 - 0.5)
    # Four pictures are on the other class's background, and all four are called that; of the two
    # pictures of the class on their own background none is.
    assert (found.follows, found.expected, found.follows_more.value) == (1, 0, 1)
    assert found.n == 8
    assert found.warnings == (
        "8 images have a mask; fewer than 50 say little",
        "2 of 2 classes have fewer than 5 images with a mask",
    )


def test_oracles_are_told_apart():
    objects, backgrounds = asked(0.0), asked(1.0)
    reads_object, reads_background = reliance(objects, PLAN), reliance(backgrounds, PLAN)
    assert reads_object.gap.value == 0
    assert reads_object.gap.high < reads_background.gap.low
    assert reads_background.gap.value > 0.8
    assert reads_object.skill.low < 0 < reads_object.skill.high
    assert reads_object.skill_p > 0.01
    assert reads_background.skill_p < 0.01
    assert reads_background.skill.value == pytest.approx(1 - 1 / K)
    assert reads_background.follows == 1
    assert reads_object.follows == 0
    assert gap_difference(backgrounds, objects, PLAN).low > 0.8
    assert reads_object.warnings == ()


@pytest.mark.parametrize("shortcut", [0.0, 0.5, 1.0])
def test_a_reader_of_backgrounds_scores_what_the_knob_says(shortcut):
    """Families agree with classes with probability s + (1 − s)/9; the skill is that − 1/9."""
    found = reliance(asked(1.0, n=1800, agree=shortcut), PLAN)
    expected = shortcut + (1 - shortcut) / K
    assert found.accuracy["original"].low <= expected <= found.accuracy["original"].high
    assert found.skill.low <= expected - 1 / K <= found.skill.high
    # Same class: the donor's family, drawn anew; random class: chance.
    assert found.gap.low <= expected - 1 / K <= found.gap.high
    assert found.follows_more.low <= shortcut <= found.follows_more.high


def test_following_is_measured_against_the_confusions():
    """A model that always takes 0 for 1 is not following when 0's background is 1's."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    confused = np.where(y == 0, 1, y)
    background = rng.integers(4, size=400)
    answers = Answers(y, *[confused] * 5, background, 4)
    found = reliance(answers, PLAN)
    assert found.follows > 0.05
    assert found.follows_more.value == pytest.approx(0, abs=1e-12)


def test_without_another_background_nothing_is_said_about_following():
    y = np.arange(20) % 2
    found = reliance(Answers(y, *[y] * 5, y, 2), PLAN)
    assert np.isnan(found.follows)
    assert np.isnan(found.follows_more).all()
    # All of a class on one other background: no other picture to compare with.
    found = reliance(Answers(y, *[y] * 5, 1 - y, 2), PLAN)
    assert np.isnan(found.follows_more).all()


def test_the_bootstrap_is_paired():
    """Equal models have no difference, however few images there are."""
    one = asked(0.5, n=45)
    assert gap_difference(one, one, PLAN) == (0, 0, 0)


def test_the_difference_of_gaps_covers():
    held = 0
    for seed in range(60):
        one, other = asked(0.6, n=180, seed=seed), asked(0.2, n=180, seed=seed)
        other = dataclasses.replace(other, background=one.background)
        found = gap_difference(one, other, Resampling(replicates=300, seed=seed))
        held += found.low <= 0.4 * (1 - 1 / K) <= found.high
    assert held >= 53


def test_the_interval_of_following_covers():
    held = 0
    for seed in range(60):
        found = reliance(asked(1.0, 360, 0.5, seed=seed), Resampling(replicates=200)).follows_more
        held += found.low <= 0.5 <= found.high
    assert held >= 51


def test_different_pictures_are_not_compared():
    with pytest.raises(ValueError, match="different pictures"):
        gap_difference(asked(0.5), asked(0.5, seed=1))


@pytest.mark.parametrize("field", ["original", "only_bg", "mixed_rand", "background"])
def test_answers_must_be_classes(field):
    with pytest.raises(ValueError, match="class outside"):
        dataclasses.replace(asked(0.5), **{field: np.full(270, K)})
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(asked(0.5), **{field: np.zeros(3, np.int64)})


def test_worst_group_by_hand():
    y = np.zeros(20, np.int64)
    predicted = np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 4 + [1] * 3)
    groups = np.array([0] * 10 + [7] * 7 + [9] * 3)
    found = worst_group(y, predicted, groups, PLAN)
    assert found.group == 7  # group 9 has only three images
    assert found.accuracy == pytest.approx(3 / 7)
    assert found.gap == pytest.approx(11 / 20 - 3 / 7)
    assert found.n == 7
    assert worst_group(y[:4], predicted[8:12], groups[16:20], PLAN).group == 7


def test_the_worst_of_random_groups_is_low_and_means_nothing():
    """Ten groups of ten at 60 %: the worst is expected far below, and p is what it should be."""
    rng = np.random.default_rng(0)
    groups, p = np.repeat(np.arange(10), 10), []
    for _ in range(200):
        found = worst_group(np.zeros(100), rng.random(100) > 0.6, groups, Resampling(99))
        assert 0.2 < found.expected < 0.6
        p.append(found.p)
    assert np.mean(np.array(p) <= 0.05) <= 0.08
    bad = np.where(groups == 3, 1, rng.random(100) > 0.6)  # one group is never answered
    found = worst_group(np.zeros(100), bad, groups, PLAN)
    assert (found.group, found.accuracy) == (3, 0)
    assert found.p < 0.01


def test_guessing_is_among_the_classes_that_are_there():
    """Nine classes, of which masks show three: guessing these is 1/3, not 1/9."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    told = rng.integers(3, size=90)
    found = reliance(Answers(y, *[told] * 5, y, 9), PLAN)
    assert found.skill.value == pytest.approx(np.mean(told == y) - 1 / 3)
    assert found.skill.low < 0 < found.skill.high


def test_images_of_few_groups_have_no_interval():
    found = reliance(asked(0.5), Resampling(replicates=200, groups=np.arange(270) % 4))
    for one in (found.gap, found.skill, found.accuracy["original"], found.follows_more):
        assert np.isfinite(one.value)
        assert np.isnan([one.low, one.high]).all()


def test_the_default_sample_is_not_too_few():
    images = Study().explain.images
    assert too_few(np.arange(images) % 9, 9) == ()


def test_too_few_by_hand():
    assert too_few(np.arange(50) % 4, 4) == ()
    (few,) = too_few(np.arange(49) % 4, 4)
    assert few == "49 images have a mask; fewer than 50 say little"
    assert too_few(np.r_[np.zeros(100, int), 1, 1], 2) == (
        "1 of 2 classes have fewer than 5 images with a mask",
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), noise=st.floats(0, 1))
def test_shares_stay_shares(seed, share, noise):
    found = reliance(asked(share, 60, 0.5, noise, seed), Resampling(replicates=100))
    for value, low, high in found.accuracy.values():
        assert 0 <= low <= high <= 1
        assert 0 <= value <= 1
    assert -1 <= found.gap.low <= found.gap.high <= 1
    assert -1 / K <= found.skill.low <= found.skill.high <= 1 - 1 / K + 1e-12
    assert 0 < found.skill_p <= 1
    assert 0 <= found.follows <= 1
