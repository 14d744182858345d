"""Who may learn from which image: splits, copies and near-copies, and nested label budgets."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from headstart.config import Data
from headstart.data.near import NO_PAIRS, Pairs
from headstart.data.partition import place_groups, quota
from headstart.data.scan import Found
from headstart.types import DatasetIndex, Ints

_ORDER = {"train": 0, "validation": 1, "test": 2}  # a copy stays in the later, more guarded part


class Finder(Protocol):
    """Finds the rows of the pixel cache that are nearly the same image."""

    def pairs(self, a: Sequence[int], b: Sequence[int] | None = None) -> Pairs:
        """Near-copies between two sets of rows, or within one."""


@dataclass(frozen=True)
class Related:
    """Different images that belong together: near-copies, and groups that the user gave.

    ``groups`` has one name a file, "" for none; it is empty where there are no groups.
    """

    near: Finder | None = None
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class NearPair:
    """Two nearly identical images, the split of each, and what was done with them.

    ``split_a`` and ``split_b`` are "removed" for an image that was left out; ``outcome`` is
    "removed", "kept together" or "review": alike, but not alike enough for anything to be done.
    """

    id_a: str
    split_a: str
    id_b: str
    split_b: str
    distance: int
    correlation: float
    mirrored: bool
    outcome: str
    classes: int
    """Different classes among the two; 0 where one has none."""


@dataclass(frozen=True)
class Indexed:
    """An index and what was left out of it, by name of the reason, with the ids."""

    index: DatasetIndex
    removed: dict[str, list[str]]
    split: str  # "given", "made" or "completed"
    near: tuple[NearPair, ...] = ()
    clusters: int = 0
    """Groups of nearly identical labelled images that were kept together."""
    crossing: dict[str, int] = field(default_factory=dict)
    """The user's groups with images in more than one split, and how many images, by split."""


@dataclass
class _Sorting:
    """Files while they are sorted: digest and split by position, and what has been removed."""

    files: Sequence[Found]
    digests: Sequence[str]
    groups: Sequence[str]
    split: list[str]
    removed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def drop(self, i: int, reason: str) -> None:
        self.split[i] = ""
        self.removed[reason].append(self.files[i].id)

    def kept(self, *splits: str) -> list[int]:
        return [i for i, split in enumerate(self.split) if split in splits]

    def one_each(self, *splits: str) -> list[int]:
        """Kept rows, only the first one of identical images."""
        first: dict[str, int] = {}
        for i in self.kept(*splits):
            first.setdefault(self.digests[i], i)
        return list(first.values())


class _Ties:
    """Names that belong together, directly or through others (union-find)."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def tie(self, a: str, b: str) -> None:
        self._above[self.root(a)] = self.root(b)

    def root(self, name: str) -> str:
        while (above := self._above.get(name, name)) != name:
            self._above[name] = self._above.get(above, above)  # shorter for the next who asks
            name = above
        return name


def sort_images(
    files: Sequence[Found],
    digests: Sequence[str],
    data: Data,
    seed: int = 0,
    related: Related | None = None,
) -> Indexed:
    """Give every readable image its split; no two splits hold copies of one image.

    Where the splits are made here, near-copies and the user's groups stay together in one split.
    Where the folders give the splits, near-copies are removed from the less guarded one, and groups
    stay as they are.

    Args:
        files: pool and labelled files; position i is row i of the pixel cache.
        digests: of their full pixels, "" where unreadable.
        data: the settings of the split.
        seed: of a split that has to be made.
        related: near-copies and groups; without it only identical images are known.
    """
    related = related or Related()
    near, groups = related.near, related.groups or ("",) * len(files)
    sorting = _Sorting(files, digests, groups, [_asked(f) for f in files])
    for i, digest in enumerate(digests):
        if not digest:
            sorting.drop(i, "unreadable")
    _drop_conflicts(sorting)
    labelled = near.pairs(sorting.one_each("unsplit", *_ORDER)) if near else NO_PAIRS
    kind = _complete_splits(sorting, data, seed, labelled)
    _drop_copies_across_splits(sorting)
    _drop_near_across_splits(sorting, labelled)
    _clean_pool(sorting, data)
    pool = _clean_pool_of_near(sorting, near) if near else NO_PAIRS
    listed = (*_listed(sorting, labelled), *_listed(sorting, pool))
    return Indexed(
        _to_index(sorting, labelled),
        dict(sorting.removed),
        kind,
        listed,
        _clusters(sorting, labelled),
        _crossing(sorting) if related.groups else {},
    )


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


def _complete_splits(sorting: _Sorting, data: Data, seed: int, pairs: Pairs) -> str:
    """Cut the parts that the folders do not give: all three, or what is missing, from train."""
    given = {sorting.files[i].split for i in sorting.kept(*_ORDER)}
    if {"train", "validation", "test"} <= given:
        return "given"
    shares = dict(zip(_ORDER, data.split, strict=True))
    missing = {name for name in _ORDER if name not in given} if given else set(_ORDER)
    source = sorting.kept("train" if given else "unsplit")
    if given:
        shares = {name: s for name, s in shares.items() if name in missing or name == "train"}
    _cut(sorting, _units(sorting, source, pairs), shares, seed)
    return "completed" if given else "made"


def _units(sorting: _Sorting, source: list[int], pairs: Pairs) -> list[list[int]]:
    """The images that a cut must not part, in an order that does not depend on the files'."""
    ties = _ties(sorting, source, pairs)
    for i in source:
        if sorting.groups[i]:
            ties.tie(sorting.digests[i], f"group {sorting.groups[i]}")
    units: dict[str, list[int]] = defaultdict(list)
    for i in sorted(source, key=lambda i: sorting.digests[i]):
        units[ties.root(sorting.digests[i])].append(i)
    return list(units.values())


def _ties(sorting: _Sorting, rows: Iterable[int], pairs: Pairs) -> _Ties:
    """Near-copies among the given rows, and their identical images, tied together."""
    ties = _Ties()
    there = {sorting.digests[i] for i in rows}
    for a, b in zip(pairs.a[pairs.near].tolist(), pairs.b[pairs.near].tolist(), strict=True):
        if {sorting.digests[a], sorting.digests[b]} <= there:
            ties.tie(sorting.digests[a], sorting.digests[b])
    return ties


def _cut(sorting: _Sorting, units: list[list[int]], shares: dict[str, float], seed: int) -> None:
    """A stratified cut by class; identical copies count as one and go the same way."""
    total = sum(shares.values())
    shares = {name: share / total for name, share in shares.items()}
    single = [u for u in units if len({sorting.digests[i] for i in u}) == 1]
    large = [u for u in units if len({sorting.digests[i] for i in u}) > 1]
    by_class: dict[str, list[list[int]]] = defaultdict(list)
    for unit in single:
        by_class[sorting.files[unit[0]].label].append(unit)
    classes = sorted({sorting.files[i].label for unit in units for i in unit})
    placed = _place(sorting, large, {c: len(by_class[c]) for c in classes}, shares, seed)
    rng = np.random.default_rng([seed, 1])
    for label in classes:
        groups = by_class[label]
        order = rng.permutation(len(groups))
        count = len(groups) + placed[label].total()
        targets = {name: count * share for name, share in shares.items()}
        room = quota(len(groups), targets, placed[label])
        names = [name for name, n in room.items() for _ in range(n)]
        for place, name in zip(order, names, strict=True):
            for i in groups[place]:
                sorting.split[i] = name


def _place(
    sorting: _Sorting,
    units: list[list[int]],
    loose: dict[str, int],
    shares: dict[str, float],
    seed: int,
) -> dict[str, Counter[str]]:
    """Give whole groups their part; returns how many images each class then has in each part."""
    classes = list(loose)
    sizes = np.zeros((len(units), len(classes)), dtype=np.int64)
    for g, unit in enumerate(units):
        for _, label in {(sorting.digests[i], sorting.files[i].label) for i in unit}:
            sizes[g, classes.index(label)] += 1
    rng = np.random.default_rng([seed, 1, 1])
    parts = place_groups(sizes, np.array(list(loose.values()), dtype=np.int64), shares, rng)
    placed: dict[str, Counter[str]] = {label: Counter() for label in classes}
    for unit, part, row in zip(units, parts, sizes.tolist(), strict=True):
        for i in unit:
            sorting.split[i] = part
        for label, size in zip(classes, row, strict=True):
            placed[label][part] += size
    return placed


def _drop_copies_across_splits(sorting: _Sorting) -> None:
    guarded: dict[str, str] = {}
    for i in sorted(sorting.kept(*_ORDER), key=lambda i: -_ORDER[sorting.split[i]]):
        split = sorting.split[i]
        holder = guarded.setdefault(sorting.digests[i], split)
        if holder != split:
            sorting.drop(i, f"{split}_copies_of_{holder}")


def _drop_near_across_splits(sorting: _Sorting, pairs: Pairs) -> None:
    """Near-copies leave the less guarded part: first of test, then of what is left of validation.

    Only direct pairs count: what is like a removed image need not be like the guarded one.
    """
    part = {sorting.digests[i]: sorting.split[i] for i in sorting.kept(*_ORDER)}
    digests = _near_digests(sorting, pairs)
    for guard in ("test", "validation"):
        gone: dict[str, str] = {}
        for a, b in (*digests, *((b, a) for a, b in digests)):
            if part.get(a) == guard and _ORDER.get(part.get(b, ""), 3) < _ORDER[guard]:
                gone[b] = f"{part[b]}_near_copies_of_{guard}"
        for i in sorting.kept(*_ORDER):
            if sorting.digests[i] in gone:
                sorting.drop(i, gone[sorting.digests[i]])
        part = {digest: split for digest, split in part.items() if digest not in gone}


def _near_digests(sorting: _Sorting, pairs: Pairs) -> list[tuple[str, str]]:
    a, b = (rows[pairs.near].tolist() for rows in (pairs.a, pairs.b))
    return [(sorting.digests[i], sorting.digests[j]) for i, j in zip(a, b, strict=True)]


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


def _clean_pool_of_near(sorting: _Sorting, finder: Finder) -> Pairs:
    """No near-copy of validation or test is pretrained on either; returns the pairs looked at."""
    pairs = finder.pairs(sorting.kept("pool"), sorting.one_each("validation", "test"))
    near: dict[int, str] = {}
    for i, j in zip(pairs.a[pairs.near].tolist(), pairs.b[pairs.near].tolist(), strict=True):
        near[i] = max(near.get(i, "validation"), sorting.split[j], key=_ORDER.__getitem__)
    for i, split in sorted(near.items()):
        sorting.drop(i, f"pool_near_copies_of_{split}")
    return pairs


def _listed(sorting: _Sorting, pairs: Pairs) -> list[NearPair]:
    """The pairs for the user to see: near-copies, and similar images in different splits."""
    listed = []
    rows = zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)
    for k, (i, j) in enumerate(rows):
        splits = [sorting.split[x] or "removed" for x in (i, j)]
        outcome = "review"
        if pairs.near[k]:
            outcome = "removed" if "removed" in splits else "kept together"
        elif splits[0] == splits[1] or "removed" in splits:
            continue
        labels = [sorting.files[x].label for x in (i, j)]
        listed.append(
            NearPair(
                id_a=sorting.files[i].id,
                split_a=splits[0],
                id_b=sorting.files[j].id,
                split_b=splits[1],
                distance=int(pairs.distance[k]),
                correlation=float(pairs.correlation[k]),
                mirrored=bool(pairs.mirrored[k]),
                outcome=outcome,
                classes=len(set(labels)) if all(labels) else 0,
            )
        )
    return listed


def _clusters(sorting: _Sorting, pairs: Pairs) -> int:
    rows = sorting.kept(*_ORDER)
    ties = _ties(sorting, rows, pairs)
    sizes = Counter(ties.root(digest) for digest in {sorting.digests[i] for i in rows})
    return sum(size > 1 for size in sizes.values())


def _crossing(sorting: _Sorting) -> dict[str, int]:
    """The user's groups with images in test or validation and elsewhere too."""
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for i in sorting.kept("pool", *_ORDER):
        if sorting.groups[i]:
            parts[sorting.groups[i]][sorting.split[i]] += 1
    crossing = [
        counts for counts in parts.values() if len(counts) > 1 and counts.keys() - {"pool", "train"}
    ]
    images: Counter[str] = sum(crossing, Counter())
    return {"groups": len(crossing), **{part: images[part] for part in ("pool", *_ORDER)}}


def _to_index(sorting: _Sorting, pairs: Pairs) -> DatasetIndex:
    kept = sorting.kept("pool", *_ORDER)
    ties = _ties(sorting, kept, pairs)
    for i in sorting.kept(*_ORDER):
        if sorting.groups[i]:  # a group that the folders parted is one in each part
            ties.tie(sorting.digests[i], f"{sorting.split[i]} group {sorting.groups[i]}")
    files = [sorting.files[i] for i in kept]
    classes = sorted({f.label for f in files if f.label})
    number = {name: c for c, name in enumerate(classes)} | {"": -1}
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(ties.root(sorting.digests[i]), len(numbers)) for i in kept]
    digest = hashlib.sha256()
    for i, f, group in zip(kept, files, groups, strict=True):
        digest.update(repr((f.id, sorting.split[i], sorting.digests[i], group)).encode())
    return DatasetIndex(
        ids=np.array([f.id for f in files], dtype=np.str_),
        paths=np.array([f.path for f in files], dtype=np.str_),
        labels=np.array([number[f.label] for f in files], dtype=np.int64),
        splits=np.array([sorting.split[i] for i in kept], dtype=np.str_),
        groups=np.array(groups, dtype=np.int64),
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


def label_budget(index: DatasetIndex, fraction: float, seed: int, draw: int = 0) -> LabelBudget:
    """The share ``fraction`` of each class's labels, at least one of each.

    Within a seed and a draw smaller budgets are part of larger ones, and every arm gets the same;
    another draw of the same seed is other labels. Validation is cut alike and holds at most a
    quarter of the budget (Oliver 2018), at least one a class.
    """
    train = _nested(index, "train", fraction, (seed, draw))
    validation = _nested(index, "validation", fraction, (seed, draw))
    counts = Counter(index.labels[train].tolist())
    allowed = [
        validation[mine[: max(1, counts[int(index.labels[validation[mine[0]]])] // 3)]]
        for mine in alike(index.labels[validation])
    ]
    return LabelBudget(np.sort(train), np.sort(np.concatenate([_NOBODY, *allowed])))


_NOBODY = np.empty(0, dtype=np.int64)


def _nested(index: DatasetIndex, split: str, fraction: float, drawn: tuple[int, int]) -> Ints:
    seed, draw = drawn
    rng = np.random.default_rng([seed, 2, _ORDER[split], *([draw] if draw else [])])
    there = index.where(split)
    taken = [
        rng.permutation(there[mine])[: max(1, round(fraction * len(mine)))]
        for mine in alike(index.labels[there])
    ]
    return np.concatenate([_NOBODY, *taken])


def alike(values: np.ndarray) -> list[Ints]:
    """The positions of each value that occurs in ``values`` (N,), the smallest value first.

    They are sorted once: many values cost no more than few.
    """
    if not len(values):
        return []
    order = np.argsort(values, kind="stable").astype(np.int64)
    ordered = values[order]
    return np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def stratified_sample(labels: Ints, count: int, seed: int) -> Ints:
    """Positions of ``count`` items spread evenly over the classes, in order; all where fewer."""
    rng = np.random.default_rng([seed, 3])
    rank = np.empty(len(labels))
    for members in alike(labels):
        mine = rng.permutation(members)
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
    for members in alike(strata):
        mine = rng.permutation(members)
        place[mine] = np.arange(len(mine)) / len(mine)
    return [int(i) for i in np.argsort(place, kind="stable")[:limit]]
