"""Features drawn flat: principal components beside scikit-learn's, and UMAP where it is."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from headstart.stats.projection import FEWEST, flatten, neighbours, principal
from headstart.types import Doubles


def features(n: int = 60, d: int = 9) -> Doubles:
    rng = np.random.default_rng(4)
    return rng.normal(size=(n, d)) * np.linspace(3, 0.2, d) + 5


def test_components_are_those_of_scikit_learn() -> None:
    x = features()
    points, variance = principal(x)
    theirs = PCA(2).fit(x)
    expected = theirs.transform(x)
    expected /= np.abs(expected).max()
    signs = np.sign((points * expected).sum(axis=0))
    assert np.allclose(points, expected * signs)
    assert np.allclose(variance, theirs.explained_variance_ratio_)


def test_the_sign_of_a_component_hangs_on_no_chance() -> None:
    x = features()
    assert np.allclose(principal(x)[0][::-1], principal(x[::-1])[0])


@pytest.mark.parametrize("shape", [(1, 5), (2, 5), (6, 1)])
def test_little_is_drawn_too(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    points, variance = principal(x)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert 0 <= sum(variance) <= 1 + 1e-9


def test_equal_features_lie_on_one_point() -> None:
    found = flatten(np.full((FEWEST, 4), 2.0))
    assert found.name == "pca"
    assert not found.points.any()
    assert found.variance == (0.0, 0.0)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A module that stands in for umap, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class UMAP:
        def __init__(self, **settings: Any) -> None:
            asked.append(settings)

        def fit_transform(self, x: Doubles) -> Doubles:
            return x[:, :2].astype(np.float32)

    module = ModuleType("umap")
    module.__spec__ = ModuleSpec("umap", None)
    module.UMAP = UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    return asked


def test_umap_takes_the_place_of_components_where_it_is(pretended: list[dict[str, Any]]) -> None:
    x = features(FEWEST)
    found = flatten(x)
    assert (found.name, found.variance) == ("umap", None)
    assert np.allclose(np.corrcoef(found.points[:, 0], x[:, 0])[0, 1], 1)
    assert np.abs(found.points).max() == 1
    assert np.isclose(-found.points.min(axis=0), found.points.max(axis=0)).all()
    assert pretended[0]["random_state"] is not None  # the same picture every time
    assert flatten(x[:-1]).name == "pca"  # too few images for it


@pytest.mark.skipif(find_spec("umap") is None, reason="umap is not installed")
@pytest.mark.filterwarnings("ignore")  # its own
def test_umap_keeps_groups_apart() -> None:
    rng = np.random.default_rng(1)
    group = np.arange(90) % 3
    x = rng.normal(size=(90, 8)) + 20 * np.eye(8)[group]
    points = neighbours(x)
    assert np.array_equal(points, neighbours(x))
    centres = np.stack([points[group == g].mean(axis=0) for g in range(3)])
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == group).all()
