"""index: two folders of files -> which image plays which part, and every pixel decoded once."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from headstart.config import StudyError
from headstart.data.bands import NEEDS_TIFFFILE, Bands
from headstart.data.cache import Kept, PixelCache, identity, open_cache
from headstart.data.channels import bands_of, endings_of, normalisation
from headstart.data.groups import read_groups
from headstart.data.near import NearCopies
from headstart.data.scan import Found, find_labeled, find_unlabeled
from headstart.data.splits import Indexed, NearPair, Related, limit_files, sort_images
from headstart.reporting.safe import csv_row
from headstart.runtime.run import Dataset, Run, pool_parts
from headstart.stages.index.card import DataCard, copy_lists, data_card, write_card
from headstart.stats.power import detectable_difference, effective_images
from headstart.store import Entry, write_text
from headstart.types import DatasetIndex, Ints

__all__ = ["DataCard", "copy_lists", "data_card", "index", "write_card"]


def index(run: Run) -> Dataset:
    """Find, decode and part the images of a study.

    Raises:
        StudyError: no images, fewer than two classes, no test images, a pool too small.
    """
    data, size = run.study.data, run.study.encoder.image_size
    bands = bands_of(data)
    files = _find(run, bands)
    groups = _groups(data.groups, files)
    side = run.study.cached_side
    kept = Kept(bands, data.cache_budget)
    cache = open_cache(files, side, run.cache, run.tell.progress, run.tell.line, kept)
    settings = {
        "files": identity(files, bands),
        "side": side,
        "readable": [not reason for reason in cache.reasons],
        "split": data.split,
        "split_seed": data.split_seed,
        "train_joins_pool": data.train_joins_pool,
        "near": data.near_distance if data.near_duplicates else None,
        "groups": groups,
    }
    entry = run.store.entry("index", "images", settings)

    def work() -> dict[str, Any]:
        related = Related(_near(run, entry, cache) if data.near_duplicates else None, groups)
        indexed = sort_images(files, cache.digests, data, data.split_seed, related)
        _require_usable(indexed, run, next(filter(None, cache.reasons), ""))
        indexed.index.save(entry.folder)
        _write_lists(entry, files, cache, indexed)
        return {**_info(indexed), **_of_channels(run, cache, indexed)}

    entry.make(work)
    index = DatasetIndex.load(entry.folder)
    return Dataset(entry, index, cache, size, run.engine, bands, _shards(files))


def _shards(files: Sequence[Found]) -> Ints | None:
    """The shard of each file (N,), as numbers, −1 for none; None where none lies in a shard."""
    numbers = {shard: n - 1 for n, shard in enumerate(sorted({"", *(f.shard for f in files)}))}
    return np.array([numbers[f.shard] for f in files], np.int64) if len(numbers) > 1 else None


def _of_channels(run: Run, cache: PixelCache, indexed: Indexed) -> dict[str, Any]:
    """How encoders normalise channels that are no colours: by the images that are pretrained on."""
    if run.study.data.channels == "rgb":
        return {}
    index = indexed.index
    pool = index.rows[index.where(*pool_parts(run.study.data.train_joins_pool))]
    return {"normalisation": asdict(normalisation(cache.pixels, pool))}


def _find(run: Run, bands: Bands | None) -> list[Found]:
    data = run.study.data
    if data.labeled is None:
        raise StudyError("--labeled: a folder with one folder of images for each class is needed")
    endings = endings_of(bands)
    files = find_labeled(data.labeled, run.folder, endings, run.cache)
    if data.unlabeled is not None:
        files = find_unlabeled(data.unlabeled, run.folder, endings, run.cache) + files
    if bands and find_spec("tifffile") is None and any(map(_is_tiff, files)):
        raise StudyError(f"data.channels {bands.channels}: {NEEDS_TIFFFILE}")
    return limit_files(files, data.limit) if data.limit else files


def _is_tiff(file: Found) -> bool:
    return file.path.lower().endswith((".tif", ".tiff"))


def _groups(spec: str | None, files: Sequence[Found]) -> tuple[str, ...]:
    """The group of each file: as asked, else as its source gives it; nothing where none has one."""
    if spec:
        return read_groups(spec, files)
    given = tuple(file.group for file in files)
    return given if any(given) else ()


def _near(run: Run, entry: Entry, cache: PixelCache) -> NearCopies:
    return NearCopies(cache, run.study.data.near_distance, entry.folder, run.tell.progress)


def _require_usable(indexed: Indexed, run: Run, reason: str) -> None:
    """``reason``: why the first unreadable image is one."""
    data, index = run.study.data, indexed.index
    unreadable = len(indexed.removed.get("unreadable", ()))
    why = f"; the first: {reason}" if reason else ""
    for split in ("train", "validation", "test"):
        if not len(index.where(split)):
            raise StudyError(
                f"--labeled {data.labeled}: no usable {split} images ({unreadable} unreadable"
                f"{why}); give each class more images that can be read"
            )
    trained = set(index.labels[index.where("train")].tolist())
    for number, name in enumerate(index.classes.tolist()):
        if number not in trained:
            raise StudyError(f"--labeled {data.labeled}: class '{name}' has no training image")
    pool = index.where(*pool_parts(data.train_joins_pool))
    if len(pool) < 4:
        raise StudyError(
            f"--unlabeled {data.unlabeled}: only {len(pool)} usable images to pretrain on; "
            "at least 4 are needed, thousands are useful"
        )


def _info(indexed: Indexed) -> dict[str, Any]:
    index = indexed.index
    counts = Counter(index.splits.tolist())
    by_class = Counter(zip(index.labels.tolist(), index.splits.tolist(), strict=True))
    parts = ("train", "validation", "test")
    support = [by_class[c, "test"] for c in range(len(index.classes))]
    return {
        "counts": {split: counts[split] for split in ("pool", *parts)},
        "classes": [
            {"name": name, **{split: by_class[c, split] for split in parts}}
            for c, name in enumerate(index.classes.tolist())
        ],
        "split": indexed.split,
        "removed": {reason: len(ids) for reason, ids in sorted(indexed.removed.items())},
        "near_duplicates": _near_info(indexed),
        "crossing": indexed.crossing,
        "detectable_difference": detectable_difference(effective_images(support)),
        "digest": str(index.digest),
    }


def _near_info(indexed: Indexed) -> dict[str, int]:
    """Images removed as near-copies, pairs to review, groups kept together, labels that differ."""
    return {
        "removed": sum(len(ids) for reason, ids in indexed.removed.items() if "_near_" in reason),
        "review": sum(pair.outcome == "review" for pair in indexed.near),
        "groups": indexed.clusters,
        "different_labels": sum(
            pair.outcome != "review" and pair.classes > 1 for pair in indexed.near
        ),
    }


def _write_lists(entry: Entry, files: Sequence[Found], cache: PixelCache, indexed: Indexed) -> None:
    """quarantine.csv: files that cannot be read, and why; removed.csv: all that was left out;
    near_duplicates.csv: pairs that are nearly identical, and pairs to look at.
    """
    bad = [(f.id, f.path, why) for f, why in zip(files, cache.reasons, strict=True) if why]
    _write_csv(entry.folder / "quarantine.csv", ("id", "path", "reason"), bad)
    removed = [(i, reason) for reason, ids in sorted(indexed.removed.items()) for i in ids]
    _write_csv(entry.folder / "removed.csv", ("id", "reason"), removed)
    pairs = [_pair_row(pair) for pair in sorted(indexed.near, key=_by_outcome)]
    _write_csv(entry.folder / "near_duplicates.csv", PAIR_COLUMNS, pairs)


PAIR_COLUMNS = (
    "id",
    "split",
    "other_id",
    "other_split",
    "distance",
    "correlation",
    "mirrored",
    "outcome",
    "labels",
)


def _pair_row(pair: NearPair) -> tuple[str, ...]:
    labels = {0: "", 1: "same", 2: "different"}[pair.classes]
    likeness = (str(pair.distance), f"{pair.correlation:.3f}", "yes" if pair.mirrored else "no")
    ids = (pair.id_a, pair.split_a, pair.id_b, pair.split_b)
    return (*ids, *likeness, pair.outcome, labels)


def _by_outcome(pair: NearPair) -> tuple[int, float, str, str]:
    order = ("removed", "kept together", "review").index(pair.outcome)
    return order, -pair.correlation, pair.id_a, pair.id_b


def _write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(map(csv_row, rows))
    write_text(path, text.getvalue().encode("utf8", "backslashreplace").decode("utf8"))
