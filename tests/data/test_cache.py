"""The pixel cache: built once, whoever asks and whatever happens meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import cache as cache_module
from headstart.data.cache import PixelCache, identity, open_cache
from headstart.data.decode import Decoded, decode
from headstart.data.scan import Found, find_unlabeled

SIDE = 16


def photos(folder: Path, count: int) -> list[Found]:
    """``count`` different pictures of different shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (20 + i % 5, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return find_unlabeled(folder)


def counted(monkeypatch: pytest.MonkeyPatch, fail_at: str = "") -> list[str]:
    """Names of the files that are decoded from now on; at ``fail_at`` the power goes out."""
    seen: list[str] = []

    def watched(path: Path, side: int) -> Decoded | str:
        if fail_at and path.name == fail_at:
            raise KeyboardInterrupt
        seen.append(path.name)
        return decode(path, side)

    monkeypatch.setattr(cache_module, "decode", watched)
    return seen


def check(cache: PixelCache, files: list[Found]) -> None:
    """Every row is what decoding its file gives."""
    assert cache.pixels.shape == (len(files), 3, SIDE, SIDE)
    assert cache.pixels.dtype == np.uint8
    for i, file in enumerate(files):
        decoded = decode(Path(file.path), SIDE)
        if isinstance(decoded, str):
            assert cache.reasons[i] == decoded
            assert cache.digests[i] == ""
            assert not cache.pixels[i].any()
        else:
            assert cache.reasons[i] == ""
            assert cache.digests[i] == decoded.digest
            assert cache.aspect[i] == np.float32(decoded.width / decoded.height)
            assert np.array_equal(cache.pixels[i], decoded.pixels)


def test_rows_belong_to_files_and_are_built_only_where_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 12)
    seen = counted(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)
    assert sorted(seen) == [Path(f.path).name for f in files]
    again = open_cache(files, SIDE, tmp_path / "cache")
    assert len(seen) == 12
    check(again, files)
    assert not again.pixels.flags.writeable


def test_another_side_or_list_is_another_cache(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 4)
    open_cache(files, SIDE, tmp_path / "cache")
    assert open_cache(files, 8, tmp_path / "cache").pixels.shape == (4, 3, 8, 8)
    fewer = open_cache(files[:3], SIDE, tmp_path / "cache")
    check(fewer, files[:3])
    homes = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert len(homes) == 3


def test_a_changed_file_has_another_identity(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    before = identity(files)
    assert identity(files) == before
    path = Path(files[1].path)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = identity(files)
    assert touched != before
    path.write_bytes(path.read_bytes() + b"\0")  # as old as before, but longer
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    longer = identity(files)
    assert longer not in (before, touched)
    path.unlink()
    assert identity(files) not in (before, touched, longer)
    assert identity(files[::-1]) != identity(files)


def test_changed_pixels_are_read_again(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    open_cache(files, SIDE, tmp_path / "cache")
    Image.new("RGB", (30, 20), "red").save(files[1].path)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


@pytest.mark.parametrize("fail_at", ["000.png", "005.png", "011.png"])
def test_a_build_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: str
) -> None:
    files = photos(tmp_path / "in", 12)
    monkeypatch.setattr(cache_module, "BLOCK", 2)
    counted(monkeypatch, fail_at)
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, SIDE, tmp_path / "cache")
    seen = counted(monkeypatch)
    told: list[tuple[str, int, int]] = []
    cache = open_cache(files, SIDE, tmp_path / "cache", lambda *now: told.append(now))
    first = int(fail_at[:3]) // 2 * 2
    assert sorted(seen) == [f"{i:03d}.png" for i in range(first, 12)]
    assert told == [("reading images", n, 12) for n in range(first + 2, 13, 2)]
    check(cache, files)
    assert not list((tmp_path / "cache").glob("*/block-*"))


def test_a_pixel_file_that_was_cut_off_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(tmp_path / "in", 6)
    monkeypatch.setattr(cache_module, "BLOCK", 2)
    counted(monkeypatch, "004.png")
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, SIDE, tmp_path / "cache")
    (pixels,) = (tmp_path / "cache").glob("*/pixels.npy")
    for kept in (0, 40, 400):
        pixels.write_bytes(pixels.read_bytes()[:kept])
        counted(monkeypatch, "004.png")
        with pytest.raises(KeyboardInterrupt):
            open_cache(files, SIDE, tmp_path / "cache")
    counted(monkeypatch)
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


def test_pixels_that_were_deleted_are_read_again(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 3)
    open_cache(files, SIDE, tmp_path / "cache")
    next((tmp_path / "cache").glob("*/pixels.npy")).unlink()
    check(open_cache(files, SIDE, tmp_path / "cache"), files)


def test_unreadable_files_have_a_reason_and_are_not_fatal(tmp_path: Path) -> None:
    photos(tmp_path / "in", 4)
    (tmp_path / "in" / "001.png").write_bytes(b"")
    (tmp_path / "in" / "002.png").unlink()
    (tmp_path / "in" / "002.png").symlink_to(tmp_path / "gone.png")
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / "in" / name).write_bytes(b"<html>")
    files = find_unlabeled(tmp_path / "in")
    cache = open_cache(files, SIDE, tmp_path / "cache")
    check(cache, files)
    assert [bool(reason) for reason in cache.reasons] == [False, True, True, False, True]
    assert cache.aspect[1] == 1


def test_what_pillow_warns_of_is_silent(tmp_path: Path) -> None:
    """A palette whose transparency is bytes makes Pillow warn; nobody wants it 10,000 times."""
    files = photos(tmp_path / "in", 2)

    def warns(path: Path, side: int) -> Decoded | str:
        warnings.warn("Palette images with Transparency", UserWarning, stacklevel=1)
        return decode(path, side)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(cache_module, "decode", warns)
        check(open_cache(files, SIDE, tmp_path / "cache"), files)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def _open(files: list[Found], folder: Path, report: Callable[[int], None]) -> None:
    done = 0

    def count(what: str, now: int, total: int) -> None:
        nonlocal done
        done += 1

    check(open_cache(files, SIDE, folder, count), files)
    report(done)


def test_two_processes_at_once_build_it_once(tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 40)
    context = multiprocessing.get_context("fork")
    reports = context.SimpleQueue()
    twins = [
        context.Process(target=_open, args=(files, tmp_path / "cache", reports.put))
        for _ in range(2)
    ]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(60)
    assert [twin.exitcode for twin in twins] == [0, 0]
    assert sorted([reports.get(), reports.get()]) == [0, 1]  # one built, one waited
