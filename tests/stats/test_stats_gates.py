"""Every gate says PASS to what is right and FAIL to what is broken, each by itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.stats import gates as gates_module
from headstart.stats.gates import (
    FAIL,
    NOT_RUN,
    PASS,
    Gate,
    GateResult,
    batch_invariant,
    beats_chance,
    collapse,
    converged,
    disjoint,
    label_shuffle,
    learning_rate,
    same,
)

RNG = np.random.default_rng(0)


# --- G1 ------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_disjoint_is_the_empty_intersection(test, pool, train):
    said = disjoint(list(test), {"the pool": list(pool), "training": list(train)})
    if not test:
        assert said.result == NOT_RUN
        return
    assert (said.result == FAIL) == bool(test & (pool | train))
    assert ("the pool" in said.reason) == bool(test & pool)
    assert f"{len(test & train)} in training" in said.reason or not test & train


def test_disjoint_takes_digests_as_well_as_numbers():
    assert disjoint(np.array(["a", "b"]), {"the pool": np.array(["b"])}).result == FAIL
    assert disjoint(np.array(["a", "b"]), {"the pool": np.array([], dtype=str)}).result == PASS


# --- G2 ------------------------------------------------------------------------------------------


def test_rounding_passes_and_a_shift_of_one_image_fails():
    logits = RNG.normal(0, 3, (256, 9))
    rounded = {"in 8": logits + RNG.uniform(-1e-6, 1e-6, logits.shape), "one": logits[:32]}
    assert batch_invariant(logits, rounded).result == PASS
    moved = logits.copy()
    moved[200, 4] += 0.02  # 7e-3 of the spread, and no answer need change
    said = batch_invariant(logits, {"in 8": logits, "in 64": moved})
    assert said.result == FAIL
    assert "in 64" in said.reason


def test_a_tie_may_fall_either_way_and_a_decided_answer_may_not():
    logits = np.tile([1.0, 1.0, -5.0], (100, 1))
    other = logits + np.array([0.0, 1e-7, 0.0])
    assert (logits.argmax(1) != other.argmax(1)).all()
    assert batch_invariant(logits, {"again": other}).result == PASS
    swapped = logits[:, ::-1]
    assert batch_invariant(logits, {"again": swapped}).result == FAIL


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_fail(bad):
    logits = RNG.normal(size=(10, 3))
    broken = logits.copy()
    broken[3, 1] = bad
    assert batch_invariant(logits, {"again": broken}).result == FAIL


def test_a_constant_network_is_batch_invariant():
    logits = np.zeros((20, 3))
    assert batch_invariant(logits, {"again": logits}).result == PASS


# --- G3, G4, G5 ----------------------------------------------------------------------------------


def test_the_odd_one_out_fails_and_nobody_else():
    said = same({"supervised": "a" * 64, "simclr": "b" * 64, "byol": "a" * 64}, "weights")
    assert {arm: s.result for arm, s in said.items()} == {
        "supervised": PASS,
        "simclr": FAIL,
        "byol": PASS,
    }
    assert said["simclr"].reason == f"weights: {'b' * 12} here, {'a' * 12} for the others"


def test_of_two_the_first_is_the_measure_and_one_alone_is_not_judged():
    said = same({"supervised": "x", "simclr": "y"}, "weights")
    assert [s.result for s in said.values()] == [PASS, FAIL]
    assert same({"supervised": "x"}, "weights")["supervised"].result == NOT_RUN
    assert same({}, "weights") == {}


# --- G6 ------------------------------------------------------------------------------------------


def cosine(steps: int, warmup: int = 0) -> np.ndarray:
    t = np.arange(steps)
    fall = 0.5 * (1 + np.cos(np.pi * (t - warmup) / (steps - warmup)))
    return np.where(t < warmup, (t + 1) / (warmup + 1), fall)


@settings(deadline=None)
@given(st.integers(20, 300), st.integers(0, 19), st.floats(1e-4, 1.0))
def test_a_warm_up_and_a_cosine_pass(steps, warmup, peak):
    rates = peak * cosine(steps, min(warmup, steps // 10))
    assert learning_rate(rates, rates).result == PASS


@settings(deadline=None)
@given(st.integers(4, 100), st.data())
def test_a_rise_after_the_peak_fails_wherever_it_is(steps, data):
    rates = cosine(steps)
    at = data.draw(st.integers(1, steps - 1))
    rates[at] = rates[at - 1] * 1.01
    if at == 1:  # then it is a longer warm-up, but not the one that was meant
        assert learning_rate(rates, cosine(steps)).result == FAIL
    else:
        assert learning_rate(rates, rates).result == FAIL


def test_one_zero_one_zero_fails_even_if_it_was_meant():
    rates = [1.0, 0.0] * 30
    said = learning_rate(rates, rates)
    assert said.result == FAIL
    assert "one peak" in said.reason
    # Read at every second step only, it looks constant, or dead.
    assert learning_rate([1.0] * 30, [1.0] * 30).reason == (
        "the learning rate ends at 100 % of its peak"
    )
    assert learning_rate([0.0] * 30, [0.0] * 30).reason == "the learning rate was never above 0"


def test_the_end_counts_only_where_a_cosine_ran_to_it():
    rates = cosine(40)[:30]
    assert learning_rate(rates, rates).result == FAIL
    assert learning_rate(rates, rates, finished=False).result == PASS
    assert learning_rate(rates[:19], rates[:19]).result == PASS
    assert learning_rate(rates, rates, final_share=0.2).result == PASS
    assert learning_rate([0.1] * 40, [0.1] * 40, cosine=False).result == PASS
    assert learning_rate([], []).result == NOT_RUN


def test_a_rate_that_was_not_meant_fails():
    rates = cosine(40)
    assert learning_rate(rates, 2 * rates).result == FAIL
    assert learning_rate(rates, rates + 1e-9).result == PASS


# --- G7, G8 --------------------------------------------------------------------------------------


def test_collapse_fails_where_no_seed_is_left_or_one_went_on():
    why = "collapsed: std ratio 0.01 on three checks. Likely cause: a learning rate"
    assert collapse([0, 1], {}, {}).result == PASS
    left_out = collapse([0], {1: why}, {})
    assert left_out.result == PASS
    assert "left out: seed 1: collapsed: std ratio 0.01 on three checks" in left_out.reason
    assert collapse([], {0: why}, {}).result == FAIL
    assert collapse([0], {}, {1: why}).result == FAIL


def test_beats_chance_asks_most_seeds_at_every_label_count():
    assert beats_chance({0.1: [True, True, False], 1.0: [True]}).result == PASS
    said = beats_chance({0.1: [True, False], 1.0: [True, True]})
    assert said == GateResult(FAIL, "no better than guessing at 10 % of the labels")


# --- G9 ------------------------------------------------------------------------------------------


def test_label_shuffle_passes_chance_and_fails_what_is_remembered():
    y = RNG.integers(0, 5, 200)
    said = label_shuffle(y, {"probe": RNG.integers(0, 5, 200)}, 5)
    assert said.result == PASS
    assert "chance" in said.reason
    known = np.where(RNG.random(200) < 0.25, y, RNG.integers(0, 5, 200))
    assert label_shuffle(y, {"fine": RNG.permutation(y), "leaky": known}, 5).result == FAIL
    assert label_shuffle(y, {}, 5).result == NOT_RUN


def test_label_shuffle_is_exact_where_images_come_in_clusters():
    # A random label a cluster scores far from 1/K on true labels; on shuffled ones it does not.
    fails = 0
    for draw in range(40):
        rng = np.random.default_rng(draw)
        cluster = np.repeat(np.arange(4), 50)
        predicted = rng.integers(0, 4, 4)[cluster]
        fails += label_shuffle(rng.permutation(cluster), {"probe": predicted}, 4).result == FAIL
    assert fails == 0


# --- what a failure blocks -----------------------------------------------------------------------


def test_a_failure_blocks_its_arm_its_method_or_all_and_g8_blocks_nothing():
    def gate(number: str, arm: str | None, result: str = FAIL) -> Gate:
        return Gate.of(number, arm, GateResult(result, f"{number} broke"))

    def blocking(gates: Iterable[Gate], *names: str) -> tuple[str, ...]:
        return gates_module.blocking(gates, *names, fraction=1.0)

    gates = [gate("G2", "simclr/linear"), gate("G4", "byol"), gate("G8", "moco/linear")]
    assert blocking(gates, "simclr/linear", "simclr") == (
        "G2 broke (G2, scores do not depend on the batch)",
    )
    assert blocking(gates, "simclr/finetune", "simclr") == ()
    assert blocking(gates, "byol/knn", "byol") == ("G4 broke (G4, same starting weights)",)
    assert blocking(gates, "moco/linear", "moco") == ()
    assert len(blocking([*gates, gate("G1", None)], "simclr/linear", "simclr")) == 2
    assert blocking([gate("G1", None, PASS), gate("G9", None, NOT_RUN)], "moco/linear") == ()


def test_a_failure_at_one_label_fraction_blocks_that_one_alone():
    broke = GateResult(FAIL, "it had not converged")
    gates = [Gate.of("G10", "supervised/supervised", broke, 0.2)]
    for fraction, reasons in ((0.2, 1), (1.0, 0)):
        found = gates_module.blocking(gates, "supervised/supervised", fraction=fraction)
        assert len(found) == reasons


# --- G10 -----------------------------------------------------------------------------------------


def test_one_seed_that_still_improves_fails_g10_and_the_reason_says_what_to_set():
    assert converged({0: True, 1: True}, "supervised", 8).result == PASS
    found = converged({0: True, 1: False, 2: False}, "supervised with 20 % of the labels", 8)
    assert found.result == FAIL
    assert "supervised with 20 % of the labels had not converged" in found.reason
    assert "seed 1, 2" in found.reason
    assert "classify.finetune.max_lengthening=16" in found.reason
