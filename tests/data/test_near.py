"""Near-copies: found where they are, not found where they are not, among many and among strange."""

from __future__ import annotations

import errno
import io
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from headstart.config import StudyError
from headstart.data import near as near_module
from headstart.data.cache import PixelCache, open_cache
from headstart.data.hamming import near_hashes
from headstart.data.near import (
    MOST,
    NearCopies,
    look_alikes,
)
from headstart.data.prints import prints, thumbnails
from headstart.data.scan import find_labeled, find_unlabeled

CLOTHING = Path(__file__).parents[3] / "shared" / "data" / "clothing_small_160.tar"


def photo(seed: int, size: tuple[int, int] = (90, 110)) -> Image.Image:
    """A picture with shapes, colours and some grain; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / 100
    picture = np.full((size[1], size[0], 3), rng.uniform(40, 200, 3))
    for _ in range(7):
        a, b, c, d = rng.uniform(0, 1, 4)
        shape = ((x - a) / (0.05 + c / 2)) ** 2 + ((y - b) / (0.05 + d / 2)) ** 2 < 1
        picture[shape] = rng.uniform(0, 255, 3)
    picture += rng.normal(0, 6, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def resized(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)))


def cached(images: list[Image.Image], side: int = 60) -> PixelCache:
    squares = [np.asarray(im.resize((side, side), Image.Resampling.BILINEAR)) for im in images]
    pixels = np.stack(squares).transpose(0, 3, 1, 2)
    aspect = np.array([im.width / im.height for im in images], np.float32)
    nothing = ("",) * len(images)
    pixels = np.ascontiguousarray(pixels)
    return PixelCache(pixels, aspect, nothing, nothing, prints(pixels))


# --- hashes ------------------------------------------------------------------------------------


def test_the_hash_is_that_of_a_slow_dct() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 3, 64, 64), dtype=np.uint8)  # 64: each cell is 2 × 2 pixels
    found = prints(pixels)
    for i, image in enumerate(pixels.astype(float)):
        grey = np.tensordot([0.299, 0.587, 0.114], image, 1)
        small = grey.reshape(32, 2, 32, 2).mean((1, 3))
        for hashed, square in ((found.hashes[i], small), (found.mirrored[i], small[:, ::-1])):
            low = dctn(square, type=2)[:8, :8]
            bits = (low > np.median(low)).ravel()
            got = np.unpackbits(np.array([hashed]).view(np.uint8)).astype(bool)
            assert (bits != got).sum() == 0


@pytest.mark.parametrize("side", [20, 32, 50])
def test_thumbnails_are_means_over_areas(side: int) -> None:
    """Against every pixel repeated until cells and pixels fit."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (2, 3, side, side), dtype=np.uint8)
    grown = pixels.repeat(32, axis=2).repeat(32, axis=3).astype(float)
    expected = grown.reshape(2, 3, 32, side, 32, side).mean((3, 5))
    assert np.abs(thumbnails(pixels) - expected).max() <= 0.51


def test_no_images_have_no_prints_and_no_pairs() -> None:
    empty = np.zeros((0, 3, 20, 20), np.uint8)
    assert len(prints(empty).hashes) == 0
    finder = NearCopies(PixelCache(empty, np.zeros(0, np.float32), (), ()))
    assert len(finder.pairs([])) == 0


# --- copies of photos --------------------------------------------------------------------------

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda im: jpeg(im, 40),
    "half": lambda im: resized(im, 0.5),
    "doubled": lambda im: resized(im, 2),
    "squashed": lambda im: jpeg(im.resize((80, 80)), 70),
    "mirrored": ImageOps.mirror,
    "mirrored, smaller, recompressed": lambda im: jpeg(resized(ImageOps.mirror(im), 0.7), 60),
    "brighter": lambda im: im.point(lambda v: min(255, int(v * 1.1))),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_and_nothing_else(name: str) -> None:
    photos = [photo(seed) for seed in range(30)]
    finder = NearCopies(cached([*photos, *(COPIES[name](im) for im in photos[:10])]))
    pairs = finder.pairs(range(30), range(30, 40))
    near = pairs.take(pairs.near)
    assert near.a.tolist() == list(range(10))
    assert near.b.tolist() == list(range(30, 40))
    assert near.mirrored.tolist() == [name.startswith("mirrored")] * 10
    within = finder.pairs(range(40))
    assert [(a, b) for a, b in zip(within.a, within.b, strict=True)] == [
        (i, 30 + i) for i in range(10)
    ]


def test_only_candidates_are_read_again() -> None:
    """And each of them once: where images are decoded anew, that is what a search costs."""
    photos = [photo(seed) for seed in range(30)]
    cache = cached([*photos, jpeg(photos[4], 40)])
    read: list[int] = []

    class Watched(PixelCache):
        def take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
            read.extend(rows.tolist())
            return super().take(rows, out)

    watched = Watched(cache.pixels, cache.aspect, cache.digests, cache.reasons, cache.prints)
    finder = NearCopies(watched)
    for _ in range(2):
        pairs = finder.pairs(range(31))
        near = pairs.take(pairs.near)
        assert (near.a.tolist(), near.b.tolist()) == ([4], [30])
    assert {4, 30} <= set(read)
    assert len(read) == len(set(read)) < 15


def test_no_room_for_thumbnails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(near_module._Thumbnails, "_write", full)
    photos = [photo(1), photo(1)]
    with pytest.raises(StudyError, match=r"tmp.*: No space left on device"):
        NearCopies(cached(photos), folder=tmp_path).pairs(range(2))


def test_look_alikes_are_no_copies() -> None:
    """One thing on one table, with another print on it: the hashes agree, the pixels do not."""
    rng = np.random.default_rng(0)
    shirt = np.asarray(photo(3)).astype(float)
    made = []
    for _ in range(6):
        other = shirt.copy()
        other[40:70, 30:60] = rng.uniform(0, 255, 3)
        made.append(Image.fromarray(other.astype(np.uint8)))
    pairs = NearCopies(cached(made)).pairs(range(6))
    hashes = cached(made).prints.hashes
    assert sum(len(i) for i, _, _ in near_hashes(hashes, hashes, 6)) > len(made)
    assert not pairs.near.any()


def test_a_stricter_distance_finds_less() -> None:
    im = photo(1)
    images = [im, jpeg(im, 8), im.copy()]
    finder = NearCopies(cached(images), distance=0)
    pairs = finder.pairs([0], [1, 2])
    assert pairs.near[pairs.b == 2].all()
    assert (pairs.distance[pairs.near] == 0).all()


def test_another_colour_is_another_image() -> None:
    im = photo(2)
    red, green, blue = im.split()
    swapped = Image.merge("RGB", (blue, red, green))
    darker = im.point(lambda v: v // 3)
    assert not NearCopies(cached([im, swapped, darker])).pairs([0], [1, 2]).near.any()


def test_the_order_of_rows_changes_no_pair() -> None:
    photos = [photo(seed) for seed in range(6)]
    finder = NearCopies(cached([*photos, *(jpeg(im, 50) for im in photos)]))
    order = np.random.default_rng(0).permutation(12).tolist()
    one, other = finder.pairs(range(12)), finder.pairs(order)
    assert np.array_equal(one.a, other.a)
    assert np.array_equal(one.b, other.b)
    assert np.allclose(one.correlation, other.correlation)


# --- images with nothing in them ---------------------------------------------------------------


def flat(colour: tuple[int, int, int], noise: float = 0.0, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = np.array(colour) + rng.normal(0, noise, (60, 60, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def test_flat_images_are_paired_by_their_colour_only() -> None:
    white = [flat((255, 255, 255)), flat((255, 255, 254)), flat((255, 255, 255), 0.6, 2)]
    others = [flat((0, 0, 0)), flat((240, 240, 240)), flat((255, 255, 230)), photo(0)]
    finder = NearCopies(cached([*white, *others]))
    pairs = finder.pairs(range(7))
    assert [(int(a), int(b)) for a, b in zip(pairs.a, pairs.b, strict=True)] == [(0, 1), (0, 2)]
    assert pairs.near.all()
    across = finder.pairs([3, 6, 0], [1, 4, 5])
    assert [(int(a), int(b)) for a, b in zip(across.a, across.b, strict=True)] == [(0, 1)]


def test_faint_images_are_judged_by_what_is_on_them() -> None:
    """Dark skies: deviations of a few levels, but not the same stars."""
    rng = np.random.default_rng(0)
    skies = []
    for _ in range(8):
        sky = np.full((60, 60, 3), 9.0)
        for y, x in rng.integers(0, 56, (12, 2)):
            sky[y : y + 4, x : x + 4] += 25
        skies.append(Image.fromarray(sky.astype(np.uint8)))
    finder = NearCopies(cached([*skies, skies[2].copy()]))
    pairs = finder.pairs(range(9))
    assert [(int(a), int(b)) for a, b in zip(pairs.a, pairs.b, strict=True)] == [(2, 8)]


def test_thousands_of_equal_images_make_no_square_of_pairs() -> None:
    blank = np.full((3000, 3, 20, 20), 255, np.uint8)
    im = np.asarray(photo(5).resize((20, 20))).transpose(2, 0, 1)
    same = np.stack([im] * 1000)
    nothing = ("",) * 4000
    pixels, aspect = np.concatenate([blank, same]), np.ones(4000, np.float32)
    cache = PixelCache(pixels, aspect, nothing, nothing, prints(pixels))
    finder = NearCopies(cache)
    started = time.perf_counter()
    pairs = finder.pairs(range(4000))
    assert time.perf_counter() - started < 15
    assert pairs.near.all()
    assert len(pairs) <= 3000 + 1000 * MOST
    assert set(pairs.a.tolist()) | set(pairs.b.tolist()) == set(range(4000))  # nobody is forgotten
    first = {3000 + i for i in range(MOST)}
    assert all(a < 3000 or a in first for a in pairs.a.tolist())


# --- real photos -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clothing(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    if not CLOTHING.exists():
        pytest.skip("the clothing photos are not here")
    import tarfile

    folder = tmp_path_factory.mktemp("clothing")
    with tarfile.open(CLOTHING) as archive:
        members = [m for m in archive.getmembers() if "/test/" in m.name and m.isfile()]
        archive.extractall(folder, members, filter="data")
    paths = sorted(folder.rglob("*.jpg"))
    assert len(paths) == 372
    return [Image.open(path).convert("RGB") for path in paths]


def test_real_photos_are_no_copies_of_each_other(clothing: list[Image.Image]) -> None:
    pairs = NearCopies(cached(clothing, 80)).pairs(range(len(clothing)))
    assert not pairs.near.any()  # none of 69,006 pairs


@pytest.mark.parametrize("name", ["recompressed", "mirrored", "half", "squashed"])
def test_copies_of_real_photos_are_found(clothing: list[Image.Image], name: str) -> None:
    some = clothing[::4]
    finder = NearCopies(cached([*some, *(COPIES[name](im) for im in some)], 80))
    n = len(some)
    pairs = finder.pairs(range(n), range(n, 2 * n))
    near = pairs.take(pairs.near)
    assert np.array_equal(near.b - near.a, np.full(n, n))


def test_generated_bags_are_no_copies_of_each_other(bags: Path, tmp_path: Path) -> None:
    files = find_labeled(bags / "labeled") + find_unlabeled(bags / "unlabeled")
    cache = open_cache(files, 60, tmp_path)
    assert not NearCopies(cache).pairs(range(len(files))).near.any()


# --- features ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("most", [3, 1000])
def test_look_alikes_are_the_first_of_all_cosines(chunk: int, most: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 4)).astype(np.float32)
    b = np.concatenate([a[:10] * 3 + 0.01, rng.normal(size=(15, 4)), np.zeros((1, 4))])
    b = b.astype(np.float32)
    found = look_alikes(a, b, 0.9, most, chunk)
    cosines = {
        (x, y): a[x] @ b[y] / np.linalg.norm(a[x]) / np.linalg.norm(b[y])
        for x in range(30)
        for y in range(25)
    }
    expected = sorted((p for p in cosines if cosines[p] >= 0.9), key=lambda p: -cosines[p])
    assert found.count == len(expected)
    assert found.cosine == pytest.approx([cosines[p] for p in expected[:most]], abs=1e-6)
    assert set(zip(found.i.tolist(), found.j.tolist(), strict=True)) == set(expected[:most])
    assert {(x, x) for x in range(10)} <= set(expected)


def test_a_collapsed_encoder_fills_no_memory() -> None:
    """Every image like every other: 4 million pairs are counted, 100 are kept."""
    x = np.ones((2000, 2), np.float32)
    tracemalloc.start()
    try:
        found = look_alikes(x, x, 0.95, 100, chunk=100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.count == 4_000_000
    assert found.i.tolist() == [0] * 100
    assert found.j.tolist() == list(range(100))
    assert peak < 10_000_000  # all pairs would take 96 MB
