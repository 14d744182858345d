"""Broken image files by the hundred: each is used or refused with one line, whatever is in it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.cache import PixelCache, open_cache
from headstart.data.scan import Found, find_unlabeled

SIDE = 24
EXTREME = [b"\0", b"\xff", b"\x7f", b"\0\0", b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"]
EXTREME += [b"\0\0\0\0", b"\0\0\0\1", b"\1\0\0\0", b"\x80\0\0\0", b"\0\0\xff\xff"]


def bases() -> dict[str, bytes]:
    """Small whole files of every kind that is read, by a name with their extension."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    rgb = coarse.resize((52, 40), Image.Resampling.BICUBIC)
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made: list[tuple[str, str, Image.Image, dict[str, object]]] = [
        ("plain.jpg", "JPEG", rgb, {"exif": exif}),
        ("progressive.jpg", "JPEG", rgb, {"progressive": True, "subsampling": 0}),
        ("grey.jpg", "JPEG", rgb.convert("L"), {"comment": b"remark"}),
        ("cmyk.jpg", "JPEG", rgb.convert("CMYK"), {}),
        ("several.jpg", "MPO", rgb, more),
        ("plain.png", "PNG", rgb, {"exif": exif}),
        ("alpha.png", "PNG", alpha, {}),
        ("palette.png", "PNG", rgb.quantize(30), {"transparency": 3}),
        ("deep.png", "PNG", deep, {}),
        ("moving.png", "PNG", rgb, more),
        ("moving.gif", "GIF", rgb, more),
        ("plain.bmp", "BMP", rgb, {}),
        ("palette.bmp", "BMP", rgb.quantize(16), {}),
        ("plain.tif", "TIFF", rgb, {}),
        ("lzw.tif", "TIFF", deep, {"compression": "tiff_lzw"}),
        ("deflate.tif", "TIFF", alpha, {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", "TIFF", rgb, {"compression": "jpeg"}),
        ("fax.tif", "TIFF", rgb.convert("1"), {"compression": "group4"}),
        ("lossy.webp", "WEBP", rgb, {"exif": exif}),
        ("lossless.webp", "WEBP", alpha, {"lossless": True}),
        ("moving.webp", "WEBP", rgb, more),
    ]
    found = {}
    for name, kind, image, how in made:
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        found[name] = buffer.getvalue()
    return found


# --- ways to break a file ----------------------------------------------------------------------

Rng = np.random.Generator


def flip_bits(content: bytearray, other: bytes, rng: Rng) -> None:
    for _ in range(int(rng.integers(1, 12))):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def cut(content: bytearray, other: bytes, rng: Rng) -> None:
    del content[rng.integers(len(content)) :]


def splice(content: bytearray, other: bytes, rng: Rng) -> None:
    """The head of one file on the tail of another, of any kind."""
    content[rng.integers(len(content)) :] = other[rng.integers(len(other)) :]


def field(content: bytearray, other: bytes, rng: Rng) -> None:
    """Extreme numbers in the header: sizes, counts, offsets."""
    for _ in range(int(rng.integers(1, 4))):
        value = EXTREME[rng.integers(len(EXTREME))]
        place = int(rng.integers(min(len(content), 400)))
        content[place : place + len(value)] = value


def blank(content: bytearray, other: bytes, rng: Rng) -> None:
    place, size = int(rng.integers(len(content))), int(rng.integers(1, 300))
    content[place : place + size] = bytes(len(content[place : place + size]))


def repeat(content: bytearray, other: bytes, rng: Rng) -> None:
    place, size = int(rng.integers(len(content))), int(rng.integers(1, 300))
    content[place:place] = content[place : place + size] * int(rng.integers(1, 20))


def noise(content: bytearray, other: bytes, rng: Rng) -> None:
    place = int(rng.integers(len(content)))
    size = len(content[place : place + int(rng.integers(1, 100))])
    content[place : place + size] = rng.bytes(size)


WAYS: list[Callable[[bytearray, bytes, Rng], None]]
WAYS = [flip_bits, cut, splice, field, blank, repeat, noise]


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of broken files; the same for the same seed."""
    whole = bases()
    names = sorted(whole)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        name, other = names[i % len(names)], names[rng.integers(len(names))]
        content = bytearray(whole[name])
        ways = rng.choice(len(WAYS), size=int(rng.integers(1, 3)), replace=False)
        for way in ways:
            if content:
                WAYS[way](content, whole[other], rng)
        yield f"{i:06d}-{name}", bytes(content)


def written(folder: Path, count: int, seed: int) -> list[Found]:
    folder.mkdir()
    for name, content in mutants(count, seed):
        (folder / name).write_bytes(content)
    return find_unlabeled(folder)


def judged(cache: PixelCache, files: list[Found]) -> Counter[str]:
    """How many were used, and why the others were not, after every row was checked."""
    outcomes: Counter[str] = Counter()
    for pixels, aspect, digest, reason in zip(
        cache.pixels, cache.aspect, cache.digests, cache.reasons, strict=True
    ):
        if reason:
            assert reason.isprintable()
            assert len(reason) < 300
            assert not pixels.any()
            assert digest == ""
        else:
            assert len(digest) == 64
            assert 0 < aspect < np.inf
        outcomes[reason.partition(":")[0] or "used"] += 1
    assert sum(outcomes.values()) == len(files)
    return outcomes


def test_every_whole_file_is_used(tmp_path: Path) -> None:
    """Else there would be nothing to break."""
    for name, content in bases().items():
        (tmp_path / name).write_bytes(content)
    files = find_unlabeled(tmp_path)
    assert len(files) == 21
    cache = open_cache(files, SIDE, tmp_path / "cache")
    assert judged(cache, files) == {"used": 21}
    assert all(np.ptp(row) > 50 for row in cache.pixels)


def test_mutants_depend_on_the_seed_alone() -> None:
    assert list(mutants(50, 1)) == list(mutants(50, 1)) != list(mutants(50, 2))


def test_broken_files_are_used_or_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path / "in", 500, seed=1)
    outcomes = judged(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert outcomes["used"] > 50
    assert sum(outcomes.values()) - outcomes["used"] > 150
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_very_many_broken_files_are_used_or_refused(tmp_path: Path) -> None:
    files = written(tmp_path / "in", 5000, seed=2)
    outcomes = judged(open_cache(files, 96, tmp_path / "cache"), files)
    for reason, count in outcomes.most_common():
        print(f"{count:6d} {reason}")
    assert outcomes["used"] > 500


@pytest.mark.slow
def test_a_check_of_very_many_broken_files(bags: Path, tmp_path: Path) -> None:
    count = len(written(tmp_path / "in", 5000, seed=3))
    command = [sys.executable, "-m", "headstart", "check", "--labeled", bags / "labeled"]
    command += ["--unlabeled", tmp_path / "in", "--out", tmp_path / "out"]
    command += ["--set", "encoder.image_size=48", "--set", "engine.device=cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    card = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf8"))["data"]
    print(done.stderr, card["removed"])
    assert card["removed"]["unreadable"] > 1000
    lines = (tmp_path / "out" / "quarantine.csv").read_text(encoding="utf8").splitlines()
    assert len(lines) == 1 + card["removed"]["unreadable"] < count
