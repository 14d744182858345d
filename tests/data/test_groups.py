"""Groups of the user: read in every form, cut as a whole, and never in silence."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config import Data, StudyError
from headstart.data.groups import partners, read_groups
from headstart.data.near import Pairs
from headstart.data.partition import place_groups, quota
from headstart.data.scan import Found
from headstart.data.splits import Indexed, Related, sort_images


def labelled(*names: str, split: str = "") -> list[Found]:
    """Files like ``bag/alice/1_a.jpg`` below the labelled folder."""
    files = []
    for name in names:
        below = f"{split}/{name}" if split else name
        files.append(Found(f"labeled/{below}", f"/x/{below}", name.split("/")[0], split))
    return files


FILES = labelled("bag/alice/1_a.jpg", "bag/bob/2_b.jpg", "hat/alice/3_a.jpg", "hat/4_c.jpg")
FILES += [Found("unlabeled/alice/5_a.jpg", "/y/5"), Found("unlabeled/6_d.jpg", "/y/6")]


# --- reading -----------------------------------------------------------------------------------


CELLS = st.sampled_from(
    ["id", "file", "group", "a", "3_a", "1_a.jpg", "", " ", '"', "é", "\0", "x,y"]
)
TABLES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=8).map(
        lambda lines: "\n".join(["id,group", *lines]).encode()
    ),
)


@given(TABLES)
@settings(max_examples=150, deadline=None)
def test_any_table_gives_groups_or_one_line(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(content)
        file.flush()
        _groups_or_one_line(file.name)


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_pattern_gives_groups_or_one_line(spec: str) -> None:
    _groups_or_one_line(spec)


def _groups_or_one_line(spec: str) -> None:
    refused = ""
    try:
        groups = read_groups(spec, FILES)
    except StudyError as error:
        refused = str(error)
    if refused:
        assert refused.startswith("--groups ")
        assert refused.isprintable()
        return
    assert len(groups) == len(FILES)
    assert all(isinstance(group, str) for group in groups)
    assert any(groups[:4])


def test_folders_below_the_class_are_groups() -> None:
    assert read_groups("folder", FILES) == ("alice", "bob", "alice", "", "alice", "")
    parted = labelled("bag/alice/1.jpg", "bag/2.jpg", split="train")
    assert read_groups("folder", parted) == ("alice", "")  # the class's own folder is none


def test_a_pattern_takes_its_one_group() -> None:
    assert read_groups(r"_(\w)\.jpg$", FILES) == ("a", "b", "a", "c", "a", "d")
    assert read_groups(r"bag/(?P<who>\w+)/", FILES) == ("alice", "bob", "", "", "", "")


@pytest.mark.parametrize(
    "text",
    [
        "id,group\nlabeled/bag/alice/1_a.jpg,x\nlabeled/hat/4_c.jpg,y\nunlabeled/6_d.jpg,x\n",
        "file, group\nbag/alice/1_a.jpg, x\nhat/4_c.jpg, y\n6_d.jpg, x\nelsewhere.jpg, z\n",
        "\ufeffGroup,Image,more\r\nx,1_a,1\r\ny,4_c,2\r\nx,6_d,3\r\n",
    ],
)
def test_a_table_may_name_ids_paths_or_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "who.csv"
    path.write_text(text, encoding="utf8", newline="")
    assert read_groups(str(path), FILES) == ("x", "", "", "y", "", "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("name,person\na,b\n", "needs the columns 'id' (or 'file') and 'group', has 'name', 'per"),
        ("", "needs the columns 'id' (or 'file') and 'group', has none"),
        ("id,group\nnobody.jpg,x\n", "none of its rows names a labelled image"),
        ("id,group\n6_d.jpg,x\n", "none of its rows names a labelled image"),  # only the pool
        ("id,group\n1_a.jpg,\n", "none of its rows names a labelled image"),
        (b"id,group\n\xff\xfe,x\n", "not readable as CSV"),
        ("id,group\nsame.jpg,x\n", "'same.jpg' is the name of 2 images; write their ids, like"),
    ],
)
def test_mistakes_in_a_table_are_one_line(
    tmp_path: Path, text: str | bytes | None, told: str
) -> None:
    path = tmp_path / "who.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError) as error:
        read_groups(str(path), [*FILES, *labelled("bag/same.jpg", "hat/same.jpg")])
    assert str(error.value).startswith(f"--groups {path}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def groups_or_line(spec: str) -> str:
    """What is told of a specification; nothing where every image got its group."""
    try:
        assert len(read_groups(spec, FILES)) == len(FILES)
    except StudyError as error:
        return str(error)
    return ""


@given(
    content=st.binary(max_size=60)
    | st.text("id,group\n\"'/1_a.jpg\0\r;", max_size=80).map(str.encode)
    | st.text('a1_.jpg",\n\r\0', max_size=60).map(lambda t: f"id,group\n{t}".encode())
)
def test_any_bytes_give_a_line_or_groups(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    line = groups_or_line(str(path))
    assert line == "" or line.startswith(f"--groups {path}: ")
    assert "\n" not in line


@given(spec=st.text(max_size=30))
def test_any_text_gives_a_line_or_groups(spec: str) -> None:
    assert "\n" not in groups_or_line(spec)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("(", "nor a regular expression"),
        (r"\d+", "needs one group in brackets, like '/(\\d+)_'; this one has 0"),
        (r"(\d)(\d)", "this one has 2"),
        ("sender-(.+)", "matches no labelled image, such as 'labeled/bag/alice/1_a.jpg'"),
        ("unlabeled/(.+)", "matches no labelled image"),
    ],
)
def test_mistakes_in_a_pattern_are_one_line(spec: str, told: str) -> None:
    with pytest.raises(StudyError) as error:
        read_groups(spec, FILES)
    assert told in str(error.value)


def test_class_folders_alone_are_no_groups() -> None:
    with pytest.raises(StudyError, match="no labelled image lies in a folder of its own"):
        read_groups("folder", labelled("bag/1.jpg", "hat/2.jpg"))


# --- cutting -----------------------------------------------------------------------------------

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_five_equal_groups_are_cut_three_one_one() -> None:
    sizes = np.full((5, 2), 10)
    parts = place_groups(sizes, np.zeros(2, int), SHARES, np.random.default_rng(0))
    assert Counter(parts) == {"train": 3, "validation": 1, "test": 1}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(1, {"train"}), (2, {"train", "test"}), (3, {"train", "test", "validation"})],
)
def test_few_groups_train_first_then_test(groups: int, expected: set[str]) -> None:
    sizes = np.array([[50], [30], [20]])[:groups]
    assert set(place_groups(sizes, np.zeros(1, int), SHARES, np.random.default_rng(0))) == expected


def test_single_images_fill_what_groups_leave_empty() -> None:
    parts = place_groups(np.array([[30]]), np.array([20]), SHARES, np.random.default_rng(0))
    assert parts == ["train"]
    room = quota(20, {"train": 30.0, "validation": 10.0, "test": 10.0}, {"train": 30})
    assert room == {"train": 0, "validation": 10, "test": 10}


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_many_small_groups_come_near_the_shares(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    sizes = rng.multinomial(4, [0.5, 0.3, 0.2], size=80)
    parts = np.array(place_groups(sizes, np.zeros(3, int), SHARES, np.random.default_rng(0)))
    for name, share in SHARES.items():
        found = sizes[parts == name].sum(axis=0)
        assert np.abs(found - share * sizes.sum(axis=0)).max() <= 4


class Alike:
    """Says which rows are near-copies, without any pixel."""

    def __init__(self, *pairs: tuple[int, int], review: tuple[tuple[int, int], ...] = ()) -> None:
        self.near, self.review = set(pairs), set(review)

    def pairs(self, a: object, b: object = None) -> Pairs:
        rows, others = [int(i) for i in a], [int(i) for i in (a if b is None else b)]  # type: ignore[attr-defined]
        found = [
            (i, j)
            for i, j in sorted(self.near | self.review)
            for i, j in ((i, j), (j, i))
            if i in rows and j in others and (b is not None or i < j)
        ]
        i, j = np.array(found, np.int64).reshape(-1, 2).T
        near = np.array([bool({p, p[::-1]} & self.near) for p in found], np.bool_)
        return Pairs(i, j, i * 0, np.full(len(i), 0.99), np.zeros(len(i), np.bool_), near)


def sort(
    files: list[Found],
    groups: tuple[str, ...] = (),
    near: Alike | None = None,
    digests: list[str] | None = None,
) -> Indexed:
    digests = digests or [f"{i:04d}" for i in range(len(files))]
    return sort_images(files, digests, Data(), 0, Related(near, groups))


def splits(indexed: Indexed) -> dict[str, str]:
    index = indexed.index
    return dict(zip(index.ids.tolist(), index.splits.tolist(), strict=True))


def test_a_group_goes_to_one_part_as_a_whole() -> None:
    rng = np.random.default_rng(1)
    files = [f for c in "abc" for f in labelled(*(f"{c}/{i:03d}.jpg" for i in range(60)))]
    groups = tuple(f"person {rng.integers(25)}" if i % 3 else "" for i in range(len(files)))
    indexed = sort(files, groups)
    where: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, set[int]] = defaultdict(set)
    for file, group in zip(files, groups, strict=True):
        if group:
            where[group].add(splits(indexed)[file.id])
            place = indexed.index.ids.tolist().index(file.id)
            numbers[group].add(int(indexed.index.groups[place]))
    assert all(len(found) == 1 for found in (*where.values(), *numbers.values()))
    assert len({n for found in numbers.values() for n in found}) == len(numbers)
    assert {next(iter(found)) for found in where.values()} == set(SHARES)
    sizes = Counter(splits(indexed).values())
    assert sizes["train"] == pytest.approx(108, abs=4)
    assert sizes["test"] == pytest.approx(36, abs=4)
    assert indexed.removed == {}
    assert indexed.crossing["groups"] == 0


@given(st.permutations(range(40)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_files_changes_no_group(order: list[int]) -> None:
    files = labelled(*(f"{'ab'[i % 2]}/{i:03d}.jpg" for i in range(40)))
    groups = tuple(f"g{i // 5}" if i < 30 else "" for i in range(40))
    digests = [f"{i:04d}" for i in range(40)]
    before = sort(files, groups, digests=digests)
    after = sort(
        [files[i] for i in order],
        tuple(groups[i] for i in order),
        digests=[digests[i] for i in order],
    )
    assert splits(before) == splits(after)


def test_groups_across_given_parts_are_counted_and_kept() -> None:
    files = labelled("a/1", "a/2", "b/3", "b/4", split="train")
    files += labelled("a/5", "b/6", split="validation") + labelled("a/7", "b/8", split="test")
    files += [Found("unlabeled/9", "/9"), Found("unlabeled/10", "/10")]
    groups = ("ann", "ann", "bea", "", "", "cat", "ann", "cat", "cat", "bea")
    indexed = sort(files, groups)
    assert indexed.removed == {}
    assert indexed.split == "given"
    # ann: two of train and one of test; cat: validation, test and pool; bea: train and pool only
    assert indexed.crossing == {"groups": 2, "pool": 1, "train": 2, "validation": 1, "test": 2}
    index = indexed.index
    tested = set(index.groups[index.where("test")].tolist())
    assert not tested & set(index.groups[index.where("train", "pool")].tolist())


# --- near-copies in the splits -----------------------------------------------------------------


def test_near_copies_go_to_one_part_together() -> None:
    files = labelled(*(f"{'ab'[i % 2]}/{i:03d}.jpg" for i in range(60)))
    chain = Alike((0, 10), (10, 20), (31, 33), (40, 43))
    indexed = sort(files, (), chain)
    where = splits(indexed)
    for members in ((0, 10, 20), (31, 33), (40, 43)):
        assert len({where[files[i].id] for i in members}) == 1
    assert indexed.clusters == 3
    assert indexed.removed == {}
    assert {p.outcome for p in indexed.near} == {"kept together"}
    assert [p.classes for p in indexed.near].count(2) == 1  # 40 and 43 are of two classes
    assert Counter(where.values()) == {"train": 36, "validation": 12, "test": 12}


def test_near_copies_leave_the_less_guarded_part() -> None:
    files = labelled("a/0", "b/1", "a/2", "a/3", "b/4", split="train")
    files += labelled("a/5", "b/6", "a/7", split="validation") + labelled(
        "a/8", "b/9", split="test"
    )
    files += [Found(f"unlabeled/{i}", f"/{i}") for i in range(10, 15)]
    alike = Alike(
        (0, 8),  # train and test
        (2, 5),  # train and validation
        (6, 9),  # validation and test
        (1, 6),  # train and a validation image that leaves: nothing to guard any more
        (3, 4),  # both in train
        (10, 5),  # pool and validation
        (10, 8),  # and test: the stricter reason
        (11, 7),  # pool and validation
        (12, 3),  # pool and train: no leak
        review=((13, 9), (3, 7)),
    )
    indexed = sort(files, (), alike)
    removed = {
        reason: [int(i.rpartition("/")[2]) for i in ids] for reason, ids in indexed.removed.items()
    }
    assert removed == {
        "train_near_copies_of_test": [0],
        "validation_near_copies_of_test": [6],
        "train_near_copies_of_validation": [2],
        "pool_near_copies_of_test": [10],
        "pool_near_copies_of_validation": [11],
    }
    outcomes = {
        (int(p.id_a.rpartition("/")[2]), int(p.id_b.rpartition("/")[2])): p.outcome
        for p in indexed.near
    }
    assert outcomes[3, 4] == "kept together"
    assert outcomes[3, 7] == outcomes[13, 9] == "review"
    assert outcomes[0, 8] == outcomes[10, 8] == "removed"
    index = indexed.index
    guarded = set(index.groups[index.where("test", "validation")].tolist())
    assert not guarded & set(index.groups[index.where("train", "pool")].tolist())


def test_identical_and_near_copies_leave_together() -> None:
    files = labelled("a/0", "a/1", "b/2", split="train") + labelled("a/3", "b/4", split="test")
    files += labelled("a/5", "b/6", split="validation")
    digests = ["same", "same", "x", "y", "z", "v", "w"]
    indexed = sort(files, (), Alike((0, 3)), digests)
    assert indexed.removed == {
        "train_near_copies_of_test": ["labeled/train/a/0", "labeled/train/a/1"]
    }


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(st.integers(0, 5), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_partners_are_of_another_group_where_there_is_one(numbers: list[int], seed: int) -> None:
    groups = np.array(numbers)
    found = partners(groups, np.random.default_rng(seed))
    largest = max(numbers.count(g) for g in numbers)
    if largest < len(numbers):
        assert (groups[found] != groups).all()
    elif len(numbers) > 1:
        assert (found != np.arange(len(numbers))).all()
    if 2 * largest <= len(numbers) or largest == len(numbers):
        assert sorted(found.tolist()) == list(range(len(numbers)))  # each serves once
