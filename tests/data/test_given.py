"""Data sets handed over in Python become files that read as the images they were."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from headstart.config import StudyError
from headstart.data.given import stored
from headstart.data.scan import Found, find_labeled, find_unlabeled

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 12, 3), dtype=np.uint8)


class Pairs(torch.utils.data.Dataset[Any]):
    """Images of one kind, with numbers for classes."""

    classes = ("tote", "clutch/evening")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        made = {
            "pillow": lambda x: Image.fromarray(x),
            "array": lambda x: x,
            "tensor of bytes": lambda x: torch.from_numpy(x).permute(2, 0, 1),
            "tensor from 0 to 1": lambda x: torch.from_numpy(x).permute(2, 0, 1) / 255,
        }
        return made[self.kind](PIXELS[i]), torch.tensor(i % 2)


def pixels(found: Found) -> np.ndarray:
    assert found.read is not None
    return np.asarray(Image.open(io.BytesIO(found.read())))


@pytest.mark.parametrize("kind", ["pillow", "array", "tensor of bytes", "tensor from 0 to 1"])
def test_a_torch_data_set_keeps_pixels_and_classes(kind: str, tmp_path: Path) -> None:
    found = find_labeled(stored(Pairs(kind), "labeled", tmp_path, labeled=True))
    by_number = sorted(found, key=lambda f: f.id.rpartition("/")[2])
    assert [f.label for f in by_number] == ["tote", "clutch_evening"] * 3
    for f, expected in zip(by_number, PIXELS, strict=True):
        np.testing.assert_array_equal(pixels(f), expected)


def test_a_hugging_face_data_set_is_saved_under_its_fingerprint(tmp_path: Path) -> None:
    rows = {"image": [Image.fromarray(x) for x in PIXELS], "label": ["a", "b"] * 3}
    kinds = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"]))
    data = datasets.Dataset.from_dict({"image": rows["image"], "label": [0, 1] * 3}, features=kinds)
    place = stored(data, "labeled", tmp_path, labeled=True)
    found = find_labeled(place)
    assert [f.label for f in found] == rows["label"]
    np.testing.assert_array_equal(pixels(found[4]), PIXELS[4])
    assert stored(data, "labeled", tmp_path, labeled=True) == place


def test_the_same_images_leave_the_file_as_it_is(tmp_path: Path) -> None:
    first = stored(Pairs("array"), "unlabeled", tmp_path, labeled=False)
    before = first.stat().st_mtime_ns
    assert stored(Pairs("pillow"), "unlabeled", tmp_path, labeled=False) == first
    assert first.stat().st_mtime_ns == before
    assert len(find_unlabeled(first)) == len(PIXELS)
    stored([PIXELS[0]], "unlabeled", tmp_path, labeled=False)
    assert len(find_unlabeled(first)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["unlabeled.zip"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (7, "int is no path and no data set"),
        ([PIXELS[0]], "item 0 has no class"),
        ([(PIXELS[0] - 300.0, "a")], "leave out the normalisation"),
        ([("photo.jpg", "a")], "item 0 is no image"),
        ([(np.zeros((2, 2, 2, 2)), "a")], "item 0 is no image"),
    ],
)
def test_what_is_no_data_set_is_one_line(data: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=rf"^labeled: .*{told}"):
        stored(data, "labeled", tmp_path, labeled=True)
    assert not list(tmp_path.iterdir())
