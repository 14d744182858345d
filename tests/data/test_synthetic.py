"""The generated bags: the same numbers draw the same bags, the mask is the bag, and only the
shortcut tells the class from the background."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats
from sklearn.neighbors import KNeighborsClassifier

from headstart.data.synthetic import (
    BACKGROUNDS,
    CLASSES,
    REFERENCE_COUNTS,
    SPLITS,
    BagsSpec,
    draw_bag,
    generate,
    study,
)

TINY = BagsSpec(pool=5, train_per_class=1, validation_per_class=0, test_per_class=1, size=32)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("bags") / "tiny", TINY)


def test_there_are_nine_classes_in_order_each_with_a_background_of_its_own() -> None:
    assert len(CLASSES) == len(set(BACKGROUNDS)) == len(REFERENCE_COUNTS) == 9
    assert list(CLASSES) == sorted(CLASSES)


# ------------------------------------------------------------------ determinism


def test_the_same_spec_writes_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    assert digests(generate(tmp_path / "again", TINY)) == digests(tiny)


def test_more_images_leave_the_first_ones_as_they_were(tiny: Path, tmp_path: Path) -> None:
    longer = replace(TINY, pool=7, train_per_class=2, validation_per_class=1)
    more, few = digests(generate(tmp_path / "more", longer)), digests(tiny)
    del few["bags.json"]
    assert few.items() <= more.items()
    assert len(more) - len(few) == 1 + 2 * (2 + 9 + 9)


def test_another_seed_draws_other_bags(tiny: Path, tmp_path: Path) -> None:
    other = digests(generate(tmp_path / "other", replace(TINY, seed=1)))
    same = {name for name, digest in digests(tiny).items() if other.get(name) == digest}
    assert same == set()


def test_no_two_images_are_alike(tiny: Path) -> None:
    pictures = [d for name, d in digests(tiny).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == len(pictures) == 5 + 9 + 9


@given(
    seed=st.integers(0, 2**31),
    split=st.sampled_from(SPLITS),
    i=st.integers(0, 10**6),
    counts=st.integers(1, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_an_entry_depends_on_seed_split_and_number_only(
    seed: int, split: str, i: int, counts: int
) -> None:
    label = None if split == "pool" else i % 9
    few = study._entry(BagsSpec(seed=seed), split, label, i)
    many = study._entry(BagsSpec(seed=seed, pool=counts, quality=50), split, label, i)
    assert few == many


def test_the_shortcut_changes_the_background_and_nothing_else() -> None:
    free, bound = (study._entries(BagsSpec(pool=200, shortcut=shortcut)) for shortcut in (0.0, 1.0))
    assert [replace(e, background="") for e in free] == [replace(e, background="") for e in bound]
    assert [e.background for e in free] != [e.background for e in bound]


# ------------------------------------------------------------------ the mask


@pytest.mark.parametrize("name", CLASSES)
def test_the_mask_has_two_values_and_a_fair_share_of_the_picture(name: str) -> None:
    shares = []
    for i in range(18):
        size = ((64, 64), (48, 64), (64, 48))[i % 3]
        image, mask = draw_bag(i, name, BACKGROUNDS[i % 9], size)
        assert (image.mode, mask.mode, image.size, mask.size) == ("RGB", "L", size, size)
        values = np.asarray(mask)
        assert set(np.unique(values).tolist()) == {0, 255}
        shares.append(values.mean() / 255)
    assert min(shares) > 0.12
    assert max(shares) < 0.75
    assert 0.2 < np.median(shares) < 0.6


@pytest.mark.parametrize("name", CLASSES)
def test_the_mask_is_what_stays_when_the_background_changes(name: str) -> None:
    """The same bag on two scenes: equal on the mask, different off it, shadow included."""
    for i in range(6):
        pictures, masks = zip(
            *(draw_bag([8, i], name, family, (96, 96)) for family in ("shelves", "grass")),
            strict=True,
        )
        first, second = (np.asarray(picture, dtype=int) for picture in pictures)
        mask = np.asarray(masks[0]) > 0
        assert np.array_equal(mask, np.asarray(masks[1]) > 0)
        change = np.abs(first - second).max(axis=2)
        # The camera's blur mixes some pixels across the edge (its tail is 1 or 2 of 255), and a
        # slit narrower than a pixel, between belt and pouch, may be half seen through.
        inside, outside = ndimage.binary_erosion(mask, iterations=4), ~ndimage.binary_dilation(mask)
        assert inside.sum() > 200
        assert (change[inside] > 2).mean() < 0.01
        assert (change[outside] > 2).mean() > 0.9


@pytest.mark.parametrize("name", ["hobo", "secchiello", "shopping", "tracolla"])
def test_the_hole_of_a_handle_is_not_bag(name: str) -> None:
    holes = []
    for i in range(12):
        mask = np.asarray(draw_bag([3, i], name, "studio", (96, 96))[1]) > 0
        holes.append((ndimage.binary_fill_holes(mask) & ~mask).mean())
    assert np.median(holes) > 0.01


@pytest.mark.parametrize("name", CLASSES)
def test_the_bag_is_in_one_piece(name: str) -> None:
    """Handles and straps are attached: nearly all of the mask hangs together."""
    for i in range(12):
        mask = np.asarray(draw_bag([4, i], name, "wall", (96, 96))[1]) > 0
        pieces, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        largest = np.bincount(pieces.ravel())[1:].max()
        assert largest / mask.sum() > 0.9


def test_unknown_names_and_tiny_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no class is called 'purse'"):
        draw_bag(0, "purse", "wood")
    with pytest.raises(ValueError, match=r"no background is called 'moon'"):
        draw_bag(0, "hobo", "moon")
    with pytest.raises(ValueError, match=r"32 to"):
        draw_bag(0, "hobo", "wood", (31, 64))


# ------------------------------------------------------------------ the shortcut


def agreement(spec: BagsSpec, split: str) -> tuple[int, int]:
    entries = [e for e in study._entries(spec) if e.split == split]
    own = [CLASSES.index(e.class_name) == BACKGROUNDS.index(e.background) for e in entries]
    return sum(own), len(own)


@pytest.mark.parametrize("shortcut", [0.0, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("balanced", [True, False])
def test_class_and_background_agree_as_often_as_the_knob_says(
    shortcut: float, balanced: bool
) -> None:
    spec = BagsSpec(pool=4000, shortcut=shortcut, balanced=balanced)
    agreed, n = agreement(spec, "pool")
    expected = shortcut + (1 - shortcut) / 9
    low, high = stats.binom.interval(0.9999, n, expected)
    assert low <= agreed <= high


def test_without_shortcut_the_background_tells_nothing() -> None:
    entries = study._entries(BagsSpec(pool=6000, balanced=True, seed=3))
    table = np.zeros((9, 9))
    for e in entries:
        table[CLASSES.index(e.class_name), BACKGROUNDS.index(e.background)] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_test_images_may_have_a_shortcut_of_their_own() -> None:
    spec = BagsSpec(pool=9, train_per_class=60, test_per_class=60, shortcut=1, test_shortcut=0)
    for split, expected in (("train", 1.0), ("validation", 1.0), ("test", 1 / 9)):
        agreed, n = agreement(spec, split)
        low, high = stats.binom.interval(0.9999, n, expected)
        assert low <= agreed <= high, split


@pytest.mark.parametrize("balanced", [True, False])
def test_the_pool_has_the_classes_it_should(balanced: bool) -> None:
    entries = study._entries(BagsSpec(pool=5000, balanced=balanced, train_per_class=0))
    pool = [e.class_name for e in entries if e.split == "pool"]
    odds = np.ones(9) if balanced else np.array(REFERENCE_COUNTS)
    counts = [pool.count(name) for name in CLASSES]
    assert stats.chisquare(counts, odds / odds.sum() * 5000).pvalue > 1e-3


def neighbours(x: np.ndarray, y: np.ndarray) -> float:
    half = len(x) // 2
    return float(KNeighborsClassifier(5).fit(x[:half], y[:half]).score(x[half:], y[half:]))


def test_colour_does_not_tell_the_class_but_a_shortcut_does() -> None:
    """5 nearest neighbours on the mean colour (of picture, of bag), and on the frame's pixels."""
    rng = np.random.default_rng(0)
    y = np.arange(324) % 9
    mean, bag, frames = [], [], {True: [], False: []}
    for i, label in enumerate(y.tolist()):
        for own in (True, False):
            family = BACKGROUNDS[label if own else rng.integers(9)]
            image, mask = draw_bag([6, i], CLASSES[label], family, (32, 32))
            pixels = np.asarray(image, dtype=float)
            grain = np.abs(np.diff(pixels, axis=0)).mean((0, 2)), pixels.std((0, 1))
            frames[own].append(np.concatenate([pixels[:2].mean((0, 1)), *grain]))
        mean.append(pixels.mean((0, 1)))
        bag.append(pixels[np.asarray(mask) > 0].mean(0))
    ceiling = stats.binom.ppf(0.9999, 162, 1 / 9) / 162  # 0.21 where chance is 0.11
    assert neighbours(np.array(mean), y) < ceiling
    assert neighbours(np.array(bag), y) < ceiling
    assert neighbours(np.array(frames[True]), y) > neighbours(np.array(frames[False]), y) + 0.15


def test_the_outline_alone_tells_the_class() -> None:
    """5 nearest neighbours on small masks, without any colour: far above chance, 0.11."""
    y = np.arange(540) % 9
    masks = [
        np.asarray(draw_bag([7, i], CLASSES[label], "wood", (64, 64))[1].resize((24, 24))).ravel()
        for i, label in enumerate(y.tolist())
    ]
    assert neighbours(np.array(masks, dtype=float), y) > 0.5


# ------------------------------------------------------------------ on disk


def test_the_layout_on_disk(tiny: Path) -> None:
    record = json.loads((tiny / "bags.json").read_text())
    pictures = {str(p.relative_to(tiny)) for p in tiny.rglob("*.jpg")}
    assert pictures == {image["path"] for image in record["images"]}
    assert {p.split("/")[0] for p in pictures} == {"unlabeled", "labeled"}
    masks = {str(p.relative_to(tiny / "masks")) for p in tiny.rglob("*.png")}
    assert masks == {p.removesuffix(".jpg") + ".png" for p in pictures}
    assert sorted(p.name for p in (tiny / "labeled" / "train").iterdir()) == list(CLASSES)
    assert not (tiny / "labeled" / "validation").exists()
    for image in record["images"]:
        assert image["background"] in BACKGROUNDS
        if image["split"] != "pool":
            assert image["path"].startswith(f"labeled/{image['split']}/{image['class']}/")
        with Image.open(tiny / image["path"]) as picture:
            assert min(picture.size) == 32
            with Image.open((tiny / "masks" / image["path"]).with_suffix(".png")) as mask:
                assert mask.size == picture.size
                assert set(np.unique(np.asarray(mask.convert("L"))).tolist()) == {0, 255}


def test_the_unlabelled_folder_does_not_tell_the_class(tiny: Path) -> None:
    assert [p.name for p in sorted((tiny / "unlabeled").iterdir())] == [
        f"{i:06d}.jpg" for i in range(5)
    ]


def test_pictures_are_not_all_square() -> None:
    sizes = {e.size for e in study._entries(BagsSpec(pool=100, size=96))}
    assert sizes == {(96, 96), (96, 128), (96, 120), (128, 96)}


def test_progress_counts_every_image(tmp_path: Path) -> None:
    spec = replace(TINY, pool=2, train_per_class=0, test_per_class=0)
    seen: list[tuple[int, int]] = []
    generate(tmp_path / "bags", spec, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_finished_folder_is_left_alone(tiny: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in tiny.rglob("*")}

    def refuse(done: int, total: int) -> None:
        raise AssertionError("drawn again")

    assert generate(tiny, BagsSpec(**vars(TINY)), refuse) == tiny
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*")} == before


def test_a_folder_of_something_else_is_refused(tiny: Path, tmp_path: Path) -> None:
    before = digests(tiny)
    with pytest.raises(ValueError, match="another spec"):
        generate(tiny, replace(TINY, shortcut=0.5))
    assert digests(tiny) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        generate(tmp_path, TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_bags_of_another_version_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "VERSION", study.VERSION + 1)
    with pytest.raises(ValueError, match="another spec"):
        generate(tiny, TINY)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "bags").mkdir()
    generate(tmp_path / "bags", replace(TINY, pool=1, train_per_class=0, test_per_class=0))
    assert (tmp_path / "bags" / "bags.json").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_generation_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise error

    with pytest.raises(error):
        generate(tmp_path / "bags", TINY, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_generation_leaves_no_folder_and_does_not_stand_in_the_way(
    tiny: Path, tmp_path: Path
) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from headstart.data.synthetic import BagsSpec, generate\n"
        f"spec = {TINY!r}\n"
        "generate(pathlib.Path(sys.argv[1]), spec, lambda done, n: done == 3 and os._exit(9))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "bags")], check=False)
    assert done.returncode == 9
    assert not (tmp_path / "bags").exists()
    assert digests(generate(tmp_path / "bags", TINY)) == digests(tiny)


@pytest.mark.skipif(sys.platform == "win32", reason="it cannot be asked there who is alive")
@pytest.mark.parametrize("name", ["bags", "bags.*", "bags (1)[x]+"])
def test_what_a_killed_generation_left_is_removed_and_nothing_else(
    tmp_path: Path, name: str
) -> None:
    spec = replace(TINY, pool=1, train_per_class=0, test_per_class=0)
    script = (
        "import os, pathlib, signal, sys\n"
        "from headstart.data.synthetic import BagsSpec, generate\n"
        f"spec = {spec!r}\n"
        "die = lambda done, n: os.kill(os.getpid(), signal.SIGKILL)\n"
        "generate(pathlib.Path(sys.argv[1]), spec, die)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / name)])
    killed.wait()
    left = tmp_path / f".{name}.{killed.pid}.partial"
    assert [p.name for p in tmp_path.iterdir()] == [left.name]
    assert (left / "unlabeled" / "000000.jpg").is_file()

    dead = killed.pid
    alive = [f".{name}.{pid}.partial" for pid in (1, os.getppid())]
    others = [f".other.{dead}.partial", f".{name}x.{dead}.partial", f".bagsZ.{dead}.partial"]
    lookalikes = [f".{name}.partial", f".{name}.{dead}", f"{name}.{dead}.partial"]
    lookalikes += [f"x.{name}.{dead}.partial", f".{name}.{dead}.partial.old"]
    numbers = [f".{name}.{number}.partial" for number in ("old", "0", "-1", "9" * 30)]
    kept = {*alive, *others, *lookalikes, *numbers}
    for folder in kept:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text("mine")

    generate(tmp_path / name, spec)
    assert {p.name for p in tmp_path.iterdir()} == {name, *kept}
    assert all((tmp_path / folder / "mine.txt").is_file() for folder in kept)


def test_the_folders_above_are_made(tmp_path: Path) -> None:
    spec = replace(TINY, pool=1, train_per_class=0, test_per_class=0)
    generate(tmp_path / "not" / "yet" / "bags", spec)
    assert (tmp_path / "not" / "yet" / "bags" / "bags.json").is_file()


def test_the_import_is_light() -> None:
    script = "import sys, headstart.data.synthetic; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


# ------------------------------------------------------------------ the spec, the sheet


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("pool", -1, "pool must lie between"),
        ("pool", 2.0, "pool must be a whole number"),
        ("train_per_class", True, "train_per_class must be a whole number"),
        ("size", 16, "size must lie between 32"),
        ("size", 5000, "size must lie between 32"),
        ("quality", 0, "quality must lie between 1 and 100"),
        ("seed", -3, "seed must lie between"),
        ("shortcut", 1.2, "shortcut must lie between 0 and 1"),
        ("shortcut", float("nan"), "shortcut must lie between 0 and 1"),
        ("test_shortcut", -0.1, "test_shortcut must lie between 0 and 1"),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line(field: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refusal:
        BagsSpec(**{field: value})  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


def test_a_spec_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to generate"):
        BagsSpec(pool=0, train_per_class=0, validation_per_class=0, test_per_class=0)
