"""Data sets of torchvision by name, from folders that the tests lay out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import StudyError
from headstart.data.scan import find_labeled, find_unlabeled
from mnist_files import write_mnist

pytest.importorskip("torchvision")


@pytest.fixture
def mnist(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with the files of MNIST, and the images in them."""
    return tmp_path, write_mnist(tmp_path)


def test_its_parts_are_the_splits_and_its_pixels_the_pixels(
    mnist: tuple[Path, dict[str, np.ndarray]],
) -> None:
    root, images = mnist
    found = find_labeled(Path(f"torchvision:MNIST@{root}"))
    assert [f.split for f in found] == ["train"] * 20 + ["test"] * 10
    assert found[3].label == "3 - three"
    assert found[3].id == "labeled/train/0000003"
    for f, pixels in ((found[3], images["train"][3]), (found[-1], images["t10k"][-1])):
        assert f.read is not None
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(f.read()))), pixels)


def test_a_pool_needs_no_classes(mnist: tuple[Path, dict[str, np.ndarray]]) -> None:
    pool = find_unlabeled(Path(f"torchvision:MNIST@{mnist[0]}"))
    assert len(pool) == 30
    assert {(f.label, f.split) for f in pool} == {("", "")}
    assert len({f.state() for f in pool}) == 30


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NoSuch", "torchvision has no data set 'NoSuch'"),
        ("FakeData", "not to be fetched"),
        ("ImageFolder", "not in .*, and not to be fetched"),
    ],
)
def test_a_mistake_is_one_line(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=rf"^--labeled torchvision:{name}.*{told}") as caught:
        find_labeled(Path(f"torchvision:{name}@{tmp_path / 'none'}"))
    assert "\n" not in str(caught.value)
