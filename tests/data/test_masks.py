"""Masks: found by name, read from every source, aligned with the view, hostile ones refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from skimage.measure import points_in_poly

from headstart.config import StudyError
from headstart.data.batches import Images
from headstart.data.cache import open_cache
from headstart.data.masks import Masks, _polygons, _run_lengths, load_masks
from headstart.data.scan import Found, find_labeled
from headstart.data.synthetic import BagsSpec, generate

SIDE = 48


def study(folder: Path, names: tuple[str, ...] = ("a/1", "a/2", "b/1"), size=(40, 30)):
    """Grey photographs in class folders, as ``find_labeled`` finds them."""
    for name in names:
        path = folder / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "grey").save(path)
    return find_labeled(folder / "photos")


def png(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


def block(size=(40, 30), box=(10, 6, 30, 24), value=255) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def area_of(found: Masks) -> float:
    return float(found.area[0])


BLOCK_AREA = 20 * 18 / 1200


# --- alignment


@pytest.mark.parametrize("size", [(60, 60), (80, 50), (50, 80), (61, 47)])
def test_masks_go_through_the_geometry_of_their_images(tmp_path, size):
    """A white shape on black, its mask the shape itself: the view must show the same pixels."""
    for name, turn in [("a/1", 0), ("b/2", 9)]:
        picture = Image.new("L", size)
        draw = ImageDraw.Draw(picture)
        draw.ellipse((size[0] * 0.3, size[1] * 0.2, size[0] * 0.75, size[1] * 0.6 + turn), 255)
        draw.rectangle((size[0] * 0.4, size[1] * 0.5, size[0] * 0.5, size[1] * 0.9), 255)
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(path)
        png(tmp_path / "masks" / f"{name}.png", np.asarray(picture))
    files = find_labeled(tmp_path / "photos")
    cache = open_cache(files, SIDE, tmp_path / "cache")
    images = Images(cache, np.arange(2), 32, torch.device("cpu"))
    seen = images.centred(np.arange(2))[:, 0].numpy()
    masks = load_masks(tmp_path / "masks", files, SIDE)
    view = masks.centred(np.arange(2), 32)
    np.testing.assert_array_equal(view, seen >= 0.5)
    assert 0.05 < view.mean() < 0.5
    np.testing.assert_allclose(masks.aspect, cache.aspect)


def test_the_generated_bags(tmp_path):
    folder = generate(tmp_path / "bags", BagsSpec(2, 1, 0, 1, size=48))
    files = find_labeled(folder / "labeled")
    masks = load_masks(folder, files, SIDE)
    assert masks.ids.tolist() == [f.id for f in files]
    assert not masks.approximate.any()
    for found, area in zip(files, masks.area, strict=True):
        name = Path(found.path).relative_to(folder).with_suffix(".png")
        assert area == np.asarray(Image.open(folder / "masks" / name)).mean()
    direct = load_masks(folder / "masks", files, SIDE)
    np.testing.assert_array_equal(direct.coverage, masks.coverage)


def test_rows_and_what_has_no_mask(tmp_path):
    files = study(tmp_path)
    png(tmp_path / "masks" / "a" / "2.png", block())
    found = load_masks(tmp_path / "masks", files, SIDE)
    assert found.ids.tolist() == ["labeled/a/2.jpg"]
    assert found.rows(np.array([f.id for f in files])).tolist() == [-1, 0, -1]
    assert found.asked == 3
    assert area_of(found) == pytest.approx(BLOCK_AREA)
    assert found.coverage.shape == (1, SIDE, SIDE)


def test_only_wanted_masks_are_read(tmp_path):
    files = study(tmp_path)
    png(tmp_path / "masks" / "a" / "1.png", block())
    (tmp_path / "masks" / "a" / "2.png").write_bytes(b"broken")
    told: list[tuple[str, int, int]] = []
    only = {"labeled/a/1.jpg"}
    found = load_masks(
        tmp_path / "masks", files, SIDE, only, lambda *progress: told.append(progress)
    )
    assert told == [("reading masks", 0, 1)]
    assert found.ids.tolist() == ["labeled/a/1.jpg"]
    assert found.asked == 1


# --- names


@pytest.mark.parametrize(
    "name",
    [
        "a/2.png",
        "labeled/a/2.png",
        "a/2.jpg.png",
        "exported/version 3/a/2.png",
        "2.png",
        "a/2.PNG",
    ],
)
def test_names_that_fit(tmp_path, name):
    files = study(tmp_path)
    png(tmp_path / "m" / name, block())
    assert load_masks(tmp_path / "m", files, SIDE).ids.tolist() == ["labeled/a/2.jpg"]


@pytest.mark.parametrize("name", ["c/2.png", "x2.png", "a/2x.png", "2/a.png"])
def test_names_that_do_not_fit(tmp_path, name):
    files = study(tmp_path)
    png(tmp_path / "m" / name, block())
    with pytest.raises(StudyError, match="none of its 1 masks belongs to an image"):
        load_masks(tmp_path / "m", files, SIDE)


def test_a_name_that_fits_two_images_is_refused(tmp_path):
    files = study(tmp_path)
    png(tmp_path / "m" / "1.png", block())
    with pytest.raises(StudyError, match=r"mask '1.png' fits two images, 'labeled/a/1.jpg' and"):
        load_masks(tmp_path / "m", files, SIDE, wanted={"labeled/a/1.jpg"})


def test_two_masks_for_one_image_are_refused(tmp_path):
    files = study(tmp_path)
    for name in ("v1/a/2.png", "v2/a/2.png"):
        png(tmp_path / "m" / name, block())
    with pytest.raises(StudyError, match=r"has two masks, 'v1/a/2.png' and 'v2/a/2.png'"):
        load_masks(tmp_path / "m", files, SIDE)


# --- PNGs


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(block()),
        Image.fromarray(block()).convert("1"),
        Image.fromarray(block(value=1)),
        Image.fromarray(block(value=200) + np.uint8(40)),
        Image.fromarray(block()).convert("RGB"),
        Image.fromarray(block().astype(np.uint16) * 100),
        Image.merge(
            "RGBA", [Image.fromarray(np.zeros_like(block()))] * 3 + [Image.fromarray(block())]
        ),
        Image.fromarray(block()).convert("RGBA"),
        Image.fromarray(block()).resize((80, 60), Image.Resampling.NEAREST),
    ],
    ids=["L", "1", "ones", "grey", "RGB", "deep", "cut out", "opaque", "twice the size"],
)
def test_what_is_object_in_a_png(tmp_path, image):
    files = study(tmp_path)
    (tmp_path / "m").mkdir()
    image.save(tmp_path / "m" / "2.png")
    assert area_of(load_masks(tmp_path / "m", files, SIDE)) == pytest.approx(BLOCK_AREA)


def test_a_palette_counts_by_number_not_by_colour(tmp_path):
    files = study(tmp_path)
    indexed = Image.fromarray(block(value=3))
    indexed.putpalette([250, 250, 250] + [0, 0, 0] * 255)  # a bright background, a black object
    (tmp_path / "m").mkdir()
    indexed.save(tmp_path / "m" / "2.png")
    assert area_of(load_masks(tmp_path / "m", files, SIDE)) == pytest.approx(BLOCK_AREA)


def test_an_image_turned_by_its_exif_has_an_upright_mask(tmp_path):
    photo = Image.new("RGB", (40, 30), "grey")
    exif = photo.getexif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    photo.save(tmp_path / "a" / "1.jpg", exif=exif)
    files = [Found("labeled/a/1.jpg", str(tmp_path / "a" / "1.jpg"), "a")]
    png(tmp_path / "m" / "1.png", block((30, 40), (5, 10, 25, 30)))
    found = load_masks(tmp_path / "m", files, SIDE)
    assert found.aspect[0] == pytest.approx(0.75)
    png(tmp_path / "m" / "1.png", block())
    with pytest.raises(StudyError, match="turned upright"):
        load_masks(tmp_path / "m", files, SIDE)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"not a picture", "cannot be read"),
        (bomb(100_000, 100_000), "100000 x 100000 pixels"),
        (bomb(40, 30)[:-30], "cannot be read"),
    ],
)
def test_hostile_pngs(tmp_path, content, message):
    files = study(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "2.png").write_bytes(content)
    refused(tmp_path / "m", files, message)


def refused(source: Path, files: list[Found], message: str) -> None:
    with pytest.raises(StudyError, match=message) as error:
        load_masks(source, files, SIDE)
    assert str(error.value).startswith(f"--masks {source}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(source))


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "no such file"), ("empty", "no PNG"), ("list.txt", "neither a folder of PNGs")],
)
def test_sources_that_are_none(tmp_path, name, message):
    files = study(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("a/2")
    refused(tmp_path / name, files, message)


# --- boxes


def test_boxes(tmp_path):
    files = study(tmp_path)
    table = tmp_path / "boxes.csv"
    table.write_text(
        "\ufefffile,X,y,w,h,label\na/2.jpg,10,6,20,18,bag\na/2.jpg,-5,-5,7,6,\nb/1.jpg,0,0,99,99,\n"
    )
    found = load_masks(table, files, SIDE)
    assert found.ids.tolist() == ["labeled/a/2.jpg", "labeled/b/1.jpg"]
    assert found.approximate.all()
    np.testing.assert_allclose(found.area, [(20 * 18 + 2 * 1) / 1200, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'file'"),
        ("file,x,y,w\n", "no column"),
        ("file,x,y,w,h\n", "no column 'file'|none of its 0"),
        ("file,x,y,w,h\na/2.jpg,1,2,3\n", "line 2: a box is four numbers"),
        ("file,x,y,w,h\na/2.jpg,1,2,three,4\n", "line 2: a box is four numbers"),
        ("file,x,y,w,h\na/2.jpg,1,2,nan,4\n", "line 2: a box needs finite"),
        ("file,x,y,w,h\na/2.jpg,1,2,inf,4\n", "line 2: a box needs finite"),
        ("file,x,y,w,h\na/2.jpg,1,2,-3,4\n", "w and h above 0"),
        ("file,x,y,w,h\n,1,2,3,4\n", "line 2: no file name"),
        ("file,x,y,w,h\na/2.jpg,100,100,3,4\n", "no box lies inside"),
        ('file,x,y,w,h\n"a/2.jpg,1,2,3,4\n', "not a table"),
        ("file,x,y,w,h\nq.jpg,1,2,3,4\n", "none of its 1 masks"),
    ],
)
def test_hostile_boxes(tmp_path, text, message):
    files = study(tmp_path)
    table = tmp_path / "boxes.csv"
    table.write_text(text)
    refused(table, files, message)


def test_bytes_that_are_no_text(tmp_path):
    files = study(tmp_path)
    for name in ("boxes.csv", "coco.json"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00file")
        refused(tmp_path / name, files, "cannot be read as text")


# --- COCO


def coco(tmp_path: Path, *annotations: dict, **image) -> Path:
    table = {
        "images": [{"id": 7, "file_name": "a/2.jpg", "width": 40, "height": 30, **image}],
        "annotations": [{"image_id": 7, **annotation} for annotation in annotations],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(table))
    return path


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, background first, by counting."""
    runs, inside, count = [], False, 0
    for value in mask.T.ravel().tolist():
        if bool(value) != inside:
            runs.append(count)
            inside, count = bool(value), 0
        count += 1
    return [*runs, count]


def packed(runs: list[int]) -> str:
    """COCO's short form of run lengths, as its own tools write it."""
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


def test_polygons_boxes_and_run_lengths_say_the_same(tmp_path):
    files = study(tmp_path)
    corners = [10, 6, 30, 6, 30, 24, 10, 24]
    runs = runs_of(block())
    annotations = [
        {"segmentation": [corners]},
        {"bbox": [10, 6, 20, 18]},
        {"segmentation": {"size": [30, 40], "counts": runs}, "iscrowd": 1},
        {"segmentation": {"size": [30, 40], "counts": packed(runs)}},
    ]
    for annotation in annotations:
        found = load_masks(coco(tmp_path, annotation), files, SIDE)
        assert area_of(found) == pytest.approx(BLOCK_AREA)
        assert found.approximate.tolist() == ["bbox" in annotation]


def star(rng: np.random.Generator, corners: int, size: tuple[int, int]) -> np.ndarray:
    """(corners, 2): an outline around the middle of a picture (height, width)."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.2, 0.45, corners) * min(size)
    middle = np.array([size[1], size[0]]) / 2
    return middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), corners=st.integers(3, 12), shift=st.integers(-40, 40))
def test_polygons_hold_the_pixels_whose_centres_they_hold(seed, corners, shift):
    """Also outlines that leave the picture, against scikit-image; but for the outermost pixels."""
    shape = (48, 64)
    points = star(np.random.default_rng(seed), corners, shape) + shift
    mask = _polygons([points.ravel().tolist()], shape, Path("x"), "y")
    grid = np.stack(np.meshgrid(np.arange(66) - 0.5, np.arange(50) - 0.5), axis=-1)
    expected = points_in_poly(grid.reshape(-1, 2), points).reshape(50, 66)
    lines = Image.new("1", (66, 50))
    outline = [tuple(p) for p in (points + 0.5).tolist()]
    ImageDraw.Draw(lines).line([*outline, outline[0]], fill=1, width=5)
    clear = ~np.asarray(lines)[1:-1, 1:-1]
    np.testing.assert_array_equal(mask[clear], expected[1:-1, 1:-1][clear])
    assert np.abs(int(mask.sum()) - int(expected[1:-1, 1:-1].sum())) <= 0.1 * mask.size


def test_several_annotations_are_one_object(tmp_path):
    files = study(tmp_path)
    path = coco(tmp_path, {"bbox": [0, 0, 10, 10]}, {"bbox": [5, 0, 10, 10]})
    assert area_of(load_masks(path, files, SIDE)) == pytest.approx(150 / 1200)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_short_run_lengths_of_any_mask(seed, share):
    mask = np.random.default_rng(seed).random((9, 13)) < share
    for counts in (runs_of(mask), packed(runs_of(mask))):
        outline = {"size": [9, 13], "counts": counts}
        np.testing.assert_array_equal(_run_lengths(outline, (9, 13), Path("x"), "y"), mask)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [[1, 2, 3]]}, "three points"),
        ({"segmentation": [[1, 2, 3, "x", 5, 6]]}, "list of numbers"),
        ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "three points"),
        ({"segmentation": [{"x": 1}]}, "list of numbers"),
        ({"segmentation": [[0, 0, 9e9, 0, 0, 9]]}, "longer than 2000000 pixels"),
        ({"segmentation": {"size": [30, 40], "counts": [1200, 1]}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": [-5, 1205]}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": [True, 1199]}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": "~~~~"}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": "o" * 50}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": ""}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": packed([600, 599])}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": packed([600, 601])}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": packed([-96, 1296])}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": packed([2**32, 1200])}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": None}}, "do not add up"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "of size"),
        ({"bbox": [1, 2, 3]}, "four numbers"),
        ({"bbox": None}, "four numbers"),
        ({}, "four numbers"),
    ],
)
def test_hostile_annotations(tmp_path, annotation, message):
    refused(coco(tmp_path, annotation), study(tmp_path), message)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"width": 10**6, "height": 10**6}, "1000000 x 1000000"),
        ({"width": 30, "height": 40}, "shape of its image"),
        ({"width": "40"}, "whole numbers"),
        ({"width": -40}, "whole numbers"),
        ({"file_name": 5}, "file_name"),
        ({"file_name": ""}, "file_name"),
        ({"id": None}, "without 'id'"),
        ({"id": 8}, "no image with an annotation"),
    ],
)
def test_hostile_images(tmp_path, image, message):
    refused(coco(tmp_path, {"bbox": [1, 2, 3, 4]}, **image), study(tmp_path), message)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"images": 3, "annotations": []}', '{"images": [1]}', "[" * 10**5]
)
def test_hostile_json(tmp_path, text):
    (tmp_path / "coco.json").write_text(text)
    refused(tmp_path / "coco.json", study(tmp_path), "not JSON|no list|no image")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["size", "counts", "segmentation", "bbox", "image_id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(outline=JSON, box=JSON)
def test_any_annotation_is_read_or_refused_in_one_line(tmp_path_factory, outline, box):
    folder = tmp_path_factory.mktemp("any")
    Image.new("RGB", (40, 30)).save(folder / "2.jpg")
    files = [Found("labeled/a/2.jpg", str(folder / "2.jpg"), "a")]
    path = coco(folder, {"segmentation": outline, "bbox": box})
    try:
        assert load_masks(path, files, SIDE).coverage.shape == (1, SIDE, SIDE)
    except StudyError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(st.lists(st.text(max_size=6), max_size=6), max_size=4))
def test_any_table_is_read_or_refused_in_one_line(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    Image.new("RGB", (40, 30)).save(folder / "2.jpg")
    files = [Found("labeled/a/2.jpg", str(folder / "2.jpg"), "a")]
    text = "file,x,y,w,h\n" + "\n".join(",".join(["2.jpg", *row]) for row in rows)
    (folder / "boxes.csv").write_text(text, encoding="utf8", errors="replace")
    try:
        assert load_masks(folder / "boxes.csv", files, SIDE).approximate.all()
    except StudyError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
