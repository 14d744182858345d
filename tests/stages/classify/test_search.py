"""The search that every arm goes through, on trials whose outcomes are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from headstart.config import Finetune
from headstart.stages.classify.search import Search, SearchResult
from headstart.stages.classify.trials import Setting, Trial, worse

World = Callable[[Setting], tuple[float, bool]]
"""A setting -> balanced accuracy on validation, and whether its images were learned."""


def searched(world: World, **settings: Any) -> tuple[SearchResult, list[Setting]]:
    asked = {"lrs": (0.1,), "weight_decays": (1e-4,), "augmentations": ("light",), "patience": 1}
    asked |= settings
    seen: list[Setting] = []

    def attempt(setting: Setting) -> Trial:
        seen.append(setting)
        score, learned = world(setting)
        fit = 0.1 / setting.length if learned else 1.0
        return Trial(setting, (score, 0.0), 10, 10, True, fit, 10, 100, {})

    return Search(Finetune(**asked), attempt).run(), seen


def by_length(*scores: float) -> World:
    """Scores of 1, 2, 4 … times the base length, all best at their ends."""
    return lambda setting: (scores[setting.length.bit_length() - 1], True)


@pytest.mark.parametrize(
    ("scores", "lengths", "kept", "converged"),
    [
        ((0.50, 0.60, 0.70, 0.80), [1, 2, 4, 8], 8, False),  # the cap, still improving
        ((0.50, 0.60, 0.604, 0.9), [1, 2, 4], 4, True),  # better, but by less than the tolerance
        ((0.50, 0.505, 0.9, 0.9), [1, 2], 2, True),
        ((0.50, 0.45, 0.9, 0.9), [1, 2], 1, True),  # twice as long is worse: the shorter is kept
        ((0.50, 0.60, 0.70, 0.70), [1, 2, 4, 8], 8, True),  # of equals the longer
    ],
)
def test_the_length_is_doubled_while_that_pays(
    scores: tuple[float, ...], lengths: list[int], kept: int, converged: bool
) -> None:
    found, seen = searched(by_length(*scores), tolerance=0.0051)
    assert [setting.length for setting in seen] == lengths
    assert found.best.setting.length == kept
    assert found.converged == converged


@pytest.mark.parametrize(
    ("scores", "lengths", "kept", "converged"),
    [
        ((0.50, 0.50, 0.70, 0.70, 0.70), [1, 2, 4, 8, 16], 16, True),  # luck did not end it at 2
        ((0.50, 0.50, 0.50, 0.90, 0.90), [1, 2, 4], 4, True),
        ((0.50, 0.60, 0.70, 0.80, 0.80), [1, 2, 4, 8, 16], 16, True),  # one in vain, at the cap
        ((0.50, 0.60, 0.70, 0.80, 0.90), [1, 2, 4, 8, 16], 16, False),
    ],
)
def test_two_doublings_in_vain_end_the_search(
    scores: tuple[float, ...], lengths: list[int], kept: int, converged: bool
) -> None:
    found, seen = searched(by_length(*scores), patience=2, max_lengthening=16)
    assert [setting.length for setting in seen] == lengths
    assert found.best.setting.length == kept
    assert found.converged == converged


def test_a_rate_that_fell_to_nothing_is_not_taken_for_convergence() -> None:
    """Best before its last tenth, and yet twice as long is better."""

    def attempt(setting: Setting) -> Trial:
        return Trial(setting, (setting.length / 10, 0.0), 8, 10, False, 0.1, 10, 100, {})

    found = Search(
        Finetune(lrs=(0.1,), weight_decays=(0,), augmentations=("light",)), attempt
    ).run()
    assert [trial.setting.length for trial in found.trials] == [1, 2, 4, 8]
    assert not found.converged  # the last doubling before the cap still paid


def test_a_network_that_has_not_learned_its_images_has_not_converged() -> None:
    """Stuck at chance, twice as long helps nothing, until it does."""
    late, seen = searched(lambda setting: (0.1 if setting.length < 8 else 0.6, setting.length == 8))
    assert [setting.length for setting in seen] == [1, 2, 4, 8]
    assert late.best.score[0] == 0.6
    never, _ = searched(lambda setting: (0.1, False))
    assert not never.converged


def test_rates_are_chosen_among_networks_that_have_learned() -> None:
    """The grid is repeated at twice the length while all of it is at chance."""

    def world(setting: Setting) -> tuple[float, bool]:
        learned = setting.length >= 4 and setting.lr == 0.3
        return (0.7 if learned else 0.12 - setting.lr / 100), learned

    found, seen = searched(world, lrs=(0.1, 0.3), widen=0)
    assert [(s.lr, s.length) for s in seen] == [
        *[(lr, length) for length in (1, 2, 4) for lr in (0.1, 0.3)],
        (0.3, 8),
    ]
    assert found.best.setting == Setting(0.3, 1e-4, "light", 8)
    assert found.converged


@pytest.mark.parametrize(("cap", "lengths"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4])])
def test_no_trial_is_longer_than_the_cap(cap: int, lengths: list[int]) -> None:
    found, seen = searched(by_length(0.1, 0.2, 0.3, 0.4), max_lengthening=cap)
    assert [setting.length for setting in seen] == lengths
    assert not found.converged


@pytest.mark.parametrize(
    ("best", "added", "at_edge"),
    [
        (0.03, [], False),
        (0.3, [0.9], False),  # 0.9 is worse: no further
        (0.8, [0.9, 2.7], False),
        (100.0, [0.9, 2.7], True),  # at most two, and the edge is told
        (0.004, [0.01 / 3, 0.01 / 9], False),
        (1e-9, [0.01 / 3, 0.01 / 9], True),
    ],
)
def test_rates_beyond_the_edge_are_tried_while_the_edge_is_best(
    best: float, added: list[float], at_edge: bool
) -> None:
    def world(setting: Setting) -> tuple[float, bool]:
        away = max(setting.lr, best) / min(setting.lr, best)
        return 1 / away + 0.01 * setting.weight_decay, True

    lrs = (0.01, 0.03, 0.1, 0.3)
    found, seen = searched(world, lrs=(0.1, 0.3, 0.01, 0.03), weight_decays=(1e-4, 1e-3))
    beyond = seen[2 * len(lrs) : -1]  # the last one is the best at twice the length
    assert [setting.lr for setting in beyond] == pytest.approx(added, rel=1e-5)
    assert {setting.weight_decay for setting in beyond} <= {1e-3}
    assert found.lr_at_edge == at_edge


def test_one_rate_has_no_edge_and_none_are_tried_with_widen_0() -> None:
    assert len(searched(lambda setting: (0.5, True))[1]) == 2
    _, seen = searched(lambda setting: (setting.lr, True), lrs=(0.1, 0.3), widen=0)
    assert [setting.lr for setting in seen] == [0.1, 0.3, 0.3]


def test_the_other_augmentations_are_tried_at_the_length_reached_and_lengthened_if_best() -> None:
    scores = {
        ("light", 1): 0.5,
        ("light", 2): 0.6,
        ("light", 4): 0.59,
        ("strong", 2): 0.65,
        ("mixup", 2): 0.62,
        ("strong", 4): 0.7,
        ("strong", 8): 0.8,
    }
    found, seen = searched(
        lambda setting: (scores[setting.augmentation, setting.length], True),
        augmentations=("light", "strong", "mixup"),
    )
    assert [(s.augmentation, s.length) for s in seen] == list(scores)
    assert found.best.setting == Setting(0.1, 1e-4, "strong", 8)
    assert not found.converged  # the cap came first


def test_augmentations_that_are_no_better_leave_the_answer_as_it_was() -> None:
    found, seen = searched(
        lambda setting: (0.5 if setting.augmentation == "none" else 0.4, True),
        augmentations=("none", "mixup"),
    )
    assert [setting.augmentation for setting in seen] == ["none", "none", "mixup"]
    assert found.best.setting.augmentation == "none"
    assert found.converged


def test_where_nothing_can_be_scored_only_the_grid_is_tried() -> None:
    def broken(setting: Setting) -> Trial:
        return Trial(setting, (-1.0, 0.0), 0, 1, False, inf, 1, 10, {}, broken="loss is nan")

    found = Search(Finetune(), broken).run()
    assert len(found.trials) == 10
    assert not found.converged


# --- few validation images -----------------------------------------------------------------------


def hits(*right: int, of: int = 18) -> Tensor:
    """Which of so many validation images are right, each worth the same."""
    answered = torch.zeros(of)
    answered[list(right)] = 1 / of
    return answered


def trial(setting: Setting, answered: Tensor, fit: float) -> Trial:
    score = float(answered.sum()), 0.0
    return Trial(setting, score, 10, 10, True, fit, 10, 100, {}, answered)


def by_answers(answered: Sequence[Tensor], fits: Sequence[float]) -> SearchResult:
    """A search whose trials of 1, 2, 4 … times the base length come to these."""

    def attempt(setting: Setting) -> Trial:
        place = setting.length.bit_length() - 1
        return trial(setting, answered[place], fits[place])

    asked = Finetune(
        lrs=(0.1,), weight_decays=(0,), augmentations=("light",), max_lengthening=64, patience=2
    )
    return Search(asked, attempt).run()


def test_a_lucky_score_on_few_images_does_not_end_training_that_still_fits() -> None:
    """What starved a baseline once: of 18 images 6 right by luck at twice the base length."""
    lucky = [hits(0, 1), hits(0, 1, 2, 3, 4, 5), hits(0, 1, 2, 3), hits(0, 1, 2, 6, 7)]
    lucky += [hits(0, 1, 2, 6, 8)] * 3
    found = by_answers(lucky, (0.78, 0.6, 0.4, 0.1, 0.05, 0.03, 0.03))
    assert [t.setting.length for t in found.trials] == [1, 2, 4, 8, 16, 32]
    assert found.best.setting.length == 32  # within the error of 18 images, the longest is kept
    assert found.converged


def test_a_longer_trial_that_is_clearly_worse_is_not_kept() -> None:
    many = 400
    good, bad = hits(*range(300), of=many), hits(*range(220), of=many)
    found = by_answers([good, bad, bad], (0.3, 0.3, 0.3))
    assert found.best.setting.length == 1
    assert found.converged


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (hits(0, 1), hits(0, 1), False),
        (hits(0, 1), hits(2, 3), False),
        (hits(0), hits(0, 1), False),  # one image: its error is one image
        (hits(), hits(0, 1, 2), True),  # three images and no other change
        (hits(4, 5, 6), hits(0, 1, 2, 3), False),
    ],
)
def test_worse_means_by_more_than_the_error_of_a_paired_difference(
    one: Tensor, other: Tensor, expected: bool
) -> None:
    difference = float(one.sum() - other.sum())
    assert worse(difference, one, other) == expected
    gains = (one - other).double().numpy()
    error = np.sqrt(len(gains) ** 2 * stats.sem(gains) ** 2)
    assert (difference < -error * (1 + 1e-6)) == expected  # a tie is no worse, rounded or not


def test_without_answers_a_lower_score_is_worse() -> None:
    assert worse(-0.01, torch.zeros(0), torch.zeros(0))
    assert not worse(0.0, torch.zeros(0), torch.zeros(0))


def test_of_rates_that_few_images_cannot_tell_apart_the_one_that_learns_most_is_kept() -> None:
    """What starved a baseline too: among three rates one image decided for the slowest."""
    right = {0.1: hits(0, 1, 2, 3), 0.3: hits(0, 1, 4, 5), 0.03: hits(0, 1, 2, 3, 6)}
    fit = {0.1: 0.64, 0.3: 0.51, 0.03: 0.83}

    def attempt(setting: Setting) -> Trial:
        return trial(setting, right[setting.lr], fit[setting.lr])

    asked = Finetune(
        lrs=(0.03, 0.1, 0.3),
        weight_decays=(0,),
        augmentations=("light",),
        max_lengthening=1,
        widen=0,
    )
    assert Search(asked, attempt).run().best.setting.lr == 0.3


def test_many_images_choose_the_rate_whatever_was_learned_by_heart() -> None:
    right = {0.1: hits(*range(300), of=400), 0.3: hits(*range(250), of=400)}

    def attempt(setting: Setting) -> Trial:
        return trial(setting, right[setting.lr], 0.5 - setting.lr)

    asked = Finetune(
        lrs=(0.1, 0.3), weight_decays=(0,), augmentations=("light",), max_lengthening=1, widen=0
    )
    assert Search(asked, attempt).run().best.setting.lr == 0.1


def test_what_broke_never_takes_the_place_of_what_did_not() -> None:
    whole = trial(Setting(0.1, 0.0), hits(0, 1), 0.5)
    broken = replace(trial(Setting(0.3, 0.0), hits(0, 1), 0.1), broken="loss is nan")
    assert not broken.beats(whole)


def test_small_gains_add_up_until_they_are_seen() -> None:
    """Each doubling gains no more than the tolerance, two together do."""
    rising = [hits(*range(k), of=400) for k in (200, 200, 201, 201, 203, 203, 203)]
    found = by_answers(rising, (0.3,) * 7)
    assert [t.setting.length for t in found.trials] == [1, 2, 4]  # one image of 400 is not seen
    paying = [hits(*range(k), of=400) for k in (200, 202, 204, 204, 204, 204, 204)]
    assert [t.setting.length for t in by_answers(paying, (0.3,) * 7).trials] == [1, 2, 4, 8, 16]


def test_luck_on_few_images_does_not_prolong_training_that_fits_no_more() -> None:
    luck = [hits(0, 1), hits(2, 3, 4), hits(5, 6, 7), *[hits(0)] * 4]
    found = by_answers(luck, (0.05,) * 7)
    assert [t.setting.length for t in found.trials] == [1, 2, 4]
    assert found.converged
