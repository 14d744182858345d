"""The index stage on real files: every copy that was put into the pool is found, and only those."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

import tiny_study
from headstart.config import StudyError
from headstart.data.synthetic import BagsSpec, generate
from headstart.reporting.sentences.images import leaks
from headstart.runtime.run import Dataset, Run, Silence
from headstart.stages.index import PAIR_COLUMNS, index
from headstart.stages.index.card import describe


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bags with parts and a pool, to be copied from."""
    spec = BagsSpec(
        pool=30, train_per_class=4, validation_per_class=2, test_per_class=3, size=64, seed=7
    )
    return generate(tmp_path_factory.mktemp("clean") / "bags", spec)


@pytest.fixture
def images(clean: Path, tmp_path: Path) -> Path:
    """The same files to spoil: links, so that nothing is copied."""
    for source in clean.rglob("*.jpg"):
        place = tmp_path / "bags" / source.relative_to(clean)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    return tmp_path / "bags"


def opened(images: Path, **data: object) -> tuple[Run, Dataset]:
    changes = {"data": data, "encoder": {"image_size": 48}}
    run = tiny_study.open_run(tiny_study.study(images, **changes), images.parent / "run")
    return run, index(run)


def rows(data: Dataset, name: str) -> list[dict[str, str]]:
    with (data.entry.folder / name).open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def removed(data: Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows(data, "removed.csv"):
        found[row["reason"]].add(row["id"])
    return dict(found)


def picture(images: Path, split: str, place: int) -> Path:
    return sorted((images / "labeled" / split).rglob("*.jpg"))[place]


def test_clean_images_lose_nothing(images: Path) -> None:
    run, data = opened(images)
    assert removed(data) == {}
    assert rows(data, "near_duplicates.csv") == []
    assert data.entry.info["near_duplicates"] == {
        "removed": 0,
        "review": 0,
        "groups": 0,
        "different_labels": 0,
    }
    assert describe(run, data).crossing_groups is None
    assert leaks(describe(run, data)) == []


def test_every_kind_of_copy_leaves_the_pool_and_nothing_else(images: Path) -> None:
    pool = images / "unlabeled"
    (pool / "exact.jpg").write_bytes(picture(images, "test", 0).read_bytes())
    kinds = {
        "recompressed": lambda im: im,
        "mirrored": ImageOps.mirror,
        "resized": lambda im: im.resize((im.width * 2 // 3, im.height * 2 // 3)),
        "squashed": lambda im: im.resize((64, 64)),
    }
    for place, (name, change) in enumerate(kinds.items(), 1):
        with Image.open(picture(images, "test", place)) as image:
            change(image.convert("RGB")).save(pool / f"{name}.jpg", quality=80)
    with Image.open(picture(images, "validation", 3)) as image:
        image.save(pool / "of validation.jpg", quality=60)
    with Image.open(picture(images, "train", 5)) as image:
        image.save(pool / "of train.jpg", quality=60)  # both are trained on: no leak

    run, data = opened(images)
    assert removed(data) == {
        "pool_copies_of_test": {"unlabeled/exact.jpg"},
        "pool_near_copies_of_test": {f"unlabeled/{name}.jpg" for name in kinds},
        "pool_near_copies_of_validation": {"unlabeled/of validation.jpg"},
    }
    pairs = rows(data, "near_duplicates.csv")
    assert tuple(pairs[0]) == PAIR_COLUMNS
    assert {p["id"]: p["mirrored"] for p in pairs} == {
        f"unlabeled/{name}.jpg": "yes" if name == "mirrored" else "no"
        for name in (*kinds, "of validation")
    }
    assert {(p["split"], p["outcome"]) for p in pairs} == {("removed", "removed")}
    assert describe(run, data).near_duplicates.removed == 5
    kept = set(data.index.ids.tolist())
    assert "unlabeled/of train.jpg" in kept

    _, careless = opened(images, near_duplicates=False)
    assert removed(careless) == {"pool_copies_of_test": {"unlabeled/exact.jpg"}}
    assert careless.entry.key != data.entry.key


@pytest.mark.parametrize("size", [(300, 400), (64, 64)])
def test_a_test_jpeg_that_lies_in_the_pool_as_png_is_a_near_copy(
    images: Path, size: tuple[int, int]
) -> None:
    """A JPEG is decoded at a smaller scale where that is enough, a PNG never."""
    test = picture(images, "test", 2)
    with Image.open(test) as image:
        large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    test.unlink()
    large.save(test)
    with Image.open(test) as image:
        image.save(images / "unlabeled" / "copy.png")
    _, data = opened(images)
    assert removed(data) == {"pool_near_copies_of_test": {"unlabeled/copy.png"}}


def test_a_copy_in_training_leaves_given_parts(images: Path) -> None:
    source = picture(images, "test", 4)
    with Image.open(source) as image:
        ImageOps.mirror(image).save(images / "labeled/train" / source.parent.name / "again.jpg")
    _, data = opened(images)
    assert removed(data) == {
        "train_near_copies_of_test": {f"labeled/train/{source.parent.name}/again.jpg"}
    }


def test_copies_go_one_way_where_the_split_is_made(images: Path) -> None:
    bags = images / "labeled"
    flat = images / "classes"
    for path in sorted(bags.rglob("*.jpg")):
        name = f"{path.parent.parent.name}-{path.name}"
        (flat / path.parent.name).mkdir(parents=True, exist_ok=True)
        (flat / path.parent.name / name).symlink_to(path.resolve())
    expected = {}
    for path in sorted(flat.rglob("*0.jpg")):
        with Image.open(path) as image:
            copy = path.with_name(f"again-{path.name}")
            image.save(copy, quality=80)
            expected[f"labeled/{path.parent.name}/{path.name}"] = copy.name
    assert len(expected) >= 9
    _, data = opened(images, labeled=str(flat))
    assert removed(data) == {}
    where = dict(zip(data.index.ids.tolist(), data.index.splits.tolist(), strict=True))
    group = dict(zip(data.index.ids.tolist(), data.index.groups.tolist(), strict=True))
    for identity, copy in expected.items():
        other = f"{identity.rpartition('/')[0]}/{copy}"
        assert where[identity] == where[other]
        assert group[identity] == group[other]
    assert data.entry.info["near_duplicates"]["groups"] == len(expected)


def test_a_copy_in_another_class_is_told_of(images: Path) -> None:
    source = picture(images, "train", 0)
    other = next(p for p in sorted((images / "labeled/train").iterdir()) if p != source.parent)
    with Image.open(source) as image:
        image.save(other / "mislabelled.jpg", quality=70)
    run, data = opened(images)
    assert removed(data) == {}
    assert data.entry.info["near_duplicates"]["different_labels"] == 1
    assert any("different classes" in line for line in leaks(describe(run, data)))
    (pair,) = rows(data, "near_duplicates.csv")
    assert pair["labels"] == "different"


def test_groups_are_part_of_the_key_and_keep_images_together(images: Path) -> None:
    table = images.parent / "people.csv"
    files = sorted((images / "labeled").rglob("*.jpg"))
    lines = [f"{p.relative_to(images / 'labeled')},person {i % 20}" for i, p in enumerate(files)]
    table.write_text("file,group\n" + "\n".join(lines), encoding="utf8")
    run, data = opened(images, groups=str(table))
    crossing = describe(run, data).crossing_groups
    assert crossing.groups == 20  # the folders' parts know nothing of people
    assert crossing.test == 27
    assert any("20 groups of yours" in line for line in leaks(describe(run, data)))
    table.write_text("file,group\n" + "\n".join(lines[:-1]), encoding="utf8")
    _, other = opened(images, groups=str(table))
    assert other.entry.key != data.entry.key
    _, again = opened(images, groups=str(table))
    assert again.entry.key == other.entry.key


def test_a_bad_group_setting_is_one_line_before_any_image_is_read(images: Path) -> None:
    with pytest.raises(StudyError, match=r"--groups nobody\.csv: No such file"):
        opened(images, groups="nobody.csv")
    assert not (images.parent / "cache").exists()


def test_the_same_images_give_the_same_index(images: Path) -> None:
    with Image.open(picture(images, "test", 1)) as image:
        image.save(images / "unlabeled" / "again.jpg", quality=70)
    _, first = opened(images)
    changes = {"encoder": {"image_size": 48}}
    run = tiny_study.open_run(tiny_study.study(images, **changes), images.parent / "another run")
    second = index(run)
    assert str(first.index.digest) == str(second.index.digest)
    assert first.entry.folder != second.entry.folder
    for name in ("near_duplicates.csv", "removed.csv"):
        assert rows(first, name) == rows(second, name)


def in_classes(images: Path) -> Path:
    """The training images in class folders without parts."""
    flat = images / "classes"
    for path in sorted((images / "labeled/train").rglob("*.jpg")):
        (flat / path.parent.name).mkdir(parents=True, exist_ok=True)
        (flat / path.parent.name / path.name).symlink_to(path.resolve())
    return flat


def test_a_class_of_one_image_trains_and_is_not_tested(images: Path) -> None:
    flat = in_classes(images)
    for path in sorted((flat / "hobo").iterdir())[1:]:
        path.unlink()
    _, data = opened(images, labeled=str(flat))
    (alone,) = (c for c in data.entry.info["classes"] if c["name"] == "hobo")
    assert alone == {"name": "hobo", "train": 1, "validation": 0, "test": 0}


def test_one_file_in_two_classes_is_in_neither(images: Path) -> None:
    flat = in_classes(images)
    one, other = sorted(flat.iterdir())[:2]
    source = sorted(one.iterdir())[0]
    (other / "same.jpg").write_bytes(source.read_bytes())
    _, data = opened(images, labeled=str(flat))
    ids = {f"labeled/{one.name}/{source.name}", f"labeled/{other.name}/same.jpg"}
    assert removed(data) == {"conflicting_labels": ids}


def test_results_below_the_images_are_never_read(images: Path) -> None:
    """Neither by the run that wrote them nor by the next one with a folder of its own."""
    expected = opened(images)[1].entry.info["counts"]
    for place in ("unlabeled/first", "unlabeled/second", "labeled/train/third"):
        out = images / place
        run = tiny_study.open_run(tiny_study.study(images, encoder={"image_size": 48}), out)
        for name in ("report/figure.png", "explain/cell/1.jpg"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), "teal").save(out / name)
        for _ in range(2):
            assert index(run).entry.info["counts"] == expected


def test_names_in_any_script_come_through(images: Path) -> None:
    names = ["ünïcöde_包.jpg", "صورة.jpg", "new\nline.jpg", "a,b'c\"d.jpg", "-rf.jpg", "😀.jpg"]
    names.append(os.fsdecode(b"caf\xe9.jpg"))
    for place, name in enumerate(names):
        source = sorted((images / "unlabeled").glob("*.jpg"))[place]
        source.rename(source.with_name(name))
    torn = images / "unlabeled" / "пусто\n,.jpg"
    torn.write_bytes(b"")
    _, data = opened(images)
    pool = {i for i in data.index.ids.tolist() if i.startswith("unlabeled/")}
    printable = {name.encode("utf8", "backslashreplace").decode() for name in names}
    assert {f"unlabeled/{name}" for name in printable} <= pool
    assert len(pool) == 30
    assert [row["id"] for row in rows(data, "quarantine.csv")] == ["unlabeled/пусто\n,.jpg"]


def test_a_cache_that_was_altered_is_told_of(images: Path) -> None:
    run, _ = opened(images)
    (pixels,) = (images.parent / "cache").glob("*/pixels.npy")
    content = bytearray(pixels.read_bytes())
    content[-1] ^= 1
    pixels.write_bytes(content)
    said: list[str] = []

    class Listener(Silence):
        def line(self, text: str) -> None:
            said.append(text)

    index(replace(run, tell=Listener()))
    assert len(said) == 1
    assert said[0].endswith("were altered; the images are read again")
