"""Data sets of torchvision by name, from folders that the tests lay out."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import StudyError
from headstart.data.scan import find_labeled, find_unlabeled

pytest.importorskip("torchvision")


@pytest.fixture
def mnist(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """The four files of MNIST with 20 and 10 images of our own, and those images."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = {}
    for part, count in (("train", 20), ("t10k", 10)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes(i % 10 for i in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
        images[part] = pixels
    return tmp_path, images


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
