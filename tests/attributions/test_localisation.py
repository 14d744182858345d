"""Localisation by hand, against scikit-learn and slow loops, and against frozen values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from headstart.attributions.localisation import MEASURES, centred, localise


def one(a, mask):
    found = localise(np.asarray(a, float)[None], np.asarray(mask, bool)[None])
    return {name: float(values[0]) for name, values in vars(found).items()}


def test_by_hand():
    a = np.array([[4.0, -3, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = mask[2, 2] = mask[3, 3] = True
    found = one(a, mask)
    assert found["rma"] == pytest.approx(7 / 10)
    assert found["area"] == 0.25
    assert found["lift"] == pytest.approx(2.8)
    assert found["background"] == pytest.approx(0.3)
    assert found["rra"] == 0.5  # 4 and 3 of the four largest lie on it
    assert found["pointing"] == 1


def test_a_uniform_map_scores_the_area():
    mask = np.zeros((20, 20), bool)
    mask[3:9, 5:15] = True
    found = one(np.full((20, 20), 0.3), mask)
    for name in ("rma", "rra", "area"):
        assert found[name] == pytest.approx(0.15)
    assert found["auc"] == pytest.approx(0.5)
    assert found["lift"] == pytest.approx(1)


def test_pointing_forgives_seven_percent_of_the_height():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 40:60] = True
    for row, hit in [(33, 1), (32, 0), (66, 1), (67, 0)]:
        a = np.zeros((100, 100))
        a[row, 50] = 1
        assert one(a, mask)["pointing"] == hit
    corner = np.zeros((100, 100))
    corner[34, 34] = 1  # 6 and 6 away: 8.5 along the diagonal
    assert one(corner, mask)["pointing"] == 0


def test_frozen_values():
    """Recorded once from plain loops over the definitions of RMA and RRA (Arras et al., 2022)."""
    rng = np.random.default_rng(2026)
    a = rng.normal(size=(3, 12, 12))
    masks = rng.random((3, 12, 12)) < 0.3
    found = localise(a, masks)
    np.testing.assert_allclose(found.rma, FROZEN_RMA, atol=1e-6)
    np.testing.assert_allclose(found.rra, FROZEN_RRA, atol=1e-6)


FROZEN_RMA = [0.2836409, 0.16941554, 0.23453421]
FROZEN_RRA = [0.26190476, 0.09375, 0.21621622]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(2, 40))
def test_against_slow_references(seed, levels):
    """Many ties: AUC as scikit-learn has it, RRA as the mean over all ways to break them."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, levels, (9, 11)) - 0.5
    mask = rng.random((9, 11)) < 0.4
    mask[0, 0], mask[1, 1] = True, False
    found = one(a, mask)
    assert found["auc"] == pytest.approx(roc_auc_score(mask.ravel(), np.abs(a).ravel()), abs=1e-9)
    broken = []
    for _ in range(400):
        order = np.lexsort((rng.random(99), -np.abs(a).ravel()))
        broken.append(mask.ravel()[order[: mask.sum()]].mean())
    assert found["rra"] == pytest.approx(np.mean(broken), abs=0.05)
    for name in ("rma", "rra", "pointing", "auc", "background"):
        assert 0 <= found[name] <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3))
def test_neither_sign_nor_unit_matter(seed, factor):
    rng = np.random.default_rng(seed)
    a, mask = rng.normal(size=(10, 10)), rng.random((10, 10)) < 0.5
    mask[0, 0], mask[1, 1] = True, False
    assert one(-factor * a, mask) == pytest.approx(one(a, mask))


def test_left_out():
    rng = np.random.default_rng(0)
    a, masks = rng.normal(size=(7, 8, 8)), np.zeros((7, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    a[0] = 0  # no map
    a[1, 0, 0] = np.nan  # a broken one
    masks[2] = False  # nothing there
    masks[3] = True  # nothing else there
    use = np.array([True] * 6 + [False])  # one did not converge
    found = localise(a, masks, use)
    for name in MEASURES:
        assert np.isnan(getattr(found, name)).tolist() == [True] * 4 + [False, False, True]
    assert set(MEASURES) == {f.name for f in dataclasses.fields(found)}


def test_the_centred_null_already_scores_on_centred_objects():
    """Without any model: σ = H/4 puts about half of itself on a centred object of 24 %."""
    side = 100
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    disc = rows**2 + columns**2 < 0.24 * side**2 / np.pi
    found = one(centred(side, side), disc)
    assert found["area"] == pytest.approx(0.24, abs=0.005)
    assert found["rma"] == pytest.approx(0.5, abs=0.05)
    assert found["lift"] > 1.8


def test_the_centred_null_by_hand():
    a = centred(5, 9)
    assert a.shape == (5, 9)
    assert a[2, 4] == 1
    assert a[2, 5] == pytest.approx(np.exp(-1 / (2 * 1.25**2)))


def test_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="must both be"):
        localise(np.zeros((2, 8, 8)), np.zeros((2, 9, 8), bool))
