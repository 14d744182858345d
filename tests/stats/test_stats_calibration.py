"""Calibrated similarity: its scale, its interval, its verdicts, and what it protects from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from headstart.attributions.similarity import spearman
from headstart.stats.bootstrap import Resampling, mean_replicates
from headstart.stats.calibration import calibrate, sanity, strongest_null

PLAN = Resampling(replicates=2000)


def similarities(mean, n=60, spread=0.1, seed=0):
    return mean + spread * np.random.default_rng(seed).normal(size=n)


def test_the_scale_by_hand():
    found = calibrate(np.full(6, 0.5), np.full(6, 0.2), (np.full(6, 0.8),) * 2, plan=PLAN)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (found.between, found.floor, found.ceiling) == pytest.approx((0.5, 0.2, 0.8))
    assert found.n == 6
    # 0.5 is not above 0.5, and 0.5 is surely below 0.8
    assert found.verdict == "different"


@pytest.mark.parametrize(
    ("between", "verdict"),
    [(0.75, "same"), (0.25, "different"), (0.5, "different")],
)
def test_verdicts(between, verdict):
    floor, ceiling = similarities(0.2, seed=1), similarities(0.8, seed=2)
    found = calibrate(similarities(between), floor, (ceiling, ceiling), plan=PLAN)
    assert found.verdict == verdict
    assert found.low < found.value < found.high


def test_few_noisy_images_cannot_tell():
    between, floor, ceiling = (
        similarities(mean, 12, 0.4, seed) for mean, seed in ((0.6, 3), (0.2, 4), (0.8, 5))
    )
    found = calibrate(between, floor, (ceiling, ceiling))
    assert found.verdict == "unclear"


def test_the_ceiling_is_the_root_of_the_product():
    """Spearman's correction: r_AB = √(r_A · r_B) where two maps are one under noise."""
    found = calibrate(np.full(8, 0.6), np.full(8, 0.2), (np.full(8, 0.9), np.full(8, 0.4)), PLAN)
    assert found.ceiling == pytest.approx(0.6)
    assert found.value == pytest.approx(1)
    assert found.verdict == "same"


def one_map_under_noise(noise_a, noise_b, seed, n=40):
    """Correlations of two methods and of two seeds of each: all see one map, and add noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 196))
    seen = [truth + size * rng.normal(size=truth.shape) for size in [noise_a] * 2 + [noise_b] * 2]
    nothing = rng.normal(size=(2, n, 196))

    def like(a, b):
        return np.array([np.corrcoef(*pair)[0, 1] for pair in zip(a, b, strict=True)])

    between = (like(seen[0], seen[3]) + like(seen[1], seen[2])) / 2
    return between, like(*nothing), (like(*seen[:2]), like(*seen[2:]))


def test_the_noisier_of_two_methods_that_see_the_same_is_not_different():
    """Own likeness 0.92 and 0.25: 30 studies, of which 5 % may err by chance."""
    plan = Resampling(replicates=500)
    studies = [one_map_under_noise(0.3, 1.7, seed) for seed in range(30)]
    found = [calibrate(*study, plan=plan) for study in studies]
    assert sum(one.verdict == "different" for one in found) <= 3
    assert sum(one.verdict == "same" for one in found) >= 25
    assert np.mean([one.value for one in found]) == pytest.approx(1, abs=0.05)
    # Sabotage: the mean of the two ceilings calls every one of them different.
    for between, _, (first, second) in studies:
        assert ((first + second) / 2).mean() - between.mean() > 0.05


def test_a_method_of_pure_noise_is_not_reproducible():
    for seed in range(5):
        study = one_map_under_noise(0.3, 100, seed)
        assert calibrate(*study, plan=PLAN).verdict == "not_reproducible"


def test_both_methods_must_be_reproducible_not_their_mean():
    floor, between = similarities(0.2, seed=1), similarities(0.4)
    ceilings = similarities(0.9, seed=2), similarities(0.2, seed=3)
    assert calibrate(between, floor, ceilings, plan=PLAN).verdict == "not_reproducible"
    assert calibrate(between, floor, ceilings[::-1], plan=PLAN).verdict == "not_reproducible"


def test_a_second_seed_without_maps_is_no_ceiling():
    nothing = np.full(60, np.nan)
    found = calibrate(
        similarities(0.4), similarities(0.2, seed=1), (similarities(0.8, seed=2), nothing), PLAN
    )
    assert found.verdict == "no_ceiling"
    assert found.n == 60
    assert math.isnan(found.ceiling)


def test_five_groups_at_least():
    """Sixty images of four things are four."""
    rows = [similarities(m, seed=i) for i, m in enumerate((0.5, 0.2, 0.8, 0.8))]
    for things, verdict in ((4, "no_maps"), (5, "different")):
        plan = Resampling(replicates=2000, groups=np.arange(60) % things)
        assert calibrate(rows[0], rows[1], (rows[2], rows[3]), plan).verdict == verdict
        assert (sanity(rows[1], rows[2], plan).passed is None) == (things == 4)


@pytest.mark.parametrize("n", [6, 9])
def test_few_images_keep_the_level(n):
    """Two methods as alike as their seeds are: "different" is false, at most 2.5 % may say so."""
    rng, wrong, plan = np.random.default_rng(n), 0, Resampling(replicates=400)
    for _ in range(400):
        between, floor, one, two = rng.normal([[0.6], [0.0], [0.6], [0.6]], 0.1, (4, n))
        wrong += calibrate(between, floor, (one, two), plan).verdict == "different"
    assert wrong <= 0.05 * 400


@pytest.mark.parametrize("ceiling", [0.2, 0.1])
def test_maps_that_two_seeds_do_not_share(ceiling):
    """A ceiling at or below the floor leaves no scale."""
    own = similarities(ceiling, seed=2)
    found = calibrate(similarities(0.3), similarities(0.2, seed=1), (own, own), plan=PLAN)
    assert found.verdict == "not_reproducible"
    assert math.isnan(found.value)
    assert found.ceiling == pytest.approx(ceiling, abs=0.05)


def test_without_a_second_seed_there_is_no_ceiling():
    found = calibrate(similarities(0.3), similarities(0.2, seed=1), None, plan=PLAN)
    assert found.verdict == "no_ceiling"
    assert math.isnan(found.value)
    assert math.isnan(found.ceiling)
    assert found.between == pytest.approx(0.3, abs=0.05)


def test_images_without_a_map_are_left_out_everywhere():
    between, floor, ceiling = (similarities(m, seed=i) for i, m in enumerate((0.5, 0.2, 0.8)))
    other = similarities(0.7, seed=3)
    kept = calibrate(between[3:], floor[3:], (ceiling[3:], other[3:]), plan=PLAN)
    between[0], ceiling[1], other[2] = np.nan, np.nan, np.nan
    assert calibrate(between, floor, (ceiling, other), plan=PLAN) == kept
    nothing = calibrate(np.full(60, np.nan), floor, (ceiling, other), plan=PLAN)
    assert (nothing.verdict, nothing.n) == ("no_maps", 0)
    few = calibrate(between[3:7], floor[3:7], (ceiling[3:7], other[3:7]))
    assert few.verdict == "no_maps"


def test_the_bootstrap_is_paired():
    """Images differ, networks do not: a shift that all three share costs no certainty."""
    hard = similarities(0, 80, 0.3)
    found = calibrate(hard + 0.5, hard + 0.2, (hard + 0.8,) * 2, plan=PLAN)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))


def test_the_interval_covers():
    """Of 200 studies of 40 images about 95 % hold the true value: 0.5 of the way."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        between, floor, ceiling = rng.normal([[0.5], [0.2], [0.8]], 0.2, (3, 40))
        found = calibrate(
            between,
            floor,
            (ceiling,) * 2,
            plan=Resampling(replicates=400, seed=int(rng.integers(2**31))),
        )
        held += found.low <= 0.5 <= found.high
    assert 178 <= held <= 199


def test_groups_widen_the_interval():
    rng = np.random.default_rng(1)
    objects = np.repeat(np.arange(12), 10)
    between = 0.5 + rng.normal(0, 0.2, 12)[objects] + rng.normal(0, 0.02, 120)
    floor, ceiling = np.full(120, 0.2), np.full(120, 0.8)
    alone = calibrate(between, floor, (ceiling, ceiling), plan=PLAN)
    grouped = calibrate(
        between, floor, (ceiling, ceiling), plan=Resampling(replicates=2000, groups=objects)
    )
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_refuses_different_lengths():
    with pytest.raises(ValueError, match="shape"):
        calibrate(np.zeros(5), np.zeros(6), (np.zeros(5), np.zeros(5)))


def test_mean_replicates_against_a_loop():
    values = np.random.default_rng(0).normal(size=(2, 30))
    values[1, 4] = np.nan
    found = mean_replicates(values, Resampling(replicates=4000))
    kept = np.delete(values, 4, axis=1)
    assert found.shape == (2, 4000)
    np.testing.assert_allclose(found.mean(1), kept.mean(1), atol=0.02)
    np.testing.assert_allclose(found.std(1), kept.std(1) / np.sqrt(29), rtol=0.05)
    together = np.corrcoef(found)[0, 1]  # the same draws for both rows
    assert together == pytest.approx(np.corrcoef(kept)[0, 1], abs=0.05)


def test_mean_replicates_refuses():
    with pytest.raises(ValueError, match="no image"):
        mean_replicates(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="do not fit"):
        mean_replicates(np.zeros((2, 3)), Resampling(groups=np.zeros(4, np.int64)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-1, 1), factor=st.floats(0.1, 10))
def test_the_scale_forgets_unit_and_origin(seed, shift, factor):
    """Of two equal ceilings; the root of a product of unequal ones has an origin."""
    rows = np.random.default_rng(seed).normal([[0.5], [0.0], [1.0]], 0.1, (3, 30))
    moved = 2 + shift + factor * (rows - rows.min())  # a correlation below 0 counts 0

    def on_the_scale(rows):
        between, floor, ceiling = rows
        return calibrate(between, floor, (ceiling, ceiling), Resampling(replicates=200))

    one, other = on_the_scale(rows), on_the_scale(moved)
    assert one.verdict == other.verdict
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))


def test_the_strongest_null_has_the_highest_mean_over_common_images():
    random = np.array([0.1, 0.2, 0.9, 0.9])
    shuffled = np.array([0.3, 0.4, np.nan, np.nan])
    name, values = strongest_null({"random": random, "shuffled": shuffled})
    assert name == "shuffled"
    np.testing.assert_array_equal(values, shuffled)
    assert strongest_null({"random": np.full(4, np.nan), "shuffled": shuffled})[0] == "random"
    with pytest.raises(ValueError, match="no null"):
        strongest_null({})


def test_a_floor_too_low_calls_what_all_images_share_agreement():
    """Maps that are alike whatever the picture: only the shuffled pairing knows."""
    ceiling, shuffled, random = (
        similarities(m, spread=0.02, seed=i) for i, m in enumerate((0.9, 0.8, 0.4))
    )
    between = similarities(0.8, spread=0.02, seed=9)
    assert calibrate(between, random, (ceiling, ceiling), plan=PLAN).verdict == "same"
    floor = strongest_null({"random weights": random, "shuffled": shuffled})[1]
    found = calibrate(between, floor, (ceiling, ceiling), plan=PLAN)
    assert found.low < 0 < found.high
    assert found.verdict == "different"


# --- with maps


def made_maps(focus, noise, n=60, side=28, seed=0):
    """What networks look at (a blob an image, if any), what all of them share, and their noise."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(99).uniform(6, side - 6, (n, 2))
    rows, columns = np.indices((side, side))
    blob = np.exp(-((rows - places[:, :1, None]) ** 2 + (columns - places[:, 1:, None]) ** 2) / 30)
    middle = np.exp(-((rows - side / 2) ** 2 + (columns - side / 2) ** 2) / 100)
    return focus * blob + middle + noise * np.abs(rng.normal(size=(n, side, side)))


def calibrated(a, b, floor_pair, ceiling_pair):
    rows = [
        [spearman(one, other) for one, other in zip(*pair, strict=True)]
        for pair in ((a, b), floor_pair, ceiling_pair)
    ]
    return calibrate(*rows[:2], (rows[2], rows[2]), plan=PLAN)


def test_two_untrained_networks_hold_0_and_two_seeds_hold_1():
    """Ten studies; a 95 % interval may miss now and then."""
    zeros = ones = 0
    for study in range(10):
        trained = [made_maps(4, 0.5, 30, seed=100 * study + s) for s in range(4)]
        untrained = [made_maps(0, 0.5, 30, seed=100 * study + 10 + s) for s in range(4)]
        floor, ceiling = (untrained[0], untrained[1]), (trained[0], trained[1])
        nothing = calibrated(untrained[2], untrained[3], floor, ceiling)
        seeds = calibrated(trained[2], trained[3], floor, ceiling)
        assert nothing.floor > 0.4  # alike as they are: without a floor it would read as agreement
        assert (nothing.verdict, seeds.verdict) == ("different", "same")
        zeros += nothing.low < 0 < nothing.high
        ones += seeds.low < 1 < seeds.high
    assert min(zeros, ones) >= 8


def rendered(a, side=200, margin=60):
    """A map as a screenshot shows it: a heat map in the middle of a white page, values 0 … 255."""
    page = np.full((side + 2 * margin, side + 2 * margin), 255.0)
    scaled = np.clip(np.abs(a) / np.percentile(np.abs(a), 99), 0, 1)
    cells = np.kron(1 - 0.5 * scaled, np.ones((side // a.shape[0] + 1, side // a.shape[1] + 1)))
    page[margin:-margin, margin:-margin] = 255 * cells[:side, :side]
    return page


def test_screenshots_with_the_wrong_range_call_noise_alike_and_we_do_not():
    """SSIM of rendered pages with a data range of 4095: unrelated noise scores above 0.95."""
    untrained = [np.random.default_rng(s).normal(size=(60, 28, 28)) for s in range(4)]
    trained = [made_maps(4, 0.5, seed=s) for s in range(2)]
    pages = rendered(untrained[0][0]), rendered(untrained[1][0])
    assert structural_similarity(*pages, data_range=4095) > 0.95
    assert structural_similarity(*pages, data_range=255) < 0.95
    found = calibrated(
        untrained[0], untrained[1], (untrained[2], untrained[3]), (trained[0], trained[1])
    )
    assert found.low < 0 < found.high
    assert found.verdict == "different"


# --- sanity of the method


def test_sanity_passes_where_maps_depend_on_the_weights():
    found = sanity(similarities(0.2), similarities(0.7, seed=1), PLAN)
    assert found.passed is True
    assert found.low > 0.3
    assert found.n == 60


@pytest.mark.parametrize("across", [0.2, 0.1])
def test_sanity_flags_a_method_that_shows_the_image(across):
    found = sanity(similarities(0.2), similarities(across, seed=1), PLAN)
    assert found.passed is False


def test_sanity_of_an_edge_detector():
    """Edges are the same whatever the weights: both similarities are 1."""
    found = sanity(np.ones(20), np.ones(20), PLAN)
    assert found.passed is False
    assert found.difference == 0


def test_sanity_without_seeds_is_not_run():
    assert sanity(similarities(0.2), None).passed is None
    assert sanity(np.full(9, np.nan), np.ones(9)).passed is None
    assert {f.name for f in dataclasses.fields(sanity(np.ones(9), np.ones(9)))} >= {"passed", "n"}
