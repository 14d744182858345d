"""Statistics of many channels, against NumPy's own; and what near-copies are found by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.config import Data
from headstart.data.bands import Bands
from headstart.data.cache import Kept, identity, open_cache
from headstart.data.channels import bands_of, normalisation, shown
from headstart.data.near import NearCopies
from headstart.data.prints import as_grey
from headstart.data.sources.base import Found

pytestmark = pytest.mark.filterwarnings("error")


def files(folder: Path, images: np.ndarray) -> list[Found]:
    folder.mkdir(exist_ok=True)
    found = []
    for i, values in enumerate(images):
        path = folder / f"{i}.tif"
        tifffile.imwrite(path, values, photometric="minisblack")
        found.append(Found(f"unlabeled/{i}", str(path)))
    return found


def noise(count: int, channels: int, side: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4096, (count, channels, side, side)).astype(np.uint16)


@settings(max_examples=50, deadline=None)
@given(
    pixels=arrays.arrays(
        np.uint16,
        st.tuples(st.integers(1, 70), st.integers(1, 3), st.just(4), st.just(4)),
        elements=st.integers(0, 65535),
    ),
    data=st.data(),
)
def test_normalisation_is_numpys_mean_and_deviation(
    pixels: np.ndarray, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(pixels) - 1), min_size=1, unique=True))
    found = normalisation(pixels, np.array(rows))
    shares = pixels[rows].astype(np.float64) / 65535
    np.testing.assert_allclose(found.mean, shares.mean(axis=(0, 2, 3)), atol=1e-12)
    std = shares.std(axis=(0, 2, 3))
    wanted = np.where(std < 0.5 / 65535, 1.0, std)
    np.testing.assert_allclose(found.std, wanted, atol=1e-9)


def test_other_rows_are_no_part_of_it() -> None:
    pixels = noise(8, 4)
    rows = np.array([0, 3, 5])
    before = normalisation(pixels, rows)
    pixels[[1, 2, 4, 6, 7]] = 0
    assert normalisation(pixels, rows) == before


def test_a_channel_of_one_value_is_divided_by_1() -> None:
    pixels = noise(3, 2)
    pixels[:, 1] = 300
    found = normalisation(pixels, np.arange(3))
    assert found.std[1] == 1
    assert found.mean[1] == pytest.approx(300 / 65535)


def test_a_cache_of_channels_keeps_16_bits(tmp_path: Path) -> None:
    images = noise(5, 5)
    found = files(tmp_path / "in", images)
    bands = Bands(5)
    cache = open_cache(found, 24, tmp_path / "cache", kept=Kept(bands))
    assert cache.pixels.dtype == np.uint16
    np.testing.assert_array_equal(cache.pixels, images)
    again = open_cache(found, 24, tmp_path / "cache", kept=Kept(bands))
    np.testing.assert_array_equal(again.pixels, images)
    assert again.digests == cache.digests


def test_what_is_read_from_the_files_names_the_cache(tmp_path: Path) -> None:
    found = files(tmp_path / "in", noise(2, 3))
    kinds = [None, Bands(3), Bands(4), Bands(3, (0.0, 1.0))]
    assert len({identity(found, bands) for bands in kinds}) == len(kinds)


def test_a_file_with_other_channels_is_given_up_in_the_worker(tmp_path: Path) -> None:
    found = files(tmp_path / "in", noise(2, 5))
    found += files(tmp_path / "other", noise(1, 4))
    cache = open_cache(found, 24, tmp_path / "cache", kept=Kept(Bands(5)))
    assert cache.reasons == ("", "", "4 channels, and data.channels is 5")
    assert not cache.pixels[2].any()


def test_a_large_tiff_keeps_within_the_workers_memory(tmp_path: Path) -> None:
    """100 million values: 200 MB, scaled in strips; and 13 channels of 16 million."""
    rng = np.random.default_rng(0)
    row = rng.integers(0, 65535, (1, 1, 2000)).astype(np.uint16)
    large = np.broadcast_to(row, (13, 2000, 2000))
    found = files(tmp_path / "in", [large])  # type: ignore[arg-type]
    cache = open_cache(found, 16, tmp_path / "cache", kept=Kept(Bands(13)))
    assert cache.reasons == ("",)


def test_settings_to_bands() -> None:
    assert bands_of(Data()) is None
    assert bands_of(Data(channels=5)) == Bands(5)
    assert bands_of(Data(channels=1, value_range=(0, 4095))) == Bands(1, (0.0, 4095.0))


# --- grey pictures -----------------------------------------------------------------------------


def test_shown_is_the_first_channel_between_its_percentiles() -> None:
    photos = np.random.default_rng(1).random((3, 5, 20, 30)).astype(np.float32)
    photos[:, 0] = photos[:, 0] * 0.01 + 0.3  # dim, as 12 bits in 16 are
    grey = shown(photos)
    assert grey.shape == (3, 3, 20, 30)
    for image, one in zip(photos, grey, strict=True):
        low, high = np.percentile(image[0], (1, 99))
        wanted = np.clip((image[0] - low) / (high - low), 0, 1)
        for channel in one:
            np.testing.assert_allclose(channel, wanted, atol=1e-4)
    np.testing.assert_array_equal(shown(photos[1]), grey[1])


def test_shown_of_one_value_is_black() -> None:
    assert not shown(np.full((2, 4, 5, 5), 0.7, np.float32)).any()


def smooth(count: int, seed: int = 0) -> np.ndarray:
    """(N, 3, 40, 40) uint16 of a 12-bit camera: fields with a spectrum of 1/f, as photographs."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.fft.fftfreq(40), np.fft.fftfreq(40), indexing="ij")
    spectrum = np.fft.fft2(rng.normal(size=(count, 3, 40, 40))) / np.maximum(np.hypot(y, x), 0.02)
    fields = np.fft.ifft2(spectrum).real
    low, high = (fields.min(axis=(2, 3), keepdims=True), fields.max(axis=(2, 3), keepdims=True))
    return (100 + 3900 * (fields - low) / (high - low)).astype(np.uint16)


def test_near_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    images = smooth(12)
    rng = np.random.default_rng(5)
    noisy = (images[0] + rng.normal(0, 20, images[0].shape)).clip(0, 4095).astype(np.uint16)
    mirrored = images[1][:, :, ::-1]
    dim = images[2] // 16  # far darker than the rest, and no copy of any dim one
    dim_too = images[3][:, ::-1] // 16
    stack = np.stack([*images, noisy, mirrored, dim, dim_too])
    cache = open_cache(files(tmp_path / "in", stack), 40, tmp_path / "cache", kept=Kept(Bands(3)))
    pairs = NearCopies(cache).pairs(range(len(stack)))
    near = {(int(a), int(b)) for a, b in zip(pairs.a[pairs.near], pairs.b[pairs.near], strict=True)}
    assert near == {(0, 12), (1, 13), (2, 14)}


def test_grey_of_the_mean_over_channels() -> None:
    pixels = noise(3, 4)
    grey = as_grey(pixels)
    mean = pixels.astype(np.float64).mean(axis=1)
    for one, wanted in zip(grey, mean, strict=True):
        low, high = np.percentile(wanted, (1, 99))
        share = np.clip((wanted - low) / (high - low), 0, 1) * 255
        assert np.abs(one - share).max() <= 0.51
    flat = np.full((2, 2, 8, 8), 257 * 9, np.uint16)
    assert (as_grey(flat) == 9).all()
