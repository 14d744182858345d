"""Right pixels from any file, or one line that says why not."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headstart.data.decode import MAX_PIXELS, NO_MEMORY, Decoded, decode

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
    # Pillow before 13 reads YCbCr only where it is compressed, as such files are.
    how = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}
    assert np.ptp(good(saved(tmp_path / "any.tiff", image, **how)).pixels) > 50


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


# --- JPEG at a smaller scale -------------------------------------------------------------------


def exactly(path: Path, side: int) -> np.ndarray:
    """(3, side, side) floats: the whole picture decoded, upright, and resized without shortcuts."""
    with Image.open(path) as image:
        whole = ImageOps.exif_transpose(image).convert("RGB")
    small = whole.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small).transpose(2, 0, 1).astype(float)


def alike(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether only the finest detail differs, which a JPEG at a smaller scale keeps more of."""
    difference = pixels - expected
    return bool(np.abs(difference).mean() < 4 and np.abs(coarse(difference)).mean() < 1)


def coarse(pixels: np.ndarray) -> np.ndarray:
    """Means of boxes of 4x4 pixels; what is over at the edges is left out."""
    side = pixels.shape[-1] // 4
    return pixels[:, : 4 * side, : 4 * side].reshape(3, side, 4, side, 4).mean(axis=(2, 4))


def textured(height: int, width: int) -> np.ndarray:
    """A picture (H, W, 3) with colours, edges and fine detail."""
    noise = np.random.default_rng(1).integers(-8, 8, (height, width, 1))
    return np.clip(photo(height, width).astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", [20, 40, 80, 150, 300])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_scaled_jpeg_shows_what_the_whole_one_shows(
    tmp_path: Path, mode: str, side: int, progressive: bool
) -> None:
    image = Image.fromarray(textured(401, 300)).convert(mode)
    path = saved(tmp_path / "a.jpg", image, quality=90, progressive=progressive)
    found = good(path, side)
    assert (found.width, found.height) == (300, 401)
    assert alike(found.pixels, exactly(path, side))
    inverted = np.abs(255 - found.pixels.astype(float) - exactly(path, side)).mean()
    assert inverted > 20  # what a wrong reading of Adobe's CMYK would come near to


def test_four_colours_by_way_of_luminance_are_read(tmp_path: Path) -> None:
    """Adobe's YCCK: Pillow writes CMYK; its marker is changed to say YCCK, as Photoshop does."""
    path = saved(tmp_path / "a.jpg", Image.fromarray(textured(401, 300)).convert("CMYK"))
    content = path.read_bytes()
    assert content.count(b"Adobe\x00\x64\x00\x00\x00\x00\x00") == 1
    path.write_bytes(
        content.replace(b"Adobe\x00\x64\x00\x00\x00\x00\x00", b"Adobe\x00\x64\x00\x00\x00\x00\x02")
    )
    assert alike(good(path, 40).pixels, exactly(path, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_jpeg_is_upright_and_states_the_full_size(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", textured(400, 401), exif=exif, quality=95)
    found = good(path, 40)
    turned = orientation in (5, 6, 7, 8)
    assert (found.width, found.height) == ((400, 401) if turned else (401, 400))
    assert alike(found.pixels, exactly(path, 40))


def test_the_first_picture_of_several_in_one_jpeg(tmp_path: Path) -> None:
    frames = [Image.fromarray(textured(400, 300)), Image.new("RGB", (300, 400), "blue")]
    path = tmp_path / "two.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    found = good(path, 40)
    assert alike(found.pixels, exactly(path, 40))
    alone = saved(tmp_path / "one.jpg", textured(400, 300))
    assert np.abs(found.pixels.astype(int) - good(alone, 40).pixels).max() <= 1


# --- digests -----------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """The digest, which depends on no side."""
    first, second = (good(path, side).digest for side in (8, 40))
    assert first == second
    return first


def test_without_loss_copies_have_one_digest_and_others_have_another(tmp_path: Path) -> None:
    image = Image.fromarray(photo())
    copies = [saved(tmp_path / f"a.{kind}", image) for kind in ("png", "bmp", "tiff")]
    copies.append(saved(tmp_path / "a.webp", image, lossless=True))
    assert len({digest(path) for path in copies}) == 1
    assert digest(saved(tmp_path / "b.png", photo(seed=1))) != digest(copies[0])
    flat, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert digest(saved(tmp_path / "f.png", flat)) != digest(saved(tmp_path / "t.png", tall))
    grey = Image.fromarray(photo()).convert("L")
    rgb = saved(tmp_path / "rgb.png", grey.convert("RGB"))
    assert digest(saved(tmp_path / "l.png", grey)) == digest(rgb)


def test_the_digest_of_a_large_picture_is_that_of_all_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = textured(101, 37)
    path = saved(tmp_path / "a.png", pixels)
    expected = hashlib.sha256(b"(101, 37, 3)" + pixels.tobytes()).hexdigest()
    for strip in (1, 1000, 1 << 22):
        monkeypatch.setattr("headstart.data.decode._STRIP", strip)
        assert digest(path) == expected


def test_a_jpeg_without_its_metadata_is_a_copy(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    plain = saved(tmp_path / "plain.jpg", textured(400, 300))
    rich = saved(
        tmp_path / "rich.jpg",
        textured(400, 300),
        exif=exif,
        comment=b"a remark with \xff\xd9 in it",
        icc_profile=b"\xff\xd9 no profile" * 9000,
        dpi=(300, 300),
    )
    trailing = tmp_path / "trailing.jpg"
    trailing.write_bytes(rich.read_bytes() + b"\xff\xd8 a preview \xff\xd9" * 100)
    assert digest(plain) == digest(rich) == digest(trailing)
    assert np.array_equal(good(plain).pixels, good(rich).pixels)


def test_what_changes_the_pixels_of_a_jpeg_changes_its_digest(tmp_path: Path) -> None:
    image = Image.fromarray(textured(400, 300))
    plain = saved(tmp_path / "plain.jpg", image)
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [
        plain,
        saved(tmp_path / "turned.jpg", image, exif=exif),
        saved(tmp_path / "coarse.jpg", image, quality=60),
        saved(tmp_path / "progressive.jpg", image, progressive=True),
        saved(tmp_path / "other.jpg", textured(400, 300)[:, ::-1]),
        saved(tmp_path / "lossless.png", Image.open(plain)),
    ]
    cmyk = saved(tmp_path / "cmyk.jpg", image.convert("CMYK"))
    ycck = tmp_path / "ycck.jpg"  # only Adobe's segment differs, and with it all colours
    ycck.write_bytes(cmyk.read_bytes().replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"))
    paths += [cmyk, ycck]
    flipped = bytearray(plain.read_bytes())
    flipped[-1000] ^= 4
    (tmp_path / "flipped.jpg").write_bytes(flipped)
    paths.append(tmp_path / "flipped.jpg")
    assert len({digest(path) for path in paths}) == len(paths)
    exif[0x0112] = 99  # says nothing, as 1 does
    assert digest(saved(tmp_path / "99.jpg", image, exif=exif)) == digest(plain)


def test_a_picture_that_fills_the_memory_is_refused_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("headstart.data.decode.to_rgb", full)
    assert decode(saved(tmp_path / "a.png", photo()), 16) == NO_MEMORY


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
    refused(tmp_path, "not a file")


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "not a file")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    refused(tmp_path / "zero.jpg", "not a file")


def test_a_format_that_runs_another_program_is_refused(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    path = tmp_path / "figure.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with Image.open(path) as image:
        assert image.format == "EPS"
    refused(path, "UnidentifiedImageError")


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
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.jpg"))
    path.write_bytes(b"nothing")
    assert refused(path).encode("utf8")


# --- 111 odd files that were met in the wild ---------------------------------------------------


def independently(path: Path, side: int) -> np.ndarray:
    """(3, side, side) floats by torchvision where it reads the file, else by Pillow in full."""
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2.functional import resize

    with Image.open(path) as image:
        plain = image.format == "JPEG" or not image.getexif()  # torchvision knows EXIF of JPEG only
        plain &= image.format in ("JPEG", "PNG") and image.mode in ("RGB", "L", "P")
        deep, seen = image.mode in ("F", "I;16"), "transparency" in image.info
        turned = image.getexif().get(0x0112, 1)
        if deep:
            values = np.asarray(image).astype(float)
            values = UPRIGHT.get(turned, UPRIGHT[1])(values)
            low, high = values.min(), values.max()
            if image.mode == "I;16":
                low, high = 0, 2 ** max(8, 2 * math.ceil(math.log2(high + 1) / 2)) - 1
            grey = (values - low) / max(high - low, 1e-12) * 255
            return resized(np.repeat(grey[None], 3, 0), side)
        upright = ImageOps.exif_transpose(image)
    if plain and not seen:
        raw = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
        try:
            pixels = decode_image(raw, ImageReadMode.RGB, apply_exif_orientation=True)
        except RuntimeError:  # stricter with what is torn or unusual
            pass
        else:
            pixels = pixels / (257 if pixels.dtype == torch.uint16 else 1)
            return resize(pixels, [side, side], antialias=True).numpy()
    white = Image.new("RGBA", upright.size, "white")
    whole = Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return resized(np.asarray(whole).transpose(2, 0, 1).astype(float), side)


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """(3, H, W) to (3, side, side) by torch's antialiased bilinear filter."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(pixels))[None]
    return torch.nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True)[
        0
    ].numpy()


@pytest.mark.skipif(not NASTY.exists(), reason="needs ../shared/data/nasty.tar")
@pytest.mark.filterwarnings("ignore")  # the cache silences what Pillow says of repaired files
def test_odd_files_from_the_wild(tmp_path: Path) -> None:
    with tarfile.open(NASTY) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "nasty"
    with (root / "manifest.csv").open(encoding="utf8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if (root / row["name"]).is_file()]
    assert len(rows) == 111
    used = 0
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
        if isinstance(decoded, Decoded):
            used += 1
            fine = decode(root / row["name"], 96)
            assert isinstance(fine, Decoded)
            # A JPEG at a smaller scale keeps more of the finest detail; all else must agree.
            difference = coarse(fine.pixels) - coarse(independently(root / row["name"], 96))
            # One is torn into stripes of black and white, and clipped elsewhere at another scale.
            torn = row["name"] == "metadata/hopper_bad_exif.jpg"
            assert np.abs(difference).mean() < (5 if torn else 1), row["name"]
        if row["category"] == "constant":
            assert isinstance(decoded, Decoded)
            assert np.ptp(decoded.pixels) == 0
        elif row["category"] in ("bitdepth", "cmyk_lab", "orientation", "names"):
            assert isinstance(decoded, str) or np.ptp(decoded.pixels) > 10, row["name"]
    assert used == 72
