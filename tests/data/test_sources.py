"""Sources: the same images through each of them are the same data set, down to what is broken."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import examples
import tiny_study
from headstart.config import StudyError
from headstart.data.cache import open_cache
from headstart.data.scan import Found, find_labeled, find_unlabeled
from headstart.data.sources import SOURCES
from headstart.data.sources import archive as archive_source
from headstart.data.sources import parquet as parquet_source
from headstart.data.sources import saved as saved_source
from headstart.data.sources.base import Place, Source
from headstart.data.sources.folder import Folder, own_masks
from headstart.data.sources.parquet import Parquet
from headstart.stages.explain.objects import find_objects
from headstart.stages.index import index


@pytest.fixture(autouse=True)
def tables_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of ``docs/extending.md``: images that have no file of their own."""
    monkeypatch.setattr(SOURCES, "entries", dict(SOURCES.entries))
    examples.imported("image_table")

    SOURCES.register("parquet of images")(ParquetOfImages)


class ParquetOfImages(Parquet):
    """The other kind of Parquet file, for the same trials: as Hugging Face writes it."""

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        folder.mkdir(parents=True)
        rows = [
            {
                "image": {"bytes": Path(f.path).read_bytes(), "path": f.id.partition("/")[2]},
                "label": f.label,
                "split": f.split,
                "group": f.group,
            }
            for f in files
        ]
        parquet.write_table(pa.Table.from_pylist(rows), folder / "x.parquet", row_group_size=5)
        return folder / "x.parquet"


# A data set of torchvision has its own images and names: test_torch_vision.py.
laid_out = sorted(set(SOURCES) - {"torchvision"})
every = pytest.mark.parametrize("name", [*laid_out, "table", "parquet of images"])


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module", params=["parted", "not parted"])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in class folders and a pool; one image of each is broken, one is a copy across."""
    root = tmp_path_factory.mktemp("tree")
    splits = ("train", "validation", "test") if request.param == "parted" else ("",)
    seed = 0
    for split in splits:
        for label in ("cat", 'größer, "dog"'):
            for i in range(6 if split else 18):
                seed += 1
                path = root / "labeled" / split / label / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(noise(seed))
    broken = root / "labeled" / splits[0] / "cat" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    pool = root / "pool" / "a" / "b"
    pool.mkdir(parents=True)
    for i in range(6):
        (pool / f"{i}.png").write_bytes(noise(1000 + i))
    (pool / "torn.jpg").write_bytes(b"not a picture")
    (pool / "copy.png").write_bytes(noise(seed))  # of a labelled one
    return root


def laid_out(name: str, tree: Path, folder: Path) -> dict[str, Path]:
    """The tree as a source reads it: what to give for --labeled and --unlabeled."""
    source: Source = SOURCES[name]()
    places = {"labeled": tree / "labeled", "unlabeled": tree / "pool"}
    found = {
        "labeled": find_labeled(places["labeled"]),
        "unlabeled": find_unlabeled(places["unlabeled"]),
    }
    return {kind: source.example(files, folder / kind) for kind, files in found.items()}


def facts(files: Sequence[Found]) -> list[tuple[str, str, str, str]]:
    return [(f.id, f.label, f.split, f.group) for f in files]


@every
def test_the_same_images_have_the_same_ids_labels_and_splits(
    name: str, tree: Path, tmp_path: Path
) -> None:
    places = laid_out(name, tree, tmp_path)
    assert SOURCES[name]().accepts(places["labeled"])
    labelled, pool = find_labeled(places["labeled"]), find_unlabeled(places["unlabeled"])
    assert facts(labelled) == facts(find_labeled(tree / "labeled"))
    assert facts(pool) == facts(find_unlabeled(tree / "pool"))
    assert facts(find_labeled(places["labeled"])) == facts(labelled)


@every
def test_an_image_that_changes_changes_its_state(name: str, tree: Path, tmp_path: Path) -> None:
    places = laid_out(name, tree, tmp_path / "a")
    before = [f.state() for f in find_labeled(places["labeled"])]
    assert before == [f.state() for f in find_labeled(places["labeled"])]
    assert (-1, -1) not in before
    changed = find_labeled(tree / "labeled")
    (tmp_path / "other.png").write_bytes(noise(9) + b"longer")
    changed[3] = Found(changed[3].id, str(tmp_path / "other.png"), *facts(changed)[3][1:])
    place = SOURCES[name]().example(changed, tmp_path / "b")
    assert find_labeled(place)[3].state() != before[3]


@every
def test_the_same_index_and_the_same_quarantine(name: str, tree: Path, tmp_path: Path) -> None:
    """Through the whole verb: decoding, copies across parts, broken files."""
    found = []
    for kind in ("folder", name):
        places = laid_out(kind, tree, tmp_path / f"as {kind}")
        data = {key: str(path) for key, path in places.items()}
        asked = tiny_study.study(data=data, only=["simclr"])
        dataset = index(tiny_study.open_run(asked, tmp_path / f"run {kind}"))
        listed = (dataset.entry.folder / "quarantine.csv").read_text(encoding="utf8")
        bad = [line.partition(",")[0] for line in listed.splitlines()[1:]]
        removed = (dataset.entry.folder / "removed.csv").read_text(encoding="utf8")
        found.append((dataset, sorted(bad), removed))
    (ours, bad, removed), (theirs, their_bad, their_removed) = found
    assert len(bad) == 2
    assert their_bad == bad
    assert their_removed == removed
    assert "unlabeled/a/b/copy.png,pool_copies_of_" in removed
    for column in ("ids", "labels", "splits", "groups", "classes", "digest"):
        one, other = (getattr(d.index, column) for d in (ours, theirs))
        assert np.array_equal(one, other), column
    assert np.array_equal(ours.cache.pixels, theirs.cache.pixels)


@every
def test_masks_fit_the_images_of_every_source(name: str, tree: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    for image in (tree / "labeled").rglob("*.png"):
        mask = masks / image.relative_to(tree / "labeled")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), 255).save(mask)
    asked = tiny_study.study(
        data={"labeled": str(laid_out(name, tree, tmp_path)["labeled"])},
        explain={"masks": str(masks)},
        only=["simclr"],
    )
    run = tiny_study.open_run(asked, tmp_path / "run")
    data = index(run)
    found = find_objects(run, data)
    assert found is not None
    assert found.known(data.index.where("test")).all()
    assert found.at(data.index.where("test")).all()


def test_masks_inside_the_labelled_folder_are_used_unasked(tree: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "labeled"
    shutil.copytree(tree / "labeled", labelled)
    for image in list(labelled.rglob("*.png")):
        mask = labelled / "masks" / image.relative_to(labelled)
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), 255).save(mask)
    asked = tiny_study.study(data={"labeled": str(labelled)}, only=["simclr"])
    run = tiny_study.open_run(asked, tmp_path / "run")
    data = index(run)
    assert "masks" not in data.index.classes.tolist()
    found = find_objects(run, data)
    assert found is not None
    assert found.source == str(labelled / "masks")
    assert found.at(data.index.where("test")).all()


def test_nothing_is_left_of_images_that_have_no_file(tree: Path, tmp_path: Path) -> None:
    places = laid_out("archive", tree, tmp_path)
    cache = open_cache(find_labeled(places["labeled"]), 32, tmp_path / "cache")
    assert sum(map(bool, cache.reasons)) == 1
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix == ".part"]


def test_content_that_cannot_be_read_is_quarantined(tmp_path: Path) -> None:
    def torn() -> bytes:
        raise zipfile.BadZipFile("torn")

    files = [
        Found("labeled/a/1.png", "a.zip/1.png", "a", read=lambda: noise(1), stamp=(1, 1)),
        Found("labeled/a/2.png", "a.zip/2.png", "a", read=torn, stamp=(1, 2)),
    ]
    assert [bool(reason) for reason in open_cache(files, 32, tmp_path).reasons] == [False, True]


def test_what_no_source_reads_is_told_with_what_they_read(tmp_path: Path) -> None:
    (tmp_path / "images.rar").write_bytes(b"")
    with pytest.raises(StudyError) as caught:
        find_unlabeled(tmp_path / "images.rar")
    assert str(caught.value) == (
        f"--unlabeled {tmp_path / 'images.rar'}: is a file, not "
        + " or ".join(source.about for source in SOURCES.values())
    )
    assert Folder.about in str(caught.value)


def test_a_source_registered_later_is_asked_first(tmp_path: Path) -> None:
    @SOURCES.register("special")
    class Special(Folder):
        def accepts(self, path: Path) -> bool:
            return (path / "special").exists()

        def images(self, place: Place) -> list[Found]:
            return [Found(place.id("one"), "one")]

    for name in ("plain", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    (tmp_path / "odd" / "special").write_bytes(b"")
    assert [f.id for f in find_unlabeled(tmp_path / "odd")] == ["unlabeled/one"]
    assert [f.id for f in find_unlabeled(tmp_path / "plain")] == ["unlabeled/1.png"]


# --- the CSV file --------------------------------------------------------------------------------


def manifest(folder: Path, *lines: str) -> Path:
    for name in ("1.png", "2.png", "3.png"):
        (folder / name).write_bytes(b"")
    path = folder / "images.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf8")
    return path


def test_a_manifest_says_label_split_and_group(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "Group, split, label, path, note",
        "anna, training, cat, ./2.png, x",
        "",
        f"ben, VAL, dog, {tmp_path / '1.png'}, y",
    )
    assert facts(find_labeled(path)) == [
        ("labeled/1.png", "dog", "validation", "ben"),
        ("labeled/2.png", "cat", "train", "anna"),
    ]
    assert facts(find_unlabeled(path)) == [
        ("unlabeled/1.png", "", "", "ben"),
        ("unlabeled/2.png", "", "", "anna"),
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["file,label", "1.png,a"], "line 1: needs the column 'path', has 'file', 'label'"),
        (["path", "1.png"], "line 1: needs the column 'label', has 'path'"),
        (["path,label"], "lists no images"),
        ([""], "line 1: needs the column 'path', has none"),
        (["path,label", "1.png,a", "9.png,b"], "line 3: no file '9.png'"),
        (["path,label", "1.png,a", "2.png,"], "line 3: no label"),
        (["path,label", ",a"], "line 2: no path"),
        (["path,label,split", "1.png,a,trane"], "line 2: unknown split 'trane'"),
        (["path,label,split", "1.png,a,train", "2.png,b,"], "line 3: no split"),
        (["path,label", "1.png,a", "./1.png,b"], "line 3: './1.png' stands in line 2 already"),
        (["path,label", "1.png,a", "2.png,a"], "needs at least two classes, found only 'a'"),
    ],
)
def test_a_mistake_in_a_manifest_is_one_line(lines: list[str], told: str, tmp_path: Path) -> None:
    path = manifest(tmp_path, *lines)
    with pytest.raises(StudyError) as caught:
        find_labeled(path)
    assert str(caught.value).startswith(f"--labeled {path}: {told}")


def test_a_manifest_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(StudyError, match="not readable as CSV"):
        find_unlabeled(tmp_path / "x.csv")


def test_groups_of_a_manifest_stay_together(tree: Path, tmp_path: Path) -> None:
    files = find_labeled(tree / "labeled")
    pairs = [
        Found(f.id.replace("train/", ""), f.path, f.label, "", f"group {i // 2}")
        for i, f in enumerate(files)
        if f.split in ("", "train")
    ]
    place = SOURCES["manifest"]().example(pairs, tmp_path / "list")
    asked = tiny_study.study(data={"labeled": str(place)}, only=["simclr"])
    found = index(tiny_study.open_run(asked, tmp_path / "run")).index
    named = {f.id: f.group for f in find_labeled(place)}
    parts: dict[str, set[str]] = {}
    for identity, split in zip(found.ids.tolist(), found.splits.tolist(), strict=True):
        parts.setdefault(named[identity], set()).add(split)
    assert all(len(splits) == 1 for splits in parts.values())


# --- masks beside the images ---------------------------------------------------------------------


def with_masks(folder: Path, *masks: str) -> Path:
    for name in ("a/1.jpg", "b/2.jpg", *masks):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def test_a_folder_of_masks_beside_the_classes_is_no_class(tmp_path: Path) -> None:
    place = with_masks(tmp_path, "masks/a/1.png", "masks/b/2.png")
    assert [f.label for f in find_labeled(place)] == ["a", "b"]
    assert [f.id for f in find_unlabeled(place)] == ["unlabeled/a/1.jpg", "unlabeled/b/2.jpg"]
    assert own_masks(place) == place / "masks"


@pytest.mark.parametrize("mask", ["masks/3.png", "masks/a/1.jpg", "masks/x/1.png"])
def test_a_class_may_be_called_masks(mask: str, tmp_path: Path) -> None:
    place = with_masks(tmp_path, mask)
    assert [f.label for f in find_labeled(place)] == ["a", "b", "masks"]
    assert own_masks(place) is None


# --- archives ------------------------------------------------------------------------------------


def tarred(tree: Path, path: Path, mode: Literal["w", "w:gz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(tree, arcname=".")
    return path


def test_a_tar_reads_as_the_folder_it_was_made_of(tree: Path, tmp_path: Path) -> None:
    labelled = find_labeled(tarred(tree / "labeled", tmp_path / "labeled.tar"))
    pool = find_unlabeled(tarred(tree / "pool", tmp_path / "pool.tar"))
    for found, place in ((labelled, tree / "labeled"), (pool, tree / "pool")):
        folder = find_labeled(place) if found is labelled else find_unlabeled(place)
        assert facts(found) == facts(folder)
        contents = [one.read() for one in found if one.read]
        assert contents == [Path(one.path).read_bytes() for one in folder]


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_what_is_no_image_of_theirs_is_passed_by(tmp_path: Path) -> None:
    files = {
        "a/1.png": noise(1),
        "__MACOSX/a/._1.png": b"x",
        ".hidden/2.png": noise(2),
        "a/notes.txt": b"x",
    }
    assert [f.id for f in find_unlabeled(zipped(tmp_path / "x.zip", **files))] == [
        "unlabeled/a/1.png"
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"../1.png": b"x"}, "'../1.png' leads out of the archive"),
        ({"a/../../1.png": b"x"}, "'a/../../1.png' leads out of the archive"),
        ({"/etc/1.png": b"x"}, "'/etc/1.png' leads out of the archive"),
        ({"a.txt": b"x"}, "no images found"),
    ],
)
def test_a_hostile_or_empty_archive_is_one_line(
    files: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "x.zip", **files)
    with pytest.raises(StudyError) as caught:
        find_unlabeled(path)
    assert str(caught.value).startswith(f"--unlabeled {path}: {told}")


def test_a_name_twice_in_an_archive_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("1.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("1.png", b"y")
    with pytest.raises(StudyError, match=r"'1.png' is in it twice"):
        find_unlabeled(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_what_is_no_archive_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not an archive" * 100)
    with pytest.raises(StudyError, match="not readable as an archive") as caught:
        find_unlabeled(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_compressed_tar_is_refused_with_what_to_do(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"unpack it, or make a \.zip or a plain \.tar"):
        find_unlabeled(tarred(tree / "pool", tmp_path / "pool.tar.gz", "w:gz"))


def test_an_encrypted_zip_is_one_line(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", **{"1.png": noise(1)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    with pytest.raises(StudyError, match="it is encrypted"):
        find_unlabeled(path)


def test_a_link_in_a_tar_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(noise(1))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "secret.png", arcname="real.png")
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.png")
        archive.addfile(link)
    assert [f.id for f in find_unlabeled(tmp_path / "x.tar")] == ["unlabeled/real.png"]


def test_a_picture_that_unpacks_to_too_much_is_never_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archive_source, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"0" * 10_000)
        archive.writestr("small.png", b"0" * 10)
    bomb, small = find_unlabeled(tmp_path / "x.zip")
    assert bomb.read is not None
    assert small.read is not None
    assert len(small.read()) == 10
    with pytest.raises(ValueError, match="larger than"):
        bomb.read()


# --- Parquet files and saved data sets -----------------------------------------------------------


def listed(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "1.png").write_bytes(noise(1))
    parquet.write_table(pa.Table.from_pylist(list(rows)), folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"file": "1.png", "label": "a"}], "needs the column 'path', has 'file', 'label'"),
        ([{"path": "1.png"}], "needs the column 'label', has 'path'"),
        ([{"image": b"x"}], "needs the column 'label', has 'image'"),
        ([{"path": "9.png", "label": "a"}], "row 1: no file '9.png'"),
        ([{"path": "1.png", "label": None}], "row 1: no label"),
        ([{"path": "1.png", "label": "a", "split": "trane"}], "row 1: unknown split 'trane'"),
        ([{"path": "1.png", "label": "a"}] * 2, "row 2: '1.png' stands in row 1 already"),
    ],
)
def test_a_mistake_in_a_parquet_file_is_one_line(
    rows: list[dict[str, object]], told: str, tmp_path: Path
) -> None:
    path = listed(tmp_path, *rows)
    with pytest.raises(StudyError) as caught:
        find_labeled(path)
    assert str(caught.value).startswith(f"--labeled {path}: {told}")


def test_a_file_that_is_no_parquet_and_row_groups_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "y.parquet").write_bytes(b"no")
    with pytest.raises(StudyError, match="not readable as Parquet"):
        find_unlabeled(tmp_path / "y.parquet")
    monkeypatch.setattr(parquet_source, "LARGEST_GROUP", 10)
    with pytest.raises(StudyError, match="write the file with smaller ones"):
        find_unlabeled(listed(tmp_path, {"image": noise(1)}))


def test_without_pyarrow_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listed(tmp_path, {"path": "1.png"})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(StudyError, match=r"needs pyarrow.*pip install 'headstart\[hf\]'"):
        find_unlabeled(path)


def test_images_of_plain_bytes_are_numbered_and_read_in_any_order(tmp_path: Path) -> None:
    rows = [{"image": noise(i)} for i in range(7)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=3)
    found = find_unlabeled(tmp_path / "x.parquet")
    assert [f.id for f in found] == [f"unlabeled/{i:08d}" for i in range(7)]
    for i in (6, 0, 3, 2, 5):
        read = found[i].read
        assert read is not None
        assert read() == noise(i)


def hugging_face(paths: Sequence[str | None]) -> datasets.Dataset:
    label = datasets.ClassLabel(names=["cat", "dog"])
    columns = datasets.Features(image=datasets.Image(), label=label)
    rows = [
        {"image": {"bytes": noise(i), "path": path}, "label": i % 2} for i, path in enumerate(paths)
    ]
    return datasets.Dataset.from_list(rows, features=columns)


@pytest.mark.parametrize("kind", ["parquet", "saved"])
@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["b.png", "a.png"], ["b.png", "a.png"]),
        (["a.png", "a.png"], ["00000000", "00000001"]),
        ([None, "a.png"], ["00000000", "00000001"]),
    ],
)
def test_what_hugging_face_wrote_has_its_names_and_classes(
    kind: str, paths: list[str | None], names: list[str], tmp_path: Path
) -> None:
    place = tmp_path / f"x.{kind}"
    written = hugging_face(paths)
    if kind == "parquet":
        written.to_parquet(place)
    else:
        written.save_to_disk(place)
    found = find_labeled(place)
    assert [(f.id, f.label) for f in found] == [
        (f"labeled/{name}", label) for name, label in zip(names, ("cat", "dog"), strict=True)
    ]
    assert [f.read() for f in found if f.read] == [noise(0), noise(1)]


def test_a_data_set_that_names_files_reads_them(tmp_path: Path) -> None:
    """As those made of folders do: their cells have a path and no bytes."""
    photo = tmp_path / "red.png"
    Image.new("RGB", (16, 16), "red").save(photo)
    cells = [{"bytes": None, "path": str(photo)}, {"bytes": None, "path": "not/there.png"}]
    place = Place(tmp_path, labeled=False)
    part = saved_source.part_of(place, _stream(tmp_path, cells), "")
    assert part.content is not None
    assert part.content(0) == photo.read_bytes()
    assert part.content(1) == cells[1]


def _stream(folder: Path, cells: list[dict[str, object]]) -> Path:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(cells, kind)})
    file = folder / "cells.arrow"
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return file


def test_a_saved_data_set_that_is_torn_or_has_no_images(tmp_path: Path) -> None:
    hugging_face(["a.png"]).save_to_disk(tmp_path / "torn")
    next((tmp_path / "torn").glob("*.arrow")).unlink()
    with pytest.raises(StudyError, match="not readable as a saved Hugging Face data set"):
        find_unlabeled(tmp_path / "torn")
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(StudyError, match="needs the column 'image' with images, has 'text'"):
        find_unlabeled(tmp_path / "text")
    (tmp_path / "text" / "state.json").write_text("[]")
    with pytest.raises(StudyError, match="not readable as a saved Hugging Face data set"):
        find_unlabeled(tmp_path / "text")


# --- shards --------------------------------------------------------------------------------------


def sharded(folder: Path, *shards: dict[str, bytes]) -> Path:
    for i, members in enumerate(shards):
        with tarfile.open(folder / f"x-{i:02d}.tar", "w") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return folder / f"x-{{00..{len(shards) - 1:02d}}}.tar"


def test_shards_give_labels_of_three_kinds_and_the_pool_needs_none(tmp_path: Path) -> None:
    place = sharded(
        tmp_path,
        {"a/1.jpg": noise(1), "a/1.cls": b"0\n", "2.png": noise(2), "2.txt": b"dog"},
        {"3.a.jpg": noise(3), "3.json": b'{"label": 5, "group": "anna"}'},
    )
    assert facts(find_labeled(place)) == [
        ("labeled/2.png", "dog", "", ""),
        ("labeled/3.a.jpg", "5", "", "anna"),
        ("labeled/a/1.jpg", "0", "", ""),
    ]
    assert [f.read() for f in find_unlabeled(place) if f.read] == [noise(2), noise(3), noise(1)]
    assert [f.id for f in find_unlabeled(sharded(tmp_path, {"1.jpg": b"x"}, {"1.jpg": b"x"}))] == [
        "unlabeled/x-00/1.jpg",
        "unlabeled/x-01/1.jpg",
    ]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"1.jpg": b"x"}, "'1' of x-00.tar: no label"),
        ({"1.jpg": b"x", "1.json": b"[1]"}, "x-00.tar: '1.json' is no label"),
        ({"1.jpg": b"x", "1.cls": b"\xff"}, "x-00.tar: '1.cls' is no label"),
        ({"1.jpg": b"x", "1.png": b"x"}, "x-00.tar has two images '1'"),
        ({"1.txt": b"x"}, "lists no images"),
    ],
)
def test_a_mistake_in_shards_is_one_line(
    members: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    place = sharded(tmp_path, members)
    with pytest.raises(StudyError) as caught:
        find_labeled(place)
    assert str(caught.value).startswith(f"--labeled {place}: {told}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x-{00..01}.tar", "x-01.tar: not readable as a tar (no such file)"),
        ("x-{5..1}.tar", "a range goes up"),
        ("x-{0..999999999999}.tar", "a range goes up"),
    ],
)
def test_shards_that_are_missing_or_too_many(name: str, told: str, tmp_path: Path) -> None:
    sharded(tmp_path, {"1.jpg": b"x"})
    with pytest.raises(StudyError) as caught:
        find_unlabeled(tmp_path / name)
    assert str(caught.value).startswith(f"--unlabeled {tmp_path / name}: {told}")


# --- what the docs promise -----------------------------------------------------------------------

DOCUMENTED = {
    "bags": "folder",
    "bags.zip": "archive",
    "bags.csv": "manifest",
    "bags.parquet": "parquet",
    "saved": "saved",
    "'bags-{000..001}.tar'": "shards",
    "'s3://bucket/bags-{000..999}.tar'": "remote",
    "hf:NAME": "hub",
    "torchvision:MNIST@folder": "torchvision",
}


def test_the_docs_have_a_command_for_every_source() -> None:
    text = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf8")
    told = [
        row.rpartition(" --labeled ")[2] for row in text.splitlines() if "| `headstart ch" in row
    ]
    assert [location.removesuffix("` |") for location in told] == list(DOCUMENTED)
    assert set(DOCUMENTED.values()) == set(SOURCES) - {"parquet of images", "table"}
    for location, name in DOCUMENTED.items():
        path = Path(location.strip("'"))
        if not path.suffix and ":" not in location:
            continue  # a folder is known by what lies in it: the contract above
        readers = [other for other, kind in SOURCES.items() if kind().accepts(path)]
        assert readers in ([name], []), location  # [] where a look at the file is needed
