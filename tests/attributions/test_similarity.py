"""Similarity of maps against scikit-image, SciPy and cases worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from skimage.metrics import mean_squared_error, structural_similarity

from headstart.attributions import similarity
from headstart.attributions.similarity import (
    MEASURES,
    compare_images,
    edges,
    emprt,
    entropy,
    normalise,
    pearson,
    rmse,
    shuffled_pairing,
    spearman,
    ssim,
    top_iou,
)


def maps(n=4, height=28, width=32, seed=0, signed=True):
    a = np.random.default_rng(seed).normal(size=(n, height, width)).astype(np.float32)
    return a if signed else np.abs(a)


def compare(a, b, use=None):
    """Means over the images that have each measure, and how many were measured at all."""
    table = compare_images(a, b, use)
    n = int(np.isfinite(table["rmse"]).sum())
    means = {
        name: float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan
        for name, values in table.items()
    }
    return SimpleNamespace(**means, n=n, left_out=len(a) - n)


def test_normalise_by_hand():
    a = np.zeros((1, 10, 20))
    a.flat[:200] = np.arange(-100, 100)  # sizes 0 … 100; the 99th percentile lies between 98 and 99
    scale = np.percentile(np.abs(a), 99)
    normalised = normalise(a)
    assert 98 <= scale <= 99
    assert normalised.min() == -1
    assert normalised.max() == 1
    np.testing.assert_allclose(normalised[0, 5, 5], a[0, 5, 5] / scale)


def test_one_bright_pixel_does_not_set_the_scale():
    a = maps(1)
    bright = a.copy()
    bright[0, 0, 0] = 1e6
    np.testing.assert_allclose(normalise(bright)[0, 1:], normalise(a)[0, 1:], atol=0.05)


def test_normalise_sparse_and_empty_maps():
    a = np.zeros((2, 20, 20))
    a[0, 3, 3] = -4.0
    normalised = normalise(a)
    assert normalised[0, 3, 3] == -1
    assert not normalised[1].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-6, 1e6))
def test_normalise_forgets_the_unit(seed, factor):
    a = maps(2, seed=seed).astype(np.float64)
    np.testing.assert_allclose(normalise(factor * a), normalise(a), atol=1e-9)


def test_rmse_by_hand_and_against_scikit_image():
    assert rmse(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])) == pytest.approx(math.sqrt(12.5))
    a, b = normalise(maps(seed=1))[0], normalise(maps(seed=2))[0]
    assert rmse(a, b) == pytest.approx(math.sqrt(mean_squared_error(a, b)), abs=1e-12)


@pytest.mark.parametrize("shape", [(11, 11), (28, 32), (15, 60)])
@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_equals_scikit_image(shape, data_range):
    a, b = normalise(maps(2, *shape, seed=3, signed=data_range == 2))
    b = np.clip(0.6 * a + 0.4 * b, -1, 1)
    expected = structural_similarity(
        a,
        b,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b, data_range) == pytest.approx(expected, abs=1e-12)
    assert 0.05 < abs(expected) < 0.99


def test_ssim_of_flat_maps_by_hand():
    """Without variance only the luminance counts: (2·0.5·1 + c₁)/(0.25 + 1 + c₁), c₁ = 10⁻⁴."""
    a, b = np.full((20, 20), 0.5), np.full((20, 20), 1.0)
    assert ssim(a, b, 1.0) == pytest.approx((1 + 1e-4) / (1.25 + 1e-4), abs=1e-9)


@pytest.mark.parametrize("data_range", [0.5, 10.0, 100.0, 255.0, 0.0, -1.0, math.nan])
def test_ssim_refuses_a_range_that_does_not_fit(data_range):
    a, b = normalise(maps(2, signed=False))
    with pytest.raises(ValueError, match="data_range"):
        ssim(a, b, data_range)


def test_ssim_refuses_the_unsigned_range_for_signed_maps():
    a, b = normalise(maps(2))
    with pytest.raises(ValueError, match="data_range"):
        ssim(a, b, 1.0)


def test_two_empty_maps_have_no_ssim():
    """The formula would give 1: (c₁/c₁) · (c₂/c₂)."""
    with pytest.raises(ValueError, match="data_range"):
        ssim(np.zeros((20, 20)), np.zeros((20, 20)), 1.0)


def test_ssim_refuses_maps_smaller_than_its_window():
    with pytest.raises(ValueError, match="11 × 11"):
        ssim(np.ones((10, 30)), np.ones((10, 30)), 1.0)


def test_spearman_equals_scipy_on_averaged_cells():
    a, b = maps(2, 28, 42, seed=4)
    cells = [np.abs(m).reshape(14, 2, 14, 3).mean((1, 3)).ravel() for m in (a, b)]
    assert spearman(a, b) == pytest.approx(spearmanr(*cells).statistic, abs=1e-12)


@pytest.mark.parametrize(("height", "width"), [(30, 45), (64, 100), (5, 9), (14, 14)])
def test_cells_are_adaptive_averages(height, width):
    """Against adaptive pooling written with slices; small maps are not enlarged."""
    a = maps(1, height, width)[0]
    rows, columns = min(14, height), min(14, width)
    slow = [
        [
            a[
                i * height // rows : math.ceil((i + 1) * height / rows),
                j * width // columns : math.ceil((j + 1) * width / columns),
            ].mean()
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    np.testing.assert_allclose(similarity._cells(a), slow, atol=1e-6)


def test_spearman_and_pearson_by_hand():
    a = np.arange(6.0).reshape(2, 3)
    assert spearman(a, a**3) == pytest.approx(1)
    assert spearman(a, 5 - a) == pytest.approx(-1)
    assert spearman(a, -a) == pytest.approx(1)  # sizes only
    assert pearson(a, -a) == pytest.approx(-1)  # with signs
    assert math.isnan(spearman(a, np.ones((2, 3))))
    assert math.isnan(pearson(a, np.ones((2, 3))))


def test_pearson_equals_scipy():
    a, b = maps(2, seed=6)
    b = b + a
    expected = pearsonr(a.ravel().astype(float), b.ravel().astype(float)).statistic
    assert pearson(a.astype(float), b.astype(float)) == pytest.approx(expected, abs=1e-12)


def test_top_iou_by_hand():
    a, b = np.zeros((10, 10)), np.zeros((10, 10))
    a.flat[:100], b.flat[:100] = np.arange(100), np.arange(100)
    assert top_iou(a, b) == 1
    b.flat[90:95] = 0  # five of the ten largest go, and 85 … 89 take their places
    assert top_iou(a, -b) == pytest.approx(5 / 15)
    assert top_iou(a, a[::-1]) == 0
    assert math.isnan(top_iou(0 * a, 0 * a))


def test_top_iou_counts_neither_zeros_nor_half_a_tie():
    a, b = np.zeros((10, 10)), np.zeros((10, 10))
    a[0, 0] = b[9, 9] = 1
    assert top_iou(a, b) == 0  # the zeros of both are no agreement
    assert top_iou(np.ones((10, 10)), np.ones((10, 10))) == 1


@pytest.mark.parametrize("signed", [True, False])
def test_identical_maps(signed):
    found = compare(maps(signed=signed), maps(signed=signed))
    assert list(vars(found).values()) == pytest.approx([0, 1, 1, 1, 1, 4, 0])


def test_a_map_and_its_negative():
    found = compare(maps(), -maps())
    assert found.spearman == pytest.approx(1)
    assert found.top_iou == 1
    assert found.pearson == pytest.approx(-1)
    # Both factors of SSIM turn negative and their product does not: why signs need Pearson.
    assert found.ssim > 0.5


def test_independent_maps_have_nothing_in_common():
    found = compare(maps(40, seed=7), maps(40, seed=8))
    assert abs(found.pearson) < 0.02
    assert abs(found.spearman) < 0.05
    assert abs(found.ssim) < 0.05
    assert found.top_iou == pytest.approx(0.1 / 1.9, abs=0.02)  # the overlap by chance


def test_means_are_over_the_images_with_two_maps():
    a, b = maps(5, seed=1), maps(5, seed=2)
    kept = compare(a[2:4], b[2:4])
    a[0] = 0  # no map from the first model
    b[1] = 0.7  # the same everywhere: none from the second
    use = np.array([True, True, True, True, False])  # and one that did not converge
    found = compare(a, b, use)
    assert found.n == 2
    assert found.left_out == 3
    for name in MEASURES:
        assert getattr(found, name) == pytest.approx(getattr(kept, name), abs=1e-12)
        per_image = compare_images(a, b, use)[name]
        assert np.isnan(per_image).tolist() == [True, True, False, False, True]


def test_constant_models_are_never_alike():
    found = compare(np.zeros((3, 20, 20)), np.zeros((3, 20, 20)))
    assert found.n == 0
    assert found.left_out == 3
    assert all(math.isnan(getattr(found, name)) for name in MEASURES)


def test_no_images():
    assert compare(np.zeros((0, 20, 20)), np.zeros((0, 20, 20))).n == 0


def test_one_measure_may_be_undefined_without_the_image_being_lost():
    """A fine chequerboard is the same in every cell, so its ranks say nothing."""
    board = np.indices((1, 28, 28)).sum(0) % 2 * 1.0
    found = compare(board, maps(1, 28, 28, signed=False))
    assert found.n == 1
    assert math.isnan(found.spearman)
    assert math.isfinite(found.rmse)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), signed=st.booleans(), factor=st.floats(1e-4, 1e4))
def test_symmetric_bounded_and_without_a_unit(seed, signed, factor):
    a, b = maps(2, 20, 24, seed, signed), maps(2, 20, 24, seed + 1, signed)
    found, swapped, scaled = compare(a, b), compare(b, a), compare(np.float32(factor) * a, b)
    for name in MEASURES:
        assert getattr(found, name) == pytest.approx(getattr(swapped, name), abs=1e-9)
        assert getattr(found, name) == pytest.approx(getattr(scaled, name), abs=1e-3)
    assert 0 <= found.rmse <= 2
    assert 0 <= found.top_iou <= 1
    assert max(abs(found.ssim), abs(found.spearman), abs(found.pearson)) <= 1


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 20, 20)), np.zeros((3, 20, 20)), "must both be"),
        (np.zeros((20, 20)), np.zeros((20, 20)), "must both be"),
        (np.full((1, 20, 20), np.nan), np.zeros((1, 20, 20)), "finite"),
        (maps(1, 8, 8), maps(1, 8, 8), "11 × 11"),
    ],
)
def test_refuses_what_cannot_be_compared(a, b, message):
    with pytest.raises(ValueError, match=message):
        compare(a, b)


def test_shuffled_pairing_by_hand():
    """Two images of class 0 swap; three of class 1 go round; the lone one of class 2 has none."""
    a, b = maps(6, seed=1), maps(6, seed=2)
    y = np.array([0, 1, 0, 1, 2, 1])
    found = shuffled_pairing(a, b, y)
    assert np.isnan(found["pearson"]).tolist() == [False] * 4 + [True, False]
    swapped = compare_images(a[[0, 2]], b[[2, 0]])
    for name in MEASURES:
        np.testing.assert_allclose(found[name][[0, 2]], swapped[name])
    rounds = [compare_images(a[[1, 3, 5]], b[order])["pearson"] for order in ([3, 5, 1], [5, 1, 3])]
    assert any(np.allclose(found["pearson"][[1, 3, 5]], one) for one in rounds)


def test_shuffled_pairing_passes_over_missing_maps():
    a, b = maps(3, seed=1), maps(3, seed=2)
    a[1] = 0
    found = shuffled_pairing(a, b, np.zeros(3, np.int64))
    assert np.isnan(found["rmse"]).tolist() == [False, True, False]
    np.testing.assert_allclose(found["pearson"][0], pearson(normalise(a[0]), normalise(b[2])))
    alone = shuffled_pairing(a, b, np.zeros(3, np.int64), np.array([True, True, False]))
    assert np.isnan(alone["rmse"]).all()


def test_shuffled_pairing_keeps_only_what_images_share():
    """Maps with a middle of their own image's and one that all share."""
    own, shared = maps(40, seed=3), maps(1, seed=4)
    a, b = own + shared + 0.3 * maps(40, seed=5), own + shared + 0.3 * maps(40, seed=6)
    same = compare_images(a, b)["pearson"].mean()
    shuffled = shuffled_pairing(a, b, np.arange(40) % 4)["pearson"].mean()
    assert same == pytest.approx(2 / 2.09, abs=0.02)
    assert shuffled == pytest.approx(1 / 2.09, abs=0.03)


def test_shuffled_pairing_leaves_the_group():
    """Twenty bursts of two equal photos: with partners of the burst the null would be 1."""
    one = np.repeat(maps(20, seed=3), 2, axis=0)
    y, bursts = np.arange(40) // 2 % 2, np.arange(40) // 2
    apart = shuffled_pairing(one, one, y, groups=bursts)["pearson"]
    assert np.abs(apart).max() < 0.9
    blind = [shuffled_pairing(one, one, y, seed=s)["pearson"].max() for s in range(5)]
    assert max(blind) == pytest.approx(1)


def test_edges_by_hand():
    x = np.zeros((2, 3, 8, 8), np.float32)
    x[0, ..., 4:] = 1  # one upright edge; the other image has none
    found = edges(x)
    assert found.shape == (2, 8, 8)
    assert not found[1].any()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, 3], [0, 0, 0, 4, 4, 0, 0, 0], atol=1e-2)
    np.testing.assert_allclose(edges(x.swapaxes(2, 3)), found.swapaxes(1, 2), atol=1e-5)


def test_entropy_by_hand():
    a = np.zeros((4, 10, 10))
    a[0, :5] = 1  # two values, half and half
    a[1].flat[:] = np.arange(100)  # every bin once
    a[2, 0, 0] = 1  # one pixel
    found = entropy(a)
    expected = [np.log(2), np.log(100), -(0.99 * np.log(0.99) + 0.01 * np.log(0.01))]
    np.testing.assert_allclose(found[:3], expected)
    assert math.isnan(found[3])


def test_emprt_by_hand():
    a = np.zeros((3, 10, 10))
    a[0, :5] = 1
    b = np.zeros((3, 10, 10))
    b[:2].reshape(2, -1)[:] = np.arange(100)
    found = emprt(a, b)
    assert found[0] == pytest.approx((np.log(100) - np.log(2)) / np.log(2))
    assert np.isnan(found[1:]).all()
    assert emprt(b, a)[0] < 0
