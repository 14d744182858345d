"""Images are chosen by rule; pictures are small, drawn on one scale, and outline the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.stages.explain.gallery import ALIKE, RANDOM, UNLIKE, choose
from headstart.stages.explain.pictures import (
    SIDE,
    Column,
    coloured,
    draw_map,
    draw_photo,
    draw_sheet,
    scale,
)


def test_most_and_least_alike_are_shown_beside_images_at_random() -> None:
    alike = np.array([0.1, np.nan, 0.9, 0.5, 0.4, 0.8, 0.2, 0.6, 0.3])
    chosen = choose(alike, 6)
    assert {i for i, why in chosen.items() if why == ALIKE} == {2, 5}
    assert {i for i, why in chosen.items() if why == UNLIKE} == {0, 6}
    assert sum(why == RANDOM for why in chosen.values()) == 2
    assert next(iter(chosen.values())) == RANDOM


def test_without_any_pair_of_maps_all_are_at_random() -> None:
    assert set(choose(np.full(5, np.nan), 3).values()) == {RANDOM}
    assert choose(np.zeros(4), 0) == {}


@given(st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), max_size=20), st.integers(0, 9))
def test_as_many_different_images_as_asked_or_all(alike: list[float], count: int) -> None:
    assert len(choose(np.array(alike), count)) == min(count, len(alike))


def test_one_scale_for_all_maps_whatever_their_size() -> None:
    rng = np.random.default_rng(0)
    values, photo = rng.normal(0, 1, (32, 32)).astype(np.float32), np.full((3, 32, 32), 0.5)
    np.testing.assert_allclose(coloured(values, photo), coloured(1000 * values, photo), atol=1e-3)
    assert scale(1000 * values) == pytest.approx(1000 * scale(values), rel=1e-5)


def test_a_map_of_zeros_is_a_grey_picture_and_signs_have_colours(tmp_path: Path) -> None:
    photo = np.full((3, 32, 32), 0.5, np.float32)
    zeros = np.zeros((32, 32), np.float32)
    half = zeros.copy()
    half[:, :16], half[:, 16:] = 1.0, -1.0
    with Image.open(draw_map(zeros, photo, tmp_path / "zeros.png")) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels == pixels[0, 0, 0]).all()
    with Image.open(draw_map(half, photo, tmp_path / "half.png")) as picture:
        assert picture.size == (SIDE, SIDE)
        red, _, blue = np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)
    assert (red[:, :40] > blue[:, :40]).all()
    assert (red[:, -40:] < blue[:, -40:]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half.png", "zeros.png"]


def test_the_mask_is_a_line_around_the_object(tmp_path: Path) -> None:
    photo, mask = np.full((3, 32, 32), 0.5, np.float32), np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    with Image.open(draw_photo(photo, tmp_path / "a.png", mask)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    green = (pixels[..., 1] - pixels[..., 0]) > 60
    middle = SIDE // 2
    assert green[middle].sum() in (2, 3, 4)  # once on the left, once on the right
    assert not green[middle, middle]
    assert not green[0].any()


def test_a_sheet_has_room_for_every_picture_and_cuts_long_names(tmp_path: Path) -> None:
    picture = np.zeros((16, 16, 3))
    columns = [Column(("a very long name of an arm that cannot fit", "x"), (picture,) * 2)] * 3
    with Image.open(draw_sheet(["one", "two"], columns, tmp_path / "s.png", side=40)) as sheet:
        assert sheet.width > 3 * 40
        assert sheet.height > 2 * 40
        assert (np.asarray(sheet.convert("L"))[60:70, 155:185] == 0).all()
