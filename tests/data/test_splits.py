"""Who may learn from which image: no leak, nested budgets, whatever the order of the files."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.config import Data
from headstart.data.decode import Decoded, decode
from headstart.data.scan import Found, find_labeled, find_unlabeled
from headstart.data.splits import (
    Indexed,
    alike,
    label_budget,
    limit_files,
    sort_images,
    stratified_sample,
)
from headstart.types import SPLITS, DatasetIndex

# A file of a study in short: (class or "", split or "", digest); "" is an unreadable file.
Short = tuple[str, str, str]


def made(shorts: list[Short]) -> tuple[list[Found], list[str]]:
    files = []
    for i, (label, split, _) in enumerate(shorts):
        place = "/".join(part for part in (split, label) if part)
        root = "labeled" if label else "unlabeled"
        files.append(Found(f"{root}/{place}/{i:04d}.jpg", f"/x/{i}", label, split))
    return files, [digest for _, _, digest in shorts]


def sort(shorts: list[Short], data: Data | None = None, seed: int = 0) -> Indexed:
    files, digests = made(shorts)
    return sort_images(files, digests, data or Data(), seed)


def numbers(ids: list[str]) -> list[int]:
    """Positions in the short list of the given ids."""
    return [int(identity[-8:-4]) for identity in ids]


def split_of(indexed: Indexed) -> dict[int, str]:
    index = indexed.index
    return dict(zip(numbers(index.ids.tolist()), index.splits.tolist(), strict=True))


def classes(*counts: int, split: str = "") -> list[Short]:
    """Different images of classes ``c0``, ``c1``…, so many of each."""
    return [
        (f"c{c}", split, f"{split}{c}-{i}") for c, count in enumerate(counts) for i in range(count)
    ]


def counts(index: DatasetIndex) -> Counter[tuple[int, str]]:
    return Counter(zip(index.labels.tolist(), index.splits.tolist(), strict=True))


# --- the index ---------------------------------------------------------------------------------


def test_rows_of_the_index_belong_together() -> None:
    shorts = [("", "", "p0"), ("b", "", "b0"), ("", "", ""), ("a", "", "a0"), ("b", "", "b1")]
    indexed = sort(shorts)
    index = indexed.index
    assert index.classes.tolist() == ["a", "b"]
    assert index.rows.tolist() == [0, 1, 3, 4]  # places in the pixel cache
    assert index.labels.tolist() == [-1, 1, 0, 1]
    assert index.paths.tolist() == ["/x/0", "/x/1", "/x/3", "/x/4"]
    assert indexed.removed == {"unreadable": ["unlabeled//0002.jpg"]}
    assert set(index.splits.tolist()) <= set(SPLITS)
    assert np.array_equal(index.where("pool"), [0])


def test_an_index_is_saved_and_loaded_whatever_the_names(tmp_path: Path) -> None:
    files = [Found("labeled/a/ü\\udce9.jpg", "/x/caf\udce9.jpg", "a"), Found("l/b/1", "/y", "ü")]
    index = sort_images(files, ["d0", "d1"], Data()).index
    index.save(tmp_path)
    loaded = DatasetIndex.load(tmp_path)
    assert loaded.paths.tolist() == ["/x/caf\udce9.jpg", "/y"]
    assert str(loaded.digest) == str(index.digest)


def test_the_digest_changes_with_images_and_with_splits() -> None:
    base = classes(5, 5)
    digests = {str(sort(base).index.digest)}
    digests.add(str(sort(base, seed=1).index.digest))
    digests.add(str(sort([*base[:-1], ("c1", "", "other")]).index.digest))
    assert len(digests) == 3
    assert str(sort(base).index.digest) in digests


def test_identical_images_share_a_group() -> None:
    shorts = [("a", "train", "x"), ("a", "train", "x"), ("b", "train", "y"), ("b", "test", "z")]
    groups = sort([*shorts, ("a", "validation", "v")]).index.groups
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4


# --- copies ------------------------------------------------------------------------------------


def test_pool_copies_of_labelled_images_are_removed() -> None:
    labelled = [("a", "train", "t"), ("b", "train", "u"), ("a", "test", "s"), ("b", "test", "r")]
    labelled += [("a", "validation", "v"), ("b", "validation", "w")]
    pool = [("", "", digest) for digest in ("p", "t", "s", "v", "p", "q")]
    indexed = sort(labelled + pool)
    removed = {reason: numbers(ids) for reason, ids in indexed.removed.items()}
    assert removed == {
        "pool_copies_of_train": [7],
        "pool_copies_of_test": [8],
        "pool_copies_of_validation": [9],
        "pool_duplicates": [10],
    }
    assert [i for i, split in split_of(indexed).items() if split == "pool"] == [6, 11]


def test_pool_copies_of_train_stay_where_train_is_not_pretrained_on() -> None:
    labelled = [("a", "train", "t"), ("b", "train", "u"), ("a", "test", "s"), ("b", "test", "r")]
    shorts = [*labelled, ("a", "validation", "v"), ("", "", "t"), ("", "", "s"), ("", "", "v")]
    indexed = sort(shorts, Data(train_joins_pool=False))
    assert [i for i, split in split_of(indexed).items() if split == "pool"] == [5]


def test_copies_across_splits_stay_in_the_more_guarded_one() -> None:
    shorts = [
        ("a", "train", "x"),
        ("a", "test", "x"),
        ("a", "train", "y"),
        ("a", "validation", "y"),
    ]
    shorts += [
        ("b", "validation", "z"),
        ("b", "test", "z"),
        ("b", "train", "w"),
        ("a", "train", "k"),
    ]
    indexed = sort(shorts)
    assert {reason: numbers(ids) for reason, ids in indexed.removed.items()} == {
        "train_copies_of_test": [0],
        "train_copies_of_validation": [2],
        "validation_copies_of_test": [4],
    }
    assert indexed.split == "given"


def test_a_picture_under_two_labels_is_removed_with_all_its_labelled_copies() -> None:
    shorts = [("a", "train", "x"), ("b", "test", "x"), ("a", "train", "x"), ("", "", "x")]
    shorts += classes(4, 4)
    shorts = [(label, split or ("train" if label else ""), d) for label, split, d in shorts]
    indexed = sort(shorts)
    assert numbers(indexed.removed["conflicting_labels"]) == [0, 1, 2]
    assert split_of(indexed)[3] == "pool"  # without a label it is an image like any other


def test_a_test_jpeg_that_lies_in_the_pool_without_its_metadata_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    rng = np.random.default_rng(0)
    for i, name in enumerate(["train/a/1", "train/b/2", "test/a/3", "test/b/4", "validation/a/5"]):
        path = tmp_path / "labeled" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        picture.save(path, exif=exif, comment=b"taken by hand")
        pool = tmp_path / "pool" / f"copy{i}.jpg"
        pool.parent.mkdir(exist_ok=True)
        if i in (2, 4):  # all but the picture dropped
            picture.save(pool)
        elif i == 3:  # byte for byte
            pool.write_bytes(path.read_bytes())
    fresh = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(fresh).save(tmp_path / "pool" / "fresh.png")
    files = find_labeled(tmp_path / "labeled") + find_unlabeled(tmp_path / "pool")
    decoded = [decode(Path(f.path), 8) for f in files]
    indexed = sort_images(files, [d.digest for d in decoded if isinstance(d, Decoded)], Data())
    assert indexed.removed == {
        "pool_copies_of_test": ["unlabeled/copy2.jpg", "unlabeled/copy3.jpg"],
        "pool_copies_of_validation": ["unlabeled/copy4.jpg"],
    }
    index = indexed.index
    assert index.ids[index.where("pool")].tolist() == ["unlabeled/fresh.png"]


# --- making splits -----------------------------------------------------------------------------


def test_a_split_is_made_by_class_where_the_folders_give_none() -> None:
    indexed = sort(classes(100, 10, 35))
    assert indexed.split == "made"
    found = counts(indexed.index)
    assert [found[0, s] for s in SPLITS[1:]] == [60, 20, 20]
    assert [found[1, s] for s in SPLITS[1:]] == [6, 2, 2]
    assert [found[2, s] for s in SPLITS[1:]] == [21, 7, 7]


def test_a_given_split_is_left_as_it_is() -> None:
    shorts = [*classes(3, 2, split="train"), *classes(1, 1, split="validation")]
    shorts += classes(9, 9, split="test")
    indexed = sort(shorts, Data(split=(0.1, 0.1, 0.8)))
    assert indexed.split == "given"
    assert indexed.removed == {}
    assert all(split_of(indexed)[i] == split for i, (_, split, _) in enumerate(shorts))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("train", "test"), {"train": 75, "validation": 25, "test": 40}),
        (("train", "validation"), {"train": 75, "validation": 40, "test": 25}),
        (("train",), {"train": 60, "validation": 20, "test": 20}),
    ],
)
def test_what_is_missing_is_cut_from_train(
    given: tuple[str, ...], expected: dict[str, int]
) -> None:
    """By the shares of the parts that are made: validation is 0.2 of 0.8, so a quarter."""
    shorts = classes(100, 100, split="train")
    for split in given[1:]:
        shorts += classes(40, 40, split=split)
    indexed = sort(shorts)
    assert indexed.split == "completed"
    found = counts(indexed.index)
    for c in (0, 1):
        assert {s: found[c, s] for s in SPLITS[1:]} == expected
    places = split_of(indexed)
    for i, (_, split, _) in enumerate(shorts):
        assert split == "train" or places[i] == split  # what was given is not touched


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))]
)
def test_tiny_classes_train_first_then_test(count: int, expected: tuple[int, ...]) -> None:
    found = counts(sort(classes(count, 20)).index)
    assert tuple(found[0, split] for split in SPLITS[1:]) == expected


@given(
    st.integers(1, 60),
    st.tuples(*[st.integers(1, 20)] * 3).map(lambda t: tuple(x / sum(t) for x in t)),
)
@settings(max_examples=60, deadline=None)
def test_every_image_gets_a_part_within_one_of_its_share(
    n: int, shares: tuple[float, float, float]
) -> None:
    found = counts(sort(classes(n, 1), Data(split=shares)).index)
    parts = [found[0, split] for split in SPLITS[1:]]
    assert sum(parts) == n
    assert parts[0] >= 1
    assert n < 2 or parts[2] >= 1
    assert n < 3 or parts[1] >= 1
    for part, share in zip(parts, shares, strict=True):
        assert abs(part - n * share) < 2  # rounding, and the one that each part gets


def test_identical_copies_are_cut_as_one() -> None:
    shorts = [(label, "", digest) for label, _, digest in classes(10, 10) for _ in range(3)]
    indexed = sort(shorts)
    by_group: dict[int, set[str]] = {}
    for group, split in zip(indexed.index.groups, indexed.index.splits, strict=True):
        by_group.setdefault(int(group), set()).add(str(split))
    assert all(len(splits) == 1 for splits in by_group.values())
    assert indexed.removed == {}
    assert counts(indexed.index)[0, "test"] == 2 * 3


def test_the_same_seed_gives_the_same_split_and_another_one_another() -> None:
    shorts = classes(30, 30)
    assert split_of(sort(shorts, seed=3)) == split_of(sort(shorts, seed=3))
    assert split_of(sort(shorts, seed=3)) != split_of(sort(shorts, seed=4))


@given(st.permutations(range(24)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_files_changes_nothing(order: list[int]) -> None:
    shorts = [*classes(9, 6, 2), ("", "", "p"), ("", "", "q"), ("", "", "0-3"), ("c0", "", "0-3")]
    shorts += [("c1", "", "same"), ("c1", "", "same"), ("c2", "", "0-1")]
    files, digests = made(shorts)
    before = sort_images(files, digests, Data())
    after = sort_images([files[i] for i in order], [digests[i] for i in order], Data())

    def parts(indexed: Indexed) -> dict[str, str]:
        return dict(zip(indexed.index.ids.tolist(), indexed.index.splits.tolist(), strict=True))

    assert parts(before) == parts(after)
    assert {k: sorted(v) for k, v in before.removed.items()} == {
        k: sorted(v) for k, v in after.removed.items()
    }


SHORTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "train", "validation", "test"]),
        st.sampled_from(["", *"uvwxyz"]),
    ).map(lambda s: (s[0], s[1] if s[0] else "", s[2])),
    min_size=1,
    max_size=30,
)


@given(SHORTS, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_picture_ever_stands_on_both_sides(
    shorts: list[Short], parted: bool, joins: bool
) -> None:
    """Folders are either all parted or none is, as scanning finds them."""
    shorts = [(c, (s or "train") if parted and c else "", d) for c, s, d in shorts]
    indexed = sort(shorts, Data(train_joins_pool=joins))
    index = indexed.index
    digest = {i: d for i, (_, _, d) in enumerate(shorts)}
    holders: dict[str, set[str]] = {}
    for i, split in split_of(indexed).items():
        holders.setdefault(digest[i], set()).add(split)
    for splits in holders.values():
        assert splits in ({"pool"}, {"train"}, {"validation"}, {"test"}, {"pool", "train"})
        assert not (joins and splits == {"pool", "train"})
    gone = [i for ids in indexed.removed.values() for i in numbers(ids)]
    assert sorted([*gone, *split_of(indexed)]) == list(range(len(shorts)))  # nothing is lost
    assert "" not in index.splits


# --- label budgets -----------------------------------------------------------------------------


@pytest.fixture
def index() -> DatasetIndex:
    return sort(classes(200, 40, 3, 1), Data()).index


FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.99, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_smaller_budgets_are_part_of_larger_ones(index: DatasetIndex, seed: int) -> None:
    budgets = [label_budget(index, fraction, seed) for fraction in FRACTIONS]
    for small, large in pairwise(budgets):
        assert set(small.train.tolist()) <= set(large.train.tolist())
        assert set(small.validation.tolist()) <= set(large.validation.tolist())
        assert small.labels <= large.labels


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_budget_is_stratified_and_validation_at_most_a_quarter(
    index: DatasetIndex, fraction: float
) -> None:
    budget = label_budget(index, fraction, 0)
    assert set(budget.train.tolist()) <= set(index.where("train").tolist())
    assert set(budget.validation.tolist()) <= set(index.where("validation").tolist())
    assert (np.diff(budget.train) > 0).all()
    assert (np.diff(budget.validation) > 0).all()
    for c in range(4):
        total = np.sum((index.splits == "train") & (index.labels == c))
        train = int(np.sum(index.labels[budget.train] == c))
        held = int(np.sum(index.labels[budget.validation] == c))
        assert train == max(1, round(fraction * total))
        assert held <= max(1, (train + held) // 4)
    assert budget.labels == len(budget.train) + len(budget.validation)


def test_the_whole_budget_is_all_of_train(index: DatasetIndex) -> None:
    budget = label_budget(index, 1.0, 5)
    assert np.array_equal(budget.train, index.where("train"))


def test_a_large_validation_part_is_cut_to_a_quarter() -> None:
    shorts = [*classes(12, 12, split="train"), *classes(50, 50, split="validation")]
    budget = label_budget(sort([*shorts, *classes(5, 5, split="test")]).index, 1.0, 0)
    assert (len(budget.train), len(budget.validation)) == (24, 8)


def test_seeds_draw_different_labels(index: DatasetIndex) -> None:
    draws = {tuple(label_budget(index, 0.1, seed).train.tolist()) for seed in range(5)}
    assert len(draws) == 5
    again = label_budget(index, 0.1, 2)
    assert tuple(again.train.tolist()) in draws


def test_draws_of_one_seed_are_other_labels_and_nested_alike(index: DatasetIndex) -> None:
    draws = [label_budget(index, 0.1, 3, draw) for draw in range(4)]
    assert len({tuple(one.train.tolist()) for one in draws}) == 4
    assert np.array_equal(draws[0].train, label_budget(index, 0.1, 3).train)
    larger = label_budget(index, 0.5, 3, 2)
    assert set(draws[2].train.tolist()) <= set(larger.train.tolist())
    assert {one.labels for one in draws} == {draws[0].labels}


# --- samples and limits ------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 70), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_stratified_sample_is_as_even_as_can_be(labels: list[int], count: int, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    chosen = stratified_sample(array, count, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(labels))
    assert (np.diff(chosen) > 0).all()
    taken, there = Counter(array[chosen].tolist()), Counter(labels)
    most = max((taken[c] for c in there), default=0)
    for c in there:
        assert taken[c] >= min(there[c], most - 1)
    assert np.array_equal(stratified_sample(array, count, seed), chosen)


def test_a_limit_is_spread_over_folders_and_splits() -> None:
    pool = [Found(f"unlabeled/{f}/{i:03d}", f"/{f}{i}") for f in "abc" for i in range(30)]
    pool += [Found("unlabeled/tiny/0", "/t")]
    labelled = [
        Found(f"labeled/{split}/{label}/{i}", f"/{split}{label}{i}", label, split)
        for label in ("x", "y")
        for split, count in (("train", 60), ("validation", 20), ("test", 20))
        for i in range(count)
    ]
    kept = limit_files([*pool, *labelled], 10)
    folders = Counter(f.id.split("/")[1] for f in kept if not f.label)
    assert sum(folders.values()) == 10
    assert folders["tiny"] == 1
    assert all(folders[f] == 3 for f in "abc")
    for label in ("x", "y"):
        splits = Counter(f.split for f in kept if f.label == label)
        assert splits == {"train": 6, "validation": 2, "test": 2}
    assert limit_files([*pool, *labelled], 10) == kept
    order = {f.id: i for i, f in enumerate([*pool, *labelled])}
    assert [order[f.id] for f in kept] == sorted(order[f.id] for f in kept)


def test_a_limit_above_everything_keeps_everything() -> None:
    files, _ = made([*classes(3, 3), ("", "", "p")])
    assert limit_files(files, 100) == files
    assert len(limit_files(files, 1)) == 3  # one of each class, and one of the pool


# --- how much is done --------------------------------------------------------------------------


class Counted:
    """A name that counts how often names are compared."""

    compared = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def __lt__(self, other: Counted) -> bool:
        Counted.compared += 1
        return self.name < other.name

    def __ne__(self, other: object) -> bool:
        Counted.compared += 1
        return not isinstance(other, Counted) or self.name != other.name


@pytest.mark.parametrize("kinds", [2, 1000])
def test_as_many_kinds_as_images_cost_no_more_than_sorting(
    kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool with a folder for each image, a study with a class for every second one."""
    monkeypatch.setattr(Counted, "compared", 0)
    names = np.array([Counted(f"{i % kinds:04d}") for i in range(2000)], dtype=object)
    members = alike(names)
    assert Counted.compared < 2000 * 13  # log₂ 2000 is 11, and once to part them
    assert [m.tolist() for m in members] == [list(range(k, 2000, kinds)) for k in range(kinds)]


@given(st.lists(st.integers(-1, 5)))
def test_alike_positions_are_those_of_each_value(values: list[int]) -> None:
    found = [members.tolist() for members in alike(np.array(values, dtype=np.int64))]
    assert found == [[i for i, v in enumerate(values) if v == w] for w in sorted(set(values))]
