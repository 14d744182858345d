"""``headstart check``: the data card, without any training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from headstart import cli
from headstart.reporting import schema

Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


SMALL = (
    "--set",
    "encoder.image_size=48",
    "--set",
    "engine.device=cpu",
    "--set",
    "engine.threads=1",
)


def test_the_card_is_printed_and_written(bags: Path, tmp_path: Path, main: Main) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for path in sorted((bags / "unlabeled").iterdir())[:12]:
        (pool / path.name).symlink_to(path)
    test = sorted((bags / "labeled/test/hobo").iterdir())[0]
    with Image.open(test) as image:
        image.save(pool / "leak.jpg", quality=70)
    (pool / "torn.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    code, stdout, stderr = main(
        "check", "--unlabeled", pool, "--labeled", bags / "labeled", "--out", out, "--json", *SMALL
    )
    assert code == 0
    assert stdout == f"{out / 'check.json'}\n"
    card = json.loads((out / "check.json").read_text(encoding="utf8"))
    data = card["data"]
    jsonschema.validate(data, {**schema(), **schema()["$defs"]["Data"]})
    assert data["counts"] == {
        "pool": 84,
        "pool_from_train": 72,
        "train": 72,
        "validation": 27,
        "test": 54,
    }
    assert data["removed"] == {"pool_near_copies_of_test": 1, "unreadable": 1}
    assert data["near_duplicates"]["removed"] == 1
    told = " ".join(stderr.split())
    for line in (
        "nearly identical to test images (1)",
        "files that could not be read (1)",
        "Fewer than 20 test images in 9 classes (bauletto, clutch",
        "With 54 test images this run can only see differences above about",
        "Only 84 images to pretrain on; thousands are useful.",
        "MoCo v2: queue of 4096 cut to 42, half the pool",
        "zaino",
        "84 images to pretrain on, 72 of them training images without their labels",
    ):
        assert line in told, line
    assert all(" ".join(line.split()) in told for line in card["lines"])
    pairs = (out / "near_duplicates.csv").read_text(encoding="utf8").splitlines()
    assert pairs[1].startswith("unlabeled/leak.jpg,removed,labeled/test/hobo/")
    assert "torn.jpg" in (out / "quarantine.csv").read_text(encoding="utf8")
    assert "leak.jpg" in (out / "removed.csv").read_text(encoding="utf8")
    assert not (out / "pretrain").exists()


def test_groups_and_imbalance_are_told_of(bags: Path, tmp_path: Path, main: Main) -> None:
    labeled = tmp_path / "labeled"
    for place, path in enumerate(sorted((bags / "labeled/train").rglob("*.jpg"))):
        if path.parent.name == "zaino" and place % 2:
            continue
        for split in ("train", "validation", "test"):
            (labeled / split / path.parent.name).mkdir(parents=True, exist_ok=True)
        split = ("train", "train", "test", "validation")[place % 4]
        (labeled / split / path.parent.name / f"{place % 7}-{path.name}").symlink_to(path)
    code, stdout, stderr = main(
        "check", "--labeled", labeled, "--groups", r"/(\d)-", "--out", tmp_path / "out", *SMALL
    )
    assert (code, stdout) == (0, "")
    told = " ".join(stderr.split())
    assert "7 groups of yours stand on more than one side" in told
    assert "'bauletto' has 4 training images, 'zaino' 2" not in told  # two to one is no news


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "--labeled: a folder with one folder of images for each class is needed"),
        (("--groups", "nobody.csv"), "--groups nobody.csv: No such file or directory"),
        (("--groups", "(x"), "--groups (x: neither a CSV file, nor 'folder', nor a regular"),
        (("--set", "data.near_distance=11"), "data.near_distance: input should be less than or eq"),
        (("--labeled", "nowhere"), "--labeled nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_two(
    bags: Path, tmp_path: Path, main: Main, arguments: tuple[str, ...], line: str
) -> None:
    given = ("--labeled", bags / "labeled") if "--groups" in arguments else ()
    code, stdout, stderr = main("check", *given, *arguments, "--out", tmp_path / "out", *SMALL)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("headstart: ")
    assert line in stderr
    assert len(stderr.splitlines()) == 1
