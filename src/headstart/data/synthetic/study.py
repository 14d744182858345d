"""A whole study: what to generate, and how it lies on disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.random import default_rng

from headstart.data.synthetic.backgrounds import BACKGROUNDS
from headstart.data.synthetic.picture import LARGEST_SIDE, draw_bag
from headstart.data.synthetic.shapes import CLASSES
from headstart.files import write_bytes

REFERENCE_COUNTS: tuple[int, ...] = (445, 1285, 360, 1097, 325, 351, 108, 1812, 636)
"""Labelled images a class in the study of real bags; the pool is drawn with these odds."""

SPLITS = ("pool", "train", "validation", "test")
VERSION = 2
"""Goes up when the same spec would draw other pictures."""

_ASPECTS = ((1, 1), (1, 1), (3, 4), (4, 5), (4, 3))


@dataclass(frozen=True)
class BagsSpec:
    """What to generate.

    ``pool`` unlabelled images, of classes drawn with the odds of ``REFERENCE_COUNTS`` (or equal
    ones if ``balanced``), and so many labelled ones a class and split. ``size`` is the shorter
    side in pixels; the longer is up to 4/3 of it. With probability ``shortcut`` an image has its
    class's own background family, otherwise one drawn uniformly from all nine, whatever the class:
    family and class agree with probability ``shortcut + (1 - shortcut) / 9``. ``test_shortcut``
    is the same for the test images (None: as ``shortcut``). ``quality`` is the JPEG quality.

    Raises ``ValueError`` for a value out of range.
    """

    pool: int = 1000
    train_per_class: int = 20
    validation_per_class: int = 10
    test_per_class: int = 25
    size: int = 96
    shortcut: float = 0.0
    test_shortcut: float | None = None
    balanced: bool = False
    seed: int = 0
    quality: int = 90

    def __post_init__(self) -> None:
        for name in ("pool", "train_per_class", "validation_per_class", "test_per_class", "seed"):
            _check(name, getattr(self, name), 0, 2**31)
        _check("size", self.size, 32, LARGEST_SIDE)
        _check("quality", self.quality, 1, 100)
        for name in ("shortcut", "test_shortcut"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
        if self.pool + self.train_per_class + self.validation_per_class + self.test_per_class == 0:
            raise ValueError("nothing to generate: the pool and every split are 0")

    def per_class(self, split: str) -> int:
        """How many images of each class a labelled split has."""
        return int(getattr(self, f"{split}_per_class"))

    def shortcut_of(self, split: str) -> float:
        """The probability that an image of this split has its class's own background."""
        if split == "test" and self.test_shortcut is not None:
            return self.test_shortcut
        return self.shortcut


def demo_bags(shortcut: float = 0.0, seed: int = 0) -> BagsSpec:
    """The bags of ``headstart demo``: many unlabelled photos, eight labelled ones a class."""
    return BagsSpec(
        pool=4000,
        train_per_class=6,
        validation_per_class=2,
        test_per_class=100,
        size=48,
        shortcut=shortcut,
        balanced=True,
        seed=seed,
    )


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie between {low} and {high}, not {value}")


@dataclass(frozen=True)
class _Entry:
    """One image to draw: what it is, and what its pixels depend on."""

    path: str
    split: str
    class_name: str
    background: str
    size: tuple[int, int]
    key: tuple[int, ...]


def _entry(spec: BagsSpec, split: str, label: int | None, i: int) -> _Entry:
    """Image ``i`` of a split (and class): it depends on no other image and no count."""
    key = (spec.seed, SPLITS.index(split), len(CLASSES) if label is None else label, i)
    r = default_rng([*key, 0])
    drawn, own, other, shape = r.random(4)
    if label is None:
        odds = np.ones(len(CLASSES)) if spec.balanced else np.array(REFERENCE_COUNTS, dtype=float)
        label = int(np.searchsorted(np.cumsum(odds / odds.sum())[:-1], drawn, side="right"))
        path = f"unlabeled/{i:06d}"
    else:
        path = f"labeled/{split}/{CLASSES[label]}/{i:06d}"
    family = label if own < spec.shortcut_of(split) else int(other * len(BACKGROUNDS))
    across, down = _ASPECTS[int(shape * len(_ASPECTS))]
    unit = spec.size / min(across, down)
    size = (round(across * unit), round(down * unit))
    return _Entry(path, split, CLASSES[label], BACKGROUNDS[family], size, key)


def _entries(spec: BagsSpec) -> list[_Entry]:
    pool = [_entry(spec, "pool", None, i) for i in range(spec.pool)]
    labelled = [
        _entry(spec, split, label, i)
        for split in SPLITS[1:]
        for label in range(len(CLASSES))
        for i in range(spec.per_class(split))
    ]
    return pool + labelled


def generate(
    folder: Path, spec: BagsSpec, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write the study a spec describes, and return ``folder``.

    ``unlabeled/*.jpg``, ``labeled/<split>/<class>/*.jpg``, ``masks/<the same path>.png``, and
    ``bags.json`` with the spec and each image's class and background family, the pool's too.
    A folder that already holds this spec is left as it is. Everything is written beside
    ``folder`` and moved into place at the end, so an interrupted generation leaves no ``folder``;
    what a killed one left beside it goes when the next one starts.
    ``progress`` is told (images done, images in all) after each image.

    Raises ``ValueError`` if ``folder`` holds anything else.
    """
    folder = Path(folder)
    if _is_done(folder, spec):
        return folder
    building = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(building, ignore_errors=True)
    _remove_abandoned(building.parent, folder.name)
    try:
        _write(building, spec, progress)
        if not _is_done(folder, spec):  # another process may have been faster
            if folder.exists():
                folder.rmdir()  # empty, or _is_done would have refused; Windows moves onto nothing
            os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _remove_abandoned(parent: Path, name: str) -> None:
    """Remove the half-written studies of processes that are gone; never in the way of writing."""
    partial = re.compile(rf"\.{re.escape(name)}\.([1-9][0-9]*)\.partial")
    with suppress(OSError):  # a parent that is not there yet, or cannot be listed
        for sibling in list(parent.iterdir()):
            found = partial.fullmatch(sibling.name)
            if found and not _is_alive(int(found[1])):
                shutil.rmtree(sibling, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    """Whether a process of this machine has the number; True where that cannot be known."""
    if sys.platform == "win32":
        return True  # os.kill would end the process there, not ask after it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no process number at all
        return True
    return True


def _is_done(folder: Path, spec: BagsSpec) -> bool:
    """Whether the folder holds this spec; a ``ValueError`` if it holds something else."""
    marker = folder / "bags.json"
    if marker.is_file():
        stored = json.loads(marker.read_text(encoding="utf8"))
        if stored.get("version") == VERSION and stored.get("spec") == asdict(spec):
            return True
        raise ValueError(f"{folder} holds bags of another spec; choose another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose another folder")
    return False


def _write(folder: Path, spec: BagsSpec, progress: Callable[[int, int], None] | None) -> None:
    entries = _entries(spec)
    for parent in sorted({Path(e.path).parent for e in entries}):
        (folder / parent).mkdir(parents=True, exist_ok=True)
        (folder / "masks" / parent).mkdir(parents=True, exist_ok=True)
    for done, entry in enumerate(entries, start=1):
        image, mask = draw_bag(entry.key, entry.class_name, entry.background, entry.size)
        image.save(folder / f"{entry.path}.jpg", quality=spec.quality)
        mask.convert("1").save(folder / "masks" / f"{entry.path}.png")
        if progress is not None:
            progress(done, len(entries))
    images = [
        {
            "path": f"{entry.path}.jpg",
            "split": entry.split,
            "class": entry.class_name,
            "background": entry.background,
        }
        for entry in entries
    ]
    record = {"version": VERSION, "spec": asdict(spec), "images": images}
    write_bytes(folder / "bags.json", json.dumps(record, indent=1).encode())
