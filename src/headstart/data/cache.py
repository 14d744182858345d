"""Every image decoded once, into a memory-mapped array that all arms, seeds and runs share.

A cache folder is named after the identity (name, size, time of change) of the files in it and the
side of its images. It is built in blocks, so that a build killed halfway goes on where it was; a
lock lets a second process wait for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data.decode import Decoded, decode
from headstart.data.scan import Found

Progress = Callable[[str, int, int], None]
VERSION = 1  # raised when decoding comes to give other pixels
BLOCK = 512  # images decoded between two records on disk


@dataclass(frozen=True)
class PixelCache:
    """Decoded images. Row ``i`` belongs to file ``i`` of the list it was built from.

    ``pixels`` (N, 3, S, S) uint8, memory-mapped; ``aspect`` (N,) float32 width over height;
    ``digests`` (N,) SHA-256 of the full pixels, "" where unreadable; ``reasons`` (N,) why not,
    "" where readable.
    """

    pixels: npt.NDArray[np.uint8]
    aspect: npt.NDArray[np.float32]
    digests: tuple[str, ...]
    reasons: tuple[str, ...]


def open_cache(
    files: Sequence[Found], side: int, folder: Path, progress: Progress | None = None
) -> PixelCache:
    """The cache of the given files with square images of ``side`` pixels, built where missing.

    Files that cannot be read get a row of zeros and a reason; none of them is fatal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / f"{side}px-{identity(files)[:16]}"
    with _locked(folder / f"{home.name}.lock"):
        if not ((home / "done.json").exists() and (home / "pixels.npy").exists()):
            _build(files, side, home, progress)
    table = json.loads((home / "done.json").read_text(encoding="utf8"))
    pixels = np.load(home / "pixels.npy", mmap_mode="r")
    aspect = np.array(table["aspect"], dtype=np.float32)
    return PixelCache(pixels, aspect, tuple(table["digests"]), tuple(table["reasons"]))


def identity(files: Sequence[Found]) -> str:
    """SHA-256 over the names, sizes and times of change of the files, and how they are decoded."""
    digest = hashlib.sha256(repr(VERSION).encode())
    for file in files:
        try:
            stat = os.stat(file.path)
            state = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        digest.update(repr((file.id, *state)).encode("utf8", "backslashreplace"))
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(files: Sequence[Found], side: int, home: Path, progress: Progress | None) -> None:
    home.mkdir(exist_ok=True)
    pixels = _open_pixels(home / "pixels.npy", (len(files), 3, side, side))
    records: list[dict[str, Any]] = []
    # Pillow warns about what it repairs; the warning filter is global, so it is set once here.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, len(files), BLOCK):
            record_path = home / f"block-{start:08d}.json"
            if record_path.exists():
                records += json.loads(record_path.read_text(encoding="utf8"))
                continue
            block = files[start : start + BLOCK]
            decoded = list(pool.map(lambda f: decode(Path(f.path), side), block))
            for row, item in enumerate(decoded, start):
                if isinstance(item, Decoded):
                    pixels[row] = item.pixels
            pixels.flush()
            block_records = [_record(item) for item in decoded]
            _write_json(record_path, block_records)
            records += block_records
            if progress:
                progress("reading images", len(records), len(files))
    table = {key: [r[key] for r in records] for key in ("aspect", "digests", "reasons")}
    _write_json(home / "done.json", table)
    for path in home.glob("block-*.json"):
        path.unlink()


def _record(item: Decoded | str) -> dict[str, Any]:
    if isinstance(item, str):
        return {"aspect": 1.0, "digests": "", "reasons": item}
    return {"aspect": item.width / item.height, "digests": item.digest, "reasons": ""}


def _open_pixels(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    try:
        # Read-only first: opened for writing, a file that was cut off is filled up with zeros.
        if np.load(path, mmap_mode="r").shape == shape:
            return np.lib.format.open_memmap(path, mode="r+")
    except (OSError, EOFError, ValueError):  # not there, or killed while it was being made
        pass
    for record in path.parent.glob("block-*.json"):  # they speak of pixels that are gone
        record.unlink()
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _write_json(path: Path, value: Any) -> None:
    """Written to a temporary name and moved into place: there is no half a file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf8")
    os.replace(part, path)
