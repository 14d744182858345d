"""Right pixels from any file, or one line that says why not."""

from __future__ import annotations

import csv
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import MAX_PIXELS, Decoded, decode

NASTY = Path(__file__).parents[2] / ".." / "shared" / "data" / "nasty.tar"


def photo(height: int = 24, width: int = 36, seed: int = 0) -> np.ndarray:
    """A smooth colour picture (H, W, 3) uint8 without any symmetry."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def saved(path: Path, image: Image.Image | np.ndarray, **how: object) -> Path:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **how)
    return path


def good(path: Path, side: int = 16) -> Decoded:
    decoded = decode(path, side)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.pixels.shape == (3, side, side)
    assert decoded.pixels.dtype == np.uint8
    return decoded


def full(path: Path, height: int, width: int) -> np.ndarray:
    """The decoded pixels without any resize, (H, W, 3); for square pictures only."""
    assert height == width
    return good(path, height).pixels.transpose(1, 2, 0)


def refused(path: Path, *words: str) -> str:
    reason = decode(path, 16)
    assert isinstance(reason, str)
    assert reason
    assert "\n" not in reason
    assert all(word in reason for word in words), reason
    return reason


def test_a_plain_picture_is_squashed_to_a_square_and_keeps_its_shape(tmp_path: Path) -> None:
    pixels = photo(24, 36)
    decoded = good(saved(tmp_path / "a.png", pixels), 12)
    assert (decoded.width, decoded.height) == (36, 24)
    # A box of 3x2 pixels has about the mean of the antialiased cell, for a smooth picture.
    boxes = pixels.reshape(12, 2, 12, 3, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(decoded.pixels - boxes).mean() < 6
    assert np.array_equal(full(saved(tmp_path / "b.png", photo(20, 20)), 20, 20), photo(20, 20))


# What a viewer does for each EXIF orientation, to the stored pixels.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.png", photo(24, 36), exif=exif)
    upright = np.ascontiguousarray(UPRIGHT[orientation](photo(24, 36)))
    expected = good(saved(tmp_path / "upright.png", upright))
    found = good(path)
    assert (found.width, found.height) == (upright.shape[1], upright.shape[0])
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.digest == expected.digest


def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    path = saved(tmp_path / "99.png", photo(), exif=exif)
    assert good(path).digest == good(saved(tmp_path / "plain.png", photo())).digest


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_is_seen_in_its_own_depth(tmp_path: Path, bits: int) -> None:
    grey = np.linspace(0, 2**bits - 1, 400).reshape(20, 20).astype(np.uint16)
    found = full(saved(tmp_path / "grey.png", grey), 20, 20)
    expected = np.round(grey / (2**bits - 1) * 255)
    assert np.abs(found - expected[..., None]).max() <= 1
    assert found.min() == 0
    assert found.max() == 255


def test_floating_grey_is_scaled_by_its_own_range(tmp_path: Path) -> None:
    grey = np.linspace(-3, 5, 400, dtype=np.float32).reshape(20, 20)
    found = full(saved(tmp_path / "float.tiff", grey), 20, 20)
    assert (found.min(), found.max()) == (0, 255)
    grey[0, 0] = np.nan  # a dead pixel does not blacken the picture
    assert isinstance(decode(saved(tmp_path / "nan.tiff", grey), 16), Decoded)
    constant = np.full((20, 20), 7, dtype=np.float32)
    assert np.ptp(full(saved(tmp_path / "constant.tiff", constant), 20, 20)) == 0


def test_cmyk_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    cmyk = Image.fromarray(photo(20, 20)).convert("CMYK")
    path = saved(tmp_path / "cmyk.tiff", cmyk)
    assert np.array_equal(full(path, 20, 20), np.asarray(cmyk.convert("RGB")))
    path = saved(tmp_path / "cmyk.jpg", cmyk, quality=95)
    assert np.abs(full(path, 20, 20).astype(int) - photo(20, 20)).mean() < 8


def half_transparent(path: Path, mode: str) -> np.ndarray:
    """Save a picture whose right half is wholly transparent over black; what it looks like."""
    image = Image.fromarray(photo(20, 20))
    if mode == "P":
        image = image.quantize(200)
        shown = np.array(image.convert("RGB"))
        image.putpalette([*image.getpalette()[: 3 * 200], *[0] * 3 * 56])
        image.paste(255, (10, 0, 20, 20))
        image.save(path, transparency=255)
    else:
        image = image.convert("L" if mode == "LA" else "RGB")
        shown = np.array(image.convert("RGB"))
        alpha = Image.new("L", (20, 20), 255)
        alpha.paste(0, (10, 0, 20, 20))
        image.paste(0, (10, 0, 20, 20))
        image.putalpha(alpha)
        image.save(path)
    shown[:, 10:] = 255
    return shown


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    shown = half_transparent(tmp_path / "alpha.png", mode)
    assert np.array_equal(full(tmp_path / "alpha.png", 20, 20), shown)


def test_what_is_half_transparent_is_half_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "half.png", Image.new("RGBA", (16, 16), (200, 100, 0, 51)))
    mixed = np.array([200, 100, 0]) * 0.2 + 255 * 0.8
    assert np.abs(full(path, 16, 16) - mixed).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "LAB", "I", "F", "I;16"])
def test_every_mode_that_a_tiff_holds_is_read(tmp_path: Path, mode: str) -> None:
    rgb = Image.fromarray(photo(20, 20))
    image = rgb.convert("L").convert(mode) if mode[0] in "IF1" else rgb
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")
    elif image.mode != mode:
        image = rgb.convert(mode)
    assert np.ptp(good(saved(tmp_path / "any.tiff", image)).pixels) > 50


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
def test_the_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    colours = ["red", "lime", "blue"]
    frames = [Image.new("RGB", (20, 20), colour) for colour in colours]
    how: dict[str, object] = {"lossless": True} if kind == "webp" else {}
    path = tmp_path / f"moving.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **how)
    assert np.array_equal(full(path, 20, 20), np.full((20, 20, 3), (255, 0, 0)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (2, 3)])
def test_extreme_shapes(tmp_path: Path, shape: tuple[int, int]) -> None:
    decoded = good(saved(tmp_path / "thin.png", photo(*shape)), 32)
    assert (decoded.height, decoded.width) == shape


def test_the_digest_is_of_the_pixels_and_their_shape(tmp_path: Path) -> None:
    jpeg = saved(tmp_path / "a.jpg", photo())
    with Image.open(jpeg) as image:
        as_png = saved(tmp_path / "a.png", image.copy())
        as_bmp = saved(tmp_path / "a.bmp", image.copy())
        as_webp = saved(tmp_path / "a.webp", image.copy(), lossless=True)
    digests = {
        good(path, side).digest for path in (jpeg, as_png, as_bmp, as_webp) for side in (8, 16)
    }
    assert len(digests) == 1
    assert good(saved(tmp_path / "b.jpg", photo(), quality=60)).digest not in digests
    flat, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert (
        good(saved(tmp_path / "f.png", flat)).digest != good(saved(tmp_path / "t.png", tall)).digest
    )
    grey = Image.fromarray(photo()).convert("L")
    assert (
        good(saved(tmp_path / "l.png", grey)).digest
        == good(saved(tmp_path / "rgb.png", grey.convert("RGB"))).digest
    )


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"whole.{kind}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff\xe0",
        b"<!DOCTYPE html><title>404</title>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"\0" * 4096,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    refused(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "gone.jpg", "FileNotFoundError", "No such file")
    refused(tmp_path, "IsADirectoryError")


def test_a_bomb_is_refused_by_its_stated_size_without_being_decoded(tmp_path: Path) -> None:
    side = 20_000  # 400 million pixels, 50 MB even at one bit each
    assert side**2 > MAX_PIXELS
    small = io.BytesIO()
    Image.new("1", (8, 8)).save(small, "BMP")
    header = bytearray(small.getvalue())
    header[18:22] = header[22:26] = side.to_bytes(4, "little")
    path = tmp_path / "bomb.bmp"
    path.write_bytes(header)
    tracemalloc.start()
    reason = refused(path, "too large", f"{side} x {side} pixels")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert reason.endswith("more than 100 million")


def test_a_picture_just_below_the_limit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", photo(10, 10))
    monkeypatch.setattr("headstart.data.decode.MAX_PIXELS", 100)
    good(path)
    monkeypatch.setattr("headstart.data.decode.MAX_PIXELS", 99)
    refused(path, "too large: 10 x 10 pixels")


def test_a_reason_is_printable_whatever_the_name(tmp_path: Path) -> None:
    import os

    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.jpg"))
    path.write_bytes(b"nothing")
    assert refused(path).encode("utf8")


# --- 111 odd files that were met in the wild ---------------------------------------------------


@pytest.mark.skipif(not NASTY.exists(), reason="needs ../shared/data/nasty.tar")
@pytest.mark.filterwarnings("ignore")  # the cache silences what Pillow says of repaired files
def test_odd_files_from_the_wild(tmp_path: Path) -> None:
    with tarfile.open(NASTY) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "nasty"
    with (root / "manifest.csv").open(encoding="utf8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if (root / row["name"]).is_file()]
    assert len(rows) == 111
    for row in rows:
        decoded = decode(root / row["name"], 32)
        too_large = row["category"] == "bomb" or row["name"] == "corrupt_other/badwidth.bmp"
        if row["pillow_result"] == "ok" and not too_large:
            assert isinstance(decoded, Decoded), (row["name"], decoded)
            shape = (decoded.width, decoded.height)
            stored = (int(row["w"]), int(row["h"]))
            turned = int(row["exif_orientation"] or 0) in (5, 6, 7, 8)
            assert shape == (stored[::-1] if turned else stored), row["name"]
        else:
            assert isinstance(decoded, str), row["name"]
            assert len(decoded.splitlines()) == 1, row["name"]
        if too_large and "Bomb" in row["pillow_result"] + row["warnings"]:
            assert str(decoded).startswith("too large: "), row["name"]
        if row["category"] == "constant":
            assert isinstance(decoded, Decoded)
            assert np.ptp(decoded.pixels) == 0
        elif row["category"] in ("bitdepth", "cmyk_lab", "orientation", "names"):
            assert isinstance(decoded, str) or np.ptp(decoded.pixels) > 10, row["name"]
