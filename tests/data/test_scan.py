"""Finding the files: every nesting and every name, and a helpful line where there is nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.config import StudyError
from headstart.data.scan import Found, find_labeled, find_unlabeled

Finder = Callable[..., list[Found]]


def touch(root: Path, *names: str) -> Path:
    """Empty files below ``root``; scanning reads names only."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def said(find: object, folder: Path) -> str:
    assert callable(find)
    with pytest.raises(StudyError) as caught:
        find(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


# --- the pool ----------------------------------------------------------------------------------


def test_images_in_any_nesting_in_a_stable_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/c/d/2.jpg", "a.PNG", "b/1.jpeg", "b/c/3.tiff", "notes.txt", "z/readme")
    found = find_unlabeled(tmp_path)
    assert [f.id for f in found] == [
        "unlabeled/a.PNG",
        "unlabeled/b/1.jpeg",
        "unlabeled/b/c/3.tiff",
        "unlabeled/b/c/d/2.jpg",
    ]
    assert [f.path for f in found] == [
        str(tmp_path / f.id.removeprefix("unlabeled/")) for f in found
    ]
    assert {(f.label, f.split) for f in found} == {("", "")}
    assert find_unlabeled(tmp_path) == found


def test_hidden_files_and_folders_are_passed_by(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", ".2.jpg", ".git/3.jpg", "__MACOSX/._1.jpg")
    assert [f.id for f in find_unlabeled(tmp_path)] == ["unlabeled/1.jpg"]


def test_a_link_to_a_folder_is_followed_once_and_a_loop_ends(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a/1.jpg")
    touch(tmp_path / "elsewhere", "2.jpg")
    (tmp_path / "in" / "a" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "z").symlink_to(tmp_path / "elsewhere")
    found = find_unlabeled(tmp_path / "in")
    assert [f.id for f in found] == ["unlabeled/a/1.jpg", "unlabeled/there/2.jpg"]


def test_a_broken_link_is_listed_and_left_for_decoding_to_refuse(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    assert len(find_unlabeled(tmp_path)) == 2


def test_the_output_folder_inside_the_input_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "run/report/figure.png", "run2/2.jpg")
    found = find_unlabeled(tmp_path, exclude=tmp_path / "run")
    assert [f.id for f in found] == ["unlabeled/1.jpg", "unlabeled/run2/2.jpg"]
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert find_unlabeled(tmp_path, exclude=tmp_path / "x" / ".." / "run") == found


@pytest.mark.parametrize("find", [find_unlabeled, find_labeled])
def test_the_images_own_folder_is_no_place_for_results(tmp_path: Path, find: Finder) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    for out in (tmp_path, tmp_path / "a" / ".."):
        with pytest.raises(StudyError, match=r"^--out .*: the images lie there; name a folder"):
            find(tmp_path, exclude=out)
    assert len(find(tmp_path, exclude=tmp_path / "out")) == 2  # it need not be there yet


def test_pictures_that_another_run_wrote_are_no_data(tmp_path: Path) -> None:
    """Two runs with two output folders, both below the images."""
    touch(tmp_path, "a/1.jpg", "index/2.jpg", "index/images-new/3.jpg", "b/index/4.jpg")
    touch(tmp_path, "run1/index/images-0123456789abcdef/done.json", "run1/report/figure.png")
    touch(tmp_path, "a/run2/index/images-fedcba9876543210/done.json", "a/run2/explain/x/1.png")
    found = {f.id.removeprefix("unlabeled/") for f in find_unlabeled(tmp_path)}
    assert found == {"a/1.jpg", "index/2.jpg", "index/images-new/3.jpg", "b/index/4.jpg"}
    (tmp_path / "link").symlink_to(tmp_path / "run1")
    assert len(find_unlabeled(tmp_path)) == 4


def test_the_cache_below_the_images_is_no_data(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", ".headstart-cache/96px-0/pixels.npy", "cache/96px-0/pixels.npy")
    touch(tmp_path, ".headstart-cache/odd.jpg", "cache/96px-0/done.json", "cache/96px-0.lock")
    assert [f.id for f in find_unlabeled(tmp_path)] == ["unlabeled/a/1.jpg"]


def test_a_folder_that_is_its_own_parent_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "x").symlink_to(tmp_path / "b" / "y")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "b" / "x")  # neither is anywhere
    (tmp_path / "b" / "z.jpg").symlink_to(tmp_path / "b" / "z.jpg")  # listed; decoding refuses it
    assert [f.id for f in find_labeled(tmp_path)] == [
        "labeled/a/1.jpg",
        "labeled/b/2.jpg",
        "labeled/b/z.jpg",
    ]


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    for folder in range(100):
        home = tmp_path / f"class {folder % 10}" / f"{folder:02d}"
        home.mkdir(parents=True)
        for name in range(1000):
            os.close(os.open(home / f"{name:03d}.jpg", os.O_CREAT | os.O_WRONLY))
    found = find_labeled(tmp_path)
    assert len({f.id for f in found}) == len({f.path for f in found}) == 100_000
    assert [f.path for f in found] == sorted(f.path for f in found)
    assert {f.label for f in found} == {f"class {i}" for i in range(10)}


def test_the_input_inside_the_output_folder_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg")
    assert len(find_unlabeled(tmp_path / "photos", exclude=tmp_path)) == 1


NAMES = ["ünïcöde_包.jpg", "quote'and\"comma,.jpg", "-dash.jpg", "a b(1).jpg", "l" * 200 + ".jpg"]
NAMES += ["new\nline.jpg", "%s{0}.jpg", "😀.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_only_names(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    (found,) = find_unlabeled(tmp_path)
    assert found.id == f"unlabeled/{name}"
    assert Path(found.path).is_file()


def test_bytes_that_are_no_utf8_are_spelled_out_in_ids_and_kept_in_paths(tmp_path: Path) -> None:
    for raw in (b"caf\xe9.jpg", b"caf\xe8.jpg"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw))).write_bytes(b"")
    found = find_unlabeled(tmp_path)
    assert [f.id for f in found] == ["unlabeled/caf\\udce8.jpg", "unlabeled/caf\\udce9.jpg"]
    for f in found:
        assert f.id.encode("utf8")  # any text file can hold it
        assert Path(f.path).is_file()


@pytest.mark.parametrize("find", [find_unlabeled, find_labeled])
def test_nothing_to_read_says_what_was_seen(tmp_path: Path, find: object) -> None:
    assert "no such folder" in said(find, tmp_path / "missing")
    touch(tmp_path, "file.jpg")
    assert "is a file, not a folder" in said(find, tmp_path / "file.jpg")
    (tmp_path / "empty").mkdir()
    assert "no images found (saw nothing; looked for .bmp, .gif" in said(find, tmp_path / "empty")
    touch(tmp_path / "texts", "a.txt", "b/c.csv")
    assert "no images found (saw 2 other files; looked for" in said(find, tmp_path / "texts")


def test_a_folder_that_cannot_be_opened_is_not_passed_by_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.jpg", "closed/2.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StudyError, match=r"closed: Permission denied$"):
        find_unlabeled(tmp_path)


# --- classes and splits ------------------------------------------------------------------------


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "shirt/1.jpg", "shirt/deep/er/2.jpg", "hat/3.jpg")
    found = {f.id: (f.label, f.split) for f in find_labeled(tmp_path)}
    assert found == {
        "labeled/hat/3.jpg": ("hat", ""),
        "labeled/shirt/1.jpg": ("shirt", ""),
        "labeled/shirt/deep/er/2.jpg": ("shirt", ""),
    }


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "validation", "test"), ("train", "validation", "test")),
        (("Train", "VAL", "Test"), ("train", "validation", "test")),
        (("training", "valid", "testing"), ("train", "validation", "test")),
        (("Training", "Testing"), ("train", "test")),
        (("train", "val"), ("train", "validation")),
        (("train",), ("train",)),
    ],
)
def test_split_folders_above_class_folders(
    tmp_path: Path, names: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    for name in names:
        touch(tmp_path, f"{name}/shirt/1.jpg", f"{name}/hat/deep/2.jpg")
    found = find_labeled(tmp_path)
    assert {(f.id.split("/")[1], f.split) for f in found} == set(zip(names, splits, strict=True))
    assert {f.label for f in found} == {"shirt", "hat"}


def test_one_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "plane/2.jpg", "car/3.jpg")
    found = find_labeled(tmp_path)
    assert {f.label for f in found} == {"train", "plane", "car"}
    assert {f.split for f in found} == {""}


def test_two_splits_beside_another_folder_do_not_become_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/hat/1.jpg", "test/hat/2.jpg", "train/cap/1.jpg", "extra/3.jpg")
    line = said(find_labeled, tmp_path)
    assert "'test' and 'train' stand beside 'extra'" in line


def test_splits_without_train_do_not_become_classes(tmp_path: Path) -> None:
    touch(tmp_path, "val/hat/1.jpg", "test/hat/2.jpg", "test/cap/2.jpg")
    assert "'test' and 'val' stand without a folder 'train'" in said(find_labeled, tmp_path)


@pytest.mark.parametrize(
    "names",
    [("loose.jpg", "a/1.jpg", "b/2.jpg"), ("train/loose.jpg", "train/a/1.jpg", "train/b/2.jpg")],
)
def test_an_image_in_no_class_folder_is_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *names)
    line = said(find_labeled, tmp_path)
    assert f"'{names[0]}' is in no class folder" in line


@pytest.mark.parametrize("names", [("a/1.jpg", "a/2.jpg"), ("train/a/1.jpg", "test/a/2.jpg")])
def test_one_class_is_not_enough(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *names, "b/notes.txt" if "train" not in names[0] else "train/b/notes.txt")
    assert "at least two classes, found only 'a'" in said(find_labeled, tmp_path)


def test_class_names_of_any_letters(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    touch(Path(folder), "1.jpg")
    touch(tmp_path, "ünï 'q'/2.jpg")
    assert {f.label for f in find_labeled(tmp_path)} == {"caf\\udce9", "ünï 'q'"}
