"""Images whose channels are no colours: every layout gives the same values, scaled as stated."""

from __future__ import annotations

import builtins
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from test_fuzz import WAYS, judged
from torch.nn import functional as F

from headstart.data import bands as module
from headstart.data.bands import Bands, decode_bands
from headstart.data.cache import Kept, open_cache
from headstart.data.decode import Decoded
from headstart.data.sources.base import Found
from headstart.data.worker import Task

SIDE = 16


def read(path: Path, channels: int, side: int = SIDE, value_range: Any = None) -> Decoded:
    found = decode_bands(path, side, Bands(channels, value_range))
    assert isinstance(found, Decoded), found
    return found


def refused(path: Path, channels: int, value_range: Any = None) -> str:
    found = decode_bands(path, SIDE, Bands(channels, value_range))
    assert isinstance(found, str)
    assert "\n" not in found
    return found


def noise(channels: int, kind: Any = np.uint16, h: int = 24, w: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.dtype(kind).kind == "f":
        return rng.random((channels, h, w)).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, (channels, h, w), dtype=kind, endpoint=True)


def npy(path: Path, values: np.ndarray) -> Path:
    np.save(path, values, allow_pickle=False)
    return path


def reference(values: np.ndarray, low: float, high: float, side: int) -> np.ndarray:
    """Scaling by NumPy, squashing by torch's antialiased resize in float64."""
    shares = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    x = torch.from_numpy(shares)[None]
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)[0].numpy()


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (np.uint8, 0, 255),
        (np.int8, -128, 127),
        (np.uint16, 0, 65535),
        (np.int16, -32768, 32767),
        (np.float32, 0, 1),
        (np.float64, 0, 1),
    ],
)
def test_values_are_shares_of_the_range_of_their_type(
    kind: type, low: int, high: int, tmp_path: Path
) -> None:
    values = noise(3, kind)
    found = read(npy(tmp_path / "a.npy", values), 3)
    assert found.pixels.dtype == np.uint16
    wanted = reference(values, low, high, SIDE)
    np.testing.assert_allclose(found.pixels / 65535, wanted, atol=2 / 65535)


@settings(max_examples=40, deadline=None)
@given(
    values=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
        st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    ),
    limits=st.tuples(st.integers(-9, 9), st.integers(1, 9)),
)
def test_a_value_range_is_0_to_1_and_the_rest_is_clipped(
    values: np.ndarray, limits: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = npy(tmp_path_factory.mktemp("any") / "a.npy", values.transpose(1, 2, 0))
    low, high = float(limits[0]), float(limits[0] + limits[1])
    channels = len(values)
    found = decode_bands(path, 7, Bands(channels, (low, high)))
    if not np.isfinite(values.astype(np.float64)).all():
        assert isinstance(found, str)
        return
    if isinstance(found, str):  # the one shape that can be read in two ways
        assert "may be (C, H, W) or (H, W, C)" in found
        assert values.shape[1] == channels
        return
    wanted = reference(values, low, high, 7)
    np.testing.assert_allclose(found.pixels / 65535, wanted, atol=2 / 65535)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_layouts_of_tiff_hold_the_same_values(
    planar: Any, kind: type, compression: str | None, tmp_path: Path
) -> None:
    values = noise(5, kind)
    wanted = read(npy(tmp_path / "a.npy", values), 5)
    laid = values if planar == "separate" else values.transpose(1, 2, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, laid, photometric="minisblack", planarconfig=planar, compression=compression
    )
    found = read(path, 5)
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    assert (found.width, found.height) == (20, 24)
    assert found.digest == wanted.digest


def test_pages_are_channels(tmp_path: Path) -> None:
    values = noise(5)
    wanted = read(npy(tmp_path / "a.npy", values), 5).pixels
    plain, imagej, ome, big = (tmp_path / f"{name}.tif" for name in ("plain", "ij", "ome", "big"))
    with tifffile.TiffWriter(plain) as file:  # nothing but pages
        for page in values:
            file.write(page, photometric="minisblack", metadata=None, contiguous=False)
    tifffile.imwrite(imagej, values, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(ome, values[:, None], ome=True, metadata={"axes": "CZYX"})
    tifffile.imwrite(big, values, bigtiff=True, byteorder=">", photometric="minisblack")
    for path in (plain, imagej, ome, big):
        np.testing.assert_array_equal(read(path, 5).pixels, wanted, err_msg=path.name)


def test_tiled_and_one_channel(tmp_path: Path) -> None:
    values = noise(1, h=40, w=50)
    wanted = read(npy(tmp_path / "a.npy", values[0]), 1)
    tifffile.imwrite(tmp_path / "a.tif", values[0], tile=(16, 16), photometric="minisblack")
    found = read(tmp_path / "a.tif", 1)
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    assert found.digest == wanted.digest


def test_both_orders_of_axes_in_an_array(tmp_path: Path) -> None:
    values = noise(4)
    first = read(npy(tmp_path / "chw.npy", values), 4)
    last = read(npy(tmp_path / "hwc.npy", values.transpose(1, 2, 0)), 4)
    fortran = read(npy(tmp_path / "f.npy", np.asfortranarray(values)), 4)
    big = read(npy(tmp_path / "big.npy", values.astype(">u2")), 4)
    for other in (last, fortran, big):
        np.testing.assert_array_equal(other.pixels, first.pixels)
        assert other.digest == first.digest


def test_grey_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    values = noise(1)
    Image.fromarray(values[0]).save(tmp_path / "a.png")
    wanted = read(npy(tmp_path / "a.npy", values), 1)
    found = read(tmp_path / "a.png", 1)
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    assert found.digest == wanted.digest


def test_8_bit_pictures_of_one_three_and_four_channels(tmp_path: Path) -> None:
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        values = noise(channels, np.uint8)
        Image.fromarray(values.transpose(1, 2, 0).squeeze(), mode).save(tmp_path / "a.png")
        found = read(tmp_path / "a.png", channels).pixels
        np.testing.assert_allclose(found / 65535, reference(values, 0, 255, SIDE), atol=2 / 65535)


def test_low_bits_of_16_are_kept(tmp_path: Path) -> None:
    """A camera of 12 bits in 16-bit words: 8 bits would leave 16 steps of its 4,096."""
    values = np.arange(256, dtype=np.uint16).reshape(1, SIDE, SIDE) * 16
    found = read(npy(tmp_path / "a.npy", values), 1).pixels
    assert len(np.unique(found)) == 256
    np.testing.assert_array_equal(found, values)


def test_exif_turns_a_grey_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(1, np.uint8)[0]).save(tmp_path / "a.png", exif=exif)
    found = read(tmp_path / "a.png", 1)
    assert (found.width, found.height) == (24, 20)


# --- what is refused ---------------------------------------------------------------------------


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(4), photometric="minisblack")
    assert refused(tmp_path / "a.tif", 5) == "4 channels, and data.channels is 5"
    npy(tmp_path / "a.npy", noise(4))
    assert "(4, 24, 20), and data.channels is 5" in refused(tmp_path / "a.npy", 5)
    npy(tmp_path / "b.npy", noise(1)[0])
    assert refused(tmp_path / "b.npy", 5) == "1 channel, and data.channels is 5"
    Image.fromarray(noise(1, np.uint8)[0]).save(tmp_path / "a.png")
    assert refused(tmp_path / "a.png", 3) == "1 channel, and data.channels is 3"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("value_range", [None, (0, 1)])
def test_values_that_are_no_numbers_are_refused(
    bad: float, value_range: Any, tmp_path: Path
) -> None:
    values = noise(5, np.float32)
    values[4, 23, 19] = bad
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    assert refused(tmp_path / "a.tif", 5, value_range) == (
        "holds values that are no numbers (NaN or infinite)"
    )


def test_ranges_that_nobody_stated_are_refused(tmp_path: Path) -> None:
    values = noise(2, np.float32) * 300
    assert "set data.value_range" in refused(npy(tmp_path / "a.npy", values), 2)
    assert "set data.value_range" in refused(npy(tmp_path / "b.npy", values.astype(np.int32)), 2)
    read(tmp_path / "a.npy", 2, value_range=(0, 300))
    read(tmp_path / "b.npy", 2, value_range=(0, 300))


def test_an_array_that_may_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    path = npy(tmp_path / "a.npy", np.zeros((4, 9, 4), np.uint8))
    assert "may be (C, H, W) or (H, W, C)" in refused(path, 4)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.zeros((2, 3), np.complex64), "complex64"),
        (np.zeros((2, 3, 4, 5), np.uint8), "shape (2, 3, 4, 5)"),
        (np.zeros(7, np.uint8), "shape (7,)"),
        (np.zeros((0, 3), np.uint8), "without pixels"),
        (np.array([["a", "b"]]), "<U1"),
        (np.zeros((2, 2), [("x", "u1")]), "no plain numbers"),
    ],
)
def test_arrays_that_are_no_image_are_refused(
    values: np.ndarray, word: str, tmp_path: Path
) -> None:
    assert word in refused(npy(tmp_path / "a.npy", values), 1)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "ran").touch, ())

    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.array([[Boom()]], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", 1)
    assert not (tmp_path / "ran").exists()


def test_too_large_by_its_stated_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [npy(tmp_path / "a.npy", noise(5)), tmp_path / "a.tif", tmp_path / "a.png"]
    tifffile.imwrite(paths[1], noise(5), photometric="minisblack")
    Image.fromarray(noise(1)[0]).save(paths[2])
    monkeypatch.setattr(module, "MAX_PIXELS", 24 * 20 - 1)
    for path in paths:
        assert refused(path, 5).startswith("too large: 20 x 24 pixels")
    monkeypatch.setattr(module, "MAX_PIXELS", 24 * 20)
    monkeypatch.setattr(module, "MOST_BYTES", 24 * 20 * 10 - 1)
    for path in paths[:2]:
        assert "MiB of values" in refused(path, 5)


def test_more_than_one_axis_of_channels_is_refused(tmp_path: Path) -> None:
    values = np.zeros((2, 3, 9, 8), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    assert refused(tmp_path / "a.tif", 3).startswith("axes ZCYX of 2 x 3 x 9 x 8")


def test_colours_without_measured_values_are_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(noise(1, np.uint8)[0])
    grey.convert("P").save(tmp_path / "p.png")
    assert "kind P" in refused(tmp_path / "p.png", 1)
    grey.convert("CMYK").save(tmp_path / "c.jpg")
    assert "kind CMYK" in refused(tmp_path / "c.jpg", 4)
    tifffile.imwrite(
        tmp_path / "p.tif",
        noise(1, np.uint8)[0],
        photometric="palette",
        colormap=np.zeros((3, 256), np.uint16),
    )
    assert "palette" in refused(tmp_path / "p.tif", 1)


def test_a_png_of_deep_colours_is_not_cut_to_8_bits(tmp_path: Path) -> None:
    """Pillow would read it as 8 bits without a word; Pillow cannot write one either."""
    rgb = Image.new("RGB", (4, 4))
    content = io.BytesIO()
    rgb.save(content, "PNG")
    header = bytearray(content.getvalue())
    header[24] = 16  # bit depth in IHDR; its checksum is not looked at before
    import zlib

    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(header)
    assert "16-bit colours" in refused(tmp_path / "a.png", 3)


def test_without_tifffile_the_reason_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5), photometric="minisblack")
    true_import = builtins.__import__

    def no_tifffile(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tifffile":
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_tifffile)
    assert refused(tmp_path / "a.tif", 5).endswith("pip install 'headstart[tiff]'")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_broken_files_get_a_reason_and_never_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(data.draw(st.sampled_from(_whole_files())))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path_factory.mktemp("broken") / "a.bin"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = decode_bands(path, 4, Bands(5))
    if isinstance(found, str):
        assert found
        assert found.isprintable()
    else:
        assert found.pixels.shape == (5, 4, 4)


def _whole_files() -> list[bytes]:
    values = noise(5, h=6, w=7)
    made = []
    for laid, options in (
        (values, {"planarconfig": "separate"}),
        (values, {"compression": "zlib"}),
        (values.transpose(1, 2, 0), {"planarconfig": "contig"}),
    ):
        content = io.BytesIO()
        tifffile.imwrite(content, laid, photometric="minisblack", **options)
        made.append(content.getvalue())
    content = io.BytesIO()
    np.save(content, values)
    return [*made, content.getvalue()]


@pytest.mark.parametrize("layout", range(4))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_refused(layout: int, share: float, tmp_path: Path) -> None:
    content = _whole_files()[layout]
    path = tmp_path / "a.bin"
    path.write_bytes(content[: int(share * len(content))])
    refused(path, 5)


def test_a_named_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.tif")
    assert refused(tmp_path / "a.tif", 5) == "not a file"


def test_a_worker_is_told_all_of_it() -> None:
    for bands in (None, Bands(5), Bands(13, (0.0, 10_000.0))):
        task = Task("pixels", 128, SIDE, bands=bands)
        back = Task.from_json(task.to_json())
        assert json.loads(back.to_json()) == json.loads(task.to_json())
        assert (back.bands is None) == (bands is None)


# --- broken files by the hundred, in worker processes --------------------------------------------


def mutants(folder: Path, count: int) -> list[Found]:
    """Broken TIFFs and arrays; the same every time."""
    folder.mkdir()
    whole = [*_whole_files(), *_more_files()]
    found = []
    for i in range(count):
        rng = np.random.default_rng([7, i])
        content, other = bytearray(whole[i % len(whole)]), whole[rng.integers(len(whole))]
        for way in rng.choice(len(WAYS), size=int(rng.integers(1, 3)), replace=False):
            if content:
                WAYS[way](content, other, rng)
        path = folder / f"{i:05d}.tif"
        path.write_bytes(content)
        found.append(Found(f"unlabeled/{path.name}", str(path)))
    return found


def _more_files() -> list[bytes]:
    values, made = noise(5, h=40, w=50), []
    for options in ({"tile": (16, 16)}, {"bigtiff": True}, {"imagej": True}, {"predictor": True}):
        content = io.BytesIO()
        more = {"metadata": {"axes": "CYX"}} if "imagej" in options else {}
        more |= {"compression": "zlib"} if "predictor" in options else {}
        tifffile.imwrite(content, values, photometric="minisblack", **options, **more)
        made.append(content.getvalue())
    return made


def test_whole_ones_are_used(tmp_path: Path) -> None:
    found = []
    for i, content in enumerate([*_whole_files(), *_more_files()]):
        (tmp_path / f"{i}.tif").write_bytes(content)
        found.append(Found(str(i), str(tmp_path / f"{i}.tif")))
    cache = open_cache(found, SIDE, tmp_path / "cache", kept=Kept(Bands(5)))
    assert judged(cache, found) == {"used": 8}


@pytest.mark.parametrize("count", [240, pytest.param(5000, marks=pytest.mark.slow)])
def test_broken_ones_are_used_or_refused(
    count: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = mutants(tmp_path / "in", count)
    outcomes = judged(open_cache(found, SIDE, tmp_path / "cache", kept=Kept(Bands(5))), found)
    assert outcomes["used"] > count // 20
    assert count - outcomes["used"] > count // 5
    assert capfd.readouterr() == ("", "")
    with capfd.disabled():
        if count > 1000:
            print(outcomes.most_common())
