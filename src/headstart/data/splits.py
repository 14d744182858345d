"""Who may learn from which image: splits, identical copies, and nested label budgets."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.config import Data
from headstart.data.scan import Found
from headstart.types import DatasetIndex, Ints

_ORDER = {"train": 0, "validation": 1, "test": 2}  # a copy stays in the later, more guarded part


@dataclass(frozen=True)
class Indexed:
    """An index and what was left out of it, by name of the reason, with the ids."""

    index: DatasetIndex
    removed: dict[str, list[str]]
    split: str  # "given", "made" or "completed"


@dataclass
class _Sorting:
    """Files while they are sorted: digest and split by position, and what has been removed."""

    files: Sequence[Found]
    digests: Sequence[str]
    split: list[str]
    removed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def drop(self, i: int, reason: str) -> None:
        self.split[i] = ""
        self.removed[reason].append(self.files[i].id)

    def kept(self, *splits: str) -> list[int]:
        return [i for i, split in enumerate(self.split) if split in splits]


def sort_images(
    files: Sequence[Found], digests: Sequence[str], data: Data, seed: int = 0
) -> Indexed:
    """Give every readable image its split; identical copies never stand on both sides.

    Args:
        files: pool and labelled files; position i is row i of the pixel cache.
        digests: of their full pixels, "" where unreadable.
        data: the settings of the split.
        seed: of a split that has to be made.
    """
    sorting = _Sorting(files, digests, [_asked(f) for f in files])
    for i, digest in enumerate(digests):
        if not digest:
            sorting.drop(i, "unreadable")
    _drop_conflicts(sorting)
    kind = _complete_splits(sorting, data, seed)
    _drop_copies_across_splits(sorting)
    _clean_pool(sorting, data)
    return Indexed(_to_index(sorting), dict(sorting.removed), kind)


def _asked(file: Found) -> str:
    return file.split or ("unsplit" if file.label else "pool")


def _drop_conflicts(sorting: _Sorting) -> None:
    """The same picture in two classes teaches nothing true: all its labelled copies go."""
    labels: dict[str, set[str]] = defaultdict(set)
    labelled = sorting.kept("unsplit", *_ORDER)
    for i in labelled:
        labels[sorting.digests[i]].add(sorting.files[i].label)
    for i in labelled:
        if len(labels[sorting.digests[i]]) > 1:
            sorting.drop(i, "conflicting_labels")


def _complete_splits(sorting: _Sorting, data: Data, seed: int) -> str:
    """Cut the parts that the folders do not give: all three, or what is missing, from train."""
    given = {sorting.files[i].split for i in sorting.kept(*_ORDER)}
    if {"train", "validation", "test"} <= given:
        return "given"
    shares = dict(zip(_ORDER, data.split, strict=True))
    missing = {name for name in _ORDER if name not in given} if given else set(_ORDER)
    source = sorting.kept("train" if given else "unsplit")
    if given:
        shares = {name: s for name, s in shares.items() if name in missing or name == "train"}
    _cut(sorting, source, shares, seed)
    return "completed" if given else "made"


def _cut(sorting: _Sorting, source: list[int], shares: dict[str, float], seed: int) -> None:
    """A stratified cut by class; identical copies count as one and go the same way."""
    rng = np.random.default_rng([seed, 1])
    by_class: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i in source:
        by_class[sorting.files[i].label][sorting.digests[i]].append(i)
    total = sum(shares.values())
    for label in sorted(by_class):
        groups = [by_class[label][d] for d in sorted(by_class[label])]
        order = rng.permutation(len(groups))
        quota = _quota(len(groups), {name: s / total for name, s in shares.items()})
        names = [name for name, count in quota.items() for _ in range(count)]
        for place, name in zip(order, names, strict=True):
            for i in groups[place]:
                sorting.split[i] = name


def _quota(n: int, shares: dict[str, float]) -> dict[str, int]:
    """n images by shares: one for train, test and validation, in this order; then to whom most is
    missing.
    """
    quota = dict.fromkeys(shares, 0)
    for name in sorted(shares, key=lambda name: {"train": 0, "test": 1}.get(name, 2))[:n]:
        quota[name] = 1
    for _ in range(n - sum(quota.values())):
        quota[max(shares, key=lambda name: n * shares[name] - quota[name])] += 1
    return quota


def _drop_copies_across_splits(sorting: _Sorting) -> None:
    guarded: dict[str, str] = {}
    for i in sorted(sorting.kept(*_ORDER), key=lambda i: -_ORDER[sorting.split[i]]):
        split = sorting.split[i]
        holder = guarded.setdefault(sorting.digests[i], split)
        if holder != split:
            sorting.drop(i, f"{split}_copies_of_{holder}")


def _clean_pool(sorting: _Sorting, data: Data) -> None:
    """No image of validation or test is pretrained on, and no image twice."""
    holder = {sorting.digests[i]: sorting.split[i] for i in sorting.kept("validation", "test")}
    if data.train_joins_pool:
        holder |= {sorting.digests[i]: "train" for i in sorting.kept("train")}
    for i in sorting.kept("pool"):
        digest = sorting.digests[i]
        if digest in holder:
            reason = holder[digest]
            sorting.drop(i, "pool_duplicates" if reason == "pool" else f"pool_copies_of_{reason}")
        else:
            holder[digest] = "pool"


def _to_index(sorting: _Sorting) -> DatasetIndex:
    kept = sorting.kept("pool", *_ORDER)
    files = [sorting.files[i] for i in kept]
    classes = sorted({f.label for f in files if f.label})
    number = {name: c for c, name in enumerate(classes)} | {"": -1}
    groups: dict[str, int] = {}
    digest = hashlib.sha256()
    for i, f in zip(kept, files, strict=True):
        digest.update(repr((f.id, sorting.split[i], sorting.digests[i])).encode())
    return DatasetIndex(
        ids=np.array([f.id for f in files], dtype=np.str_),
        paths=np.array([f.path for f in files], dtype=np.str_),
        labels=np.array([number[f.label] for f in files], dtype=np.int64),
        splits=np.array([sorting.split[i] for i in kept], dtype=np.str_),
        groups=np.array(
            [groups.setdefault(sorting.digests[i], len(groups)) for i in kept], dtype=np.int64
        ),
        rows=np.array(kept, dtype=np.int64),
        classes=np.array(classes, dtype=np.str_),
        digest=np.array(digest.hexdigest()),
    )


@dataclass(frozen=True)
class LabelBudget:
    """Positions in the index of the labelled images that an arm may learn and tune on."""

    train: Ints
    validation: Ints

    @property
    def labels(self) -> int:
        """Labels spent, validation included."""
        return len(self.train) + len(self.validation)


def label_budget(index: DatasetIndex, fraction: float, seed: int) -> LabelBudget:
    """The share ``fraction`` of each class's labels, at least one of each.

    Within a seed smaller budgets are part of larger ones, and every arm gets the same. Validation
    is cut alike and holds at most a quarter of the budget (Oliver 2018), at least one a class.
    """
    train = _nested(index, "train", fraction, seed)
    validation = _nested(index, "validation", fraction, seed)
    counts = Counter(index.labels[train].tolist())
    allowed: list[int] = []
    for c in range(len(index.classes)):
        mine = [int(i) for i in validation if index.labels[i] == c]
        allowed += mine[: max(1, counts[c] // 3)]
    return LabelBudget(np.sort(train), np.sort(np.array(allowed, dtype=np.int64)))


def _nested(index: DatasetIndex, split: str, fraction: float, seed: int) -> Ints:
    rng = np.random.default_rng([seed, 2, _ORDER[split]])
    taken: list[int] = []
    for c in range(len(index.classes)):
        mine = np.flatnonzero((index.splits == split) & (index.labels == c))
        count = max(1, round(fraction * len(mine)))
        taken += rng.permutation(mine)[:count].tolist()
    return np.array(taken, dtype=np.int64)


def stratified_sample(labels: Ints, count: int, seed: int) -> Ints:
    """Positions of ``count`` items spread evenly over the classes, in order; all where fewer."""
    rng = np.random.default_rng([seed, 3])
    rank = np.empty(len(labels))
    for c in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == c))
        rank[mine] = np.arange(len(mine)) + rng.random()
    return np.sort(np.argsort(rank, kind="stable")[:count])


def limit_files(files: Sequence[Found], limit: int, seed: int = 0) -> list[Found]:
    """At most ``limit`` pool files, spread over their folders, and ``limit`` of each class."""
    rng = np.random.default_rng([seed, 4])
    groups: dict[str, list[Found]] = defaultdict(list)
    for f in files:
        groups[f"class {f.label}" if f.label else "pool"].append(f)
    kept: set[str] = set()
    for members in groups.values():
        strata = np.array([f.split or f.id.rpartition("/")[0] for f in members])
        kept |= {members[i].id for i in _spread(strata, limit, rng)}
    return [f for f in files if f.id in kept]


def _spread(strata: np.ndarray, limit: int, rng: np.random.Generator) -> list[int]:
    """``limit`` positions, each stratum in proportion to its size and at least one of it."""
    place = np.empty(len(strata))
    for name in np.unique(strata):
        mine = rng.permutation(np.flatnonzero(strata == name))
        place[mine] = np.arange(len(mine)) / len(mine)
    return [int(i) for i in np.argsort(place, kind="stable")[:limit]]
