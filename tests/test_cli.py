"""Through the command line: a whole run, and every mistake as one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml

from headstart import cli
from headstart.methods import METHODS
from headstart.reporting import schema

torch.set_num_threads(1)

Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """The command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def photos(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool in nested folders, classes without splits, and a file that is no image."""
    root = tmp_path_factory.mktemp("photos")
    for i, path in enumerate(sorted((bags / "unlabeled").iterdir())[:36]):
        place = root / "pool" / ("shop a" if i % 2 else "shop b/2024") / f"{i}{path.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for name in ("hobo", "zaino", "clutch"):
        source = sorted((bags / "labeled" / "train" / name).iterdir())
        source += sorted((bags / "labeled" / "test" / name).iterdir())
        (root / "classes" / name).mkdir(parents=True)
        for i, path in enumerate(source):
            shutil.copy(path, root / "classes" / name / f"{i}{path.suffix}")
    (root / "pool" / "torn.jpg").write_bytes(b"not a picture")
    (root / "pool" / "notes.txt").write_text("not meant as one")
    return root


FAST = (
    "--set=encoder.backbone=test_resnet",
    "--set=classify.finetune={epochs: 2, lrs: [0.1], weight_decays: [0.0001], min_steps: 4}",
    "--set=classify.finetune={max_lengthening: 1, augmentations: [light]}",
    "--no-compute-matched",
    "--set=explain={images: 3, pictures: 1}",
    "--set=compare.replicates=200",
    "--set=engine={device: cpu, threads: 1, precision: '32'}",
    "--image-size=16",
    "--batch-size=16",
    "--epochs=2",
)


# --- whole runs ----------------------------------------------------------------------------------


def test_two_folders_in_one_report_out(main: Main, photos: Path, tmp_path: Path) -> None:
    """Nested pool, made split, --limit, and the last line on stdout is the results' path."""
    out = tmp_path / "my study"
    code, stdout, stderr = main(
        "run",
        *("--unlabeled", photos / "pool", "--labeled", photos / "classes", "--out", out),
        *("--methods", "simclr", "--limit", "30", "--json", *FAST),
    )
    assert code == 0, stderr
    assert stdout.splitlines()[-1] == str(out / "results.json")
    results = json.loads((out / "results.json").read_text(encoding="utf8"))
    jsonschema.validate(results, schema())
    assert results["title"] == "my study"
    assert results["data"]["split"] == "made"
    assert results["data"]["removed"].get("unreadable", 0) <= 1
    counts = results["data"]["counts"]
    assert counts["pool"] - counts["pool_from_train"] <= 30
    assert counts["train"] + counts["validation"] + counts["test"] <= 3 * 14
    assert {row["name"] for row in results["data"]["classes"]} == {"hobo", "zaino", "clutch"}
    assert {arm["method"] for arm in results["arms"]} == {
        "majority",
        "random",
        "supervised",
        "simclr",
    }
    assert results["provenance"]["command"].startswith("headstart run --unlabeled ")
    assert (out / "report.html").is_file()
    assert f"Report: {out / 'report.html'}" in stderr
    assert "Traceback" not in stderr


def test_a_study_file_under_set_and_flags(main: Main, photos: Path, tmp_path: Path) -> None:
    """Preset < file < --set < flags; paths in the file are relative to it."""
    file = photos / "study.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "data": {"unlabeled": "pool", "labeled": "classes"},
                "methods": {"moco": {"temperature": 0.3}, "byol": {}},
                "seeds": [4],
                "pretrain": {"epochs": 7, "batch_size": 18},
                "classify": {"protocols": ["linear"]},
                "explain": {"images": 0},
            }
        )
    )
    code, stdout, stderr = main(
        *("run", file, "--out", tmp_path / "out", "--methods", "moco", "--epochs", "1"),
        *("--set", "pretrain.epochs=3", "--set", "pretrain.batch_size=12", *FAST[:1], *FAST[5:8]),
        *("--set", "methods.moco.dim=16", "--preset", "quick", *FAST[1:4]),
    )
    assert code == 0, stderr
    assert stdout == ""  # without --json nothing but the exit code for programs
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf8"))
    study = results["study"]
    assert study["pretrain"]["epochs"] == 1
    assert study["pretrain"]["batch_size"] == 12
    assert study["methods"] == {"moco": {"temperature": 0.3, "dim": 16}}
    assert study["seeds"] == [4]
    assert Path(study["data"]["unlabeled"]) == photos / "pool"
    assert results["explained"] == []
    assert results["data"]["removed"]["unreadable"] == 1
    quarantine = (tmp_path / "out" / "quarantine.csv").read_text(encoding="utf8")
    assert "torn.jpg" in quarantine
    assert "notes.txt" not in quarantine


# --- mistakes ------------------------------------------------------------------------------------


def mistake(result: tuple[int, str, str]) -> str:
    """The one line that a user's mistake is worth."""
    code, stdout, stderr = result
    assert code == 2
    assert stdout == ""
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("headstart: ")
    return lines[0].removeprefix("headstart: ")


@pytest.fixture
def wrong(main: Main, photos: Path, tmp_path: Path) -> Callable[..., str]:
    """Run with a mistake; the folders are right unless they are what is wrong."""

    def run(*arguments: object, out: Path | None = None) -> str:
        given = list(arguments)
        for flag, folder in (("--unlabeled", "pool"), ("--labeled", "classes")):
            if flag not in given:
                given += [flag, photos / folder]
        return mistake(main("run", "--out", out or tmp_path / "out", *FAST, *given))

    return run


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--methods", "simclr,mocco"), "'mocco' is not one of 'moco'"),
        (("--methods", "mocco"), "did you mean 'moco'?"),
        (("--preset", "qick"), "did you mean 'quick'?"),
        (("--set", "pretrain.epoch=3"), "pretrain.epoch: unknown setting; did you mean 'epochs'?"),
        (("--set", "pretrian.epochs=3"), "did you mean 'pretrain'?"),
        (("--set", "methods.simclr.temprature=1"), "did you mean 'temperature'?"),
        (("--set", "pretrain.epochs=many"), "pretrain.epochs:"),
        (("--set", "pretrain.epochs"), "write key=value"),
        (("--set", "pretrain.epochs=0"), "pretrain.epochs:"),
        (("--set", "data.split=[0.5, 0.2, 0.2]"), "must sum to 1"),
        (("--epochs", "0"), "--epochs: pretrain.epochs:"),
        (("--seeds", "0,one"), "--seeds 0,one: write numbers with commas"),
        (("--seeds", "0,0"), "each only once"),
        (("--seeds", ","), "at least one value"),
        (("--seeds", "-1"), "seeds"),
        (("--label-fractions", "10,100"), "label_fractions"),
        (("--label-fractions", "a"), "--label-fractions a: write numbers"),
        (("--on-collapse", "cry"), "pretrain.on_collapse"),
        (("--backbone", "resnet81"), "encoder: backbone 'resnet81' is neither"),
        (("--set", "encoder.weights=/nowhere/w.pth"), "/nowhere/w.pth: no such weights file"),
        (("--device", "gpu"), "--device gpu: write auto, cpu, cuda"),
        (("--unlabeled", "/nowhere"), "--unlabeled /nowhere: no such folder"),
        (("--labeled", "/nowhere"), "--labeled /nowhere: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], line: str, wrong: Callable[..., str]
) -> None:
    assert line in wrong(*arguments)


def test_cuda_without_a_gpu(wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert wrong("--device", "cuda") == "--device cuda: this machine has 0 GPUs"


def test_folders_that_cannot_be_a_study(
    wrong: Callable[..., str], main: Main, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images found (saw nothing" in wrong("--unlabeled", tmp_path / "empty")
    assert "no images found (saw nothing" in wrong("--labeled", tmp_path / "empty")
    one = tmp_path / "one"
    shutil.copytree(photos / "classes" / "hobo", one / "hobo")
    assert "at least two classes, found only 'hobo'" in wrong("--labeled", one)
    assert "is in no class folder" in wrong("--labeled", photos / "classes" / "hobo")
    (tmp_path / "file").write_text("not a folder")
    assert "is a file, not a folder" in wrong("--labeled", tmp_path / "file")
    assert wrong(out=tmp_path / "file") == f"--out {tmp_path / 'file'}: File exists"
    few = tmp_path / "few"
    for name in ("hobo", "zaino"):
        (few / name).mkdir(parents=True)
        shutil.copy(photos / "classes" / name / "0.jpg", few / name / "0.jpg")
    code, _, stderr = main("run", "--labeled", few, "--out", tmp_path / "out", *FAST)
    assert code == 2  # seen only when the images have been read, which is told first
    assert stderr.splitlines()[-1].startswith(f"headstart: --labeled {few}: no usable validation")


def test_study_files_that_cannot_be_read(main: Main, tmp_path: Path) -> None:
    assert "No such file" in mistake(main("run", tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    assert "must hold 'key: value' lines" in mistake(main("run", tmp_path / "list.yaml"))
    (tmp_path / "torn.yaml").write_text("data: {labeled: [\n")
    assert "not readable as YAML" in mistake(main("run", tmp_path / "torn.yaml"))
    (tmp_path / "typo.yaml").write_text("pretrain: {epoch: 3}\n")
    line = mistake(main("run", tmp_path / "typo.yaml"))
    assert line.endswith("typo.yaml: pretrain.epoch: unknown setting; did you mean 'epochs'?")


def test_no_labeled_folder_is_said(main: Main, photos: Path, tmp_path: Path) -> None:
    line = mistake(main("run", "--unlabeled", photos / "pool", "--out", tmp_path / "o", *FAST))
    assert line.startswith("--labeled: ")


def test_stopping_by_hand_is_not_a_crash(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "study_of", stopped)
    code, _, stderr = main("run", "--labeled", "x")
    assert code == 130
    assert "Traceback" not in stderr


# --- help, demo, presets -------------------------------------------------------------------------


def test_help_is_light_and_names_the_commands() -> None:
    """No torch for a page of help: a fresh Python, the commands, and what was imported."""
    script = (
        "import sys, resource\n"
        "begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime\n"
        "sys.argv = ['headstart', '--help']\n"
        "from headstart.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begin\n"
        "heavy = {'torch', 'timm', 'captum', 'sklearn', 'altair', 'numpy', 'scipy'}\n"
        "print('SPENT', spent, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    *page, last = done.stdout.splitlines()
    for command in ("run", "demo", "presets"):
        assert any(command in line for line in page)
    _, seconds, modules = last.split(" ", 2)
    assert modules == "[]"
    assert float(seconds) < 1


def test_a_mistake_through_the_shell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headstart", "run", "--labeled", "/nowhere", "--methods", "mocco"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    line = mistake((done.returncode, done.stdout, done.stderr))
    known = ", ".join(f"'{name}'" for name in METHODS)
    assert line == (f"--methods: methods: 'mocco' is not one of {known}; did you mean 'moco'?")


def test_demo_draws_its_bags_and_says_where(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import synthetic

    specs: list[synthetic.BagsSpec] = []

    def drawn(folder: Path, spec: synthetic.BagsSpec, progress: object = None) -> Path:
        specs.append(spec)
        return folder

    monkeypatch.setattr(synthetic, "generate", drawn)
    code, stdout, _ = main("demo", "--out", tmp_path, "--images-only", "--shortcut", "0.5")
    assert code == 0
    assert stdout.strip() == str(tmp_path / "images")
    assert specs[0].shortcut == 0.5


def test_mistakes_in_a_demo_are_one_line(main: Main, tmp_path: Path) -> None:
    line = mistake(main("demo", "--out", tmp_path, "--shortcut", "2"))
    assert "shortcut must lie between 0 and 1" in line
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.txt").write_text("something else")
    assert "is not empty" in mistake(main("demo", "--out", tmp_path))


def test_presets_are_told_with_their_cost(main: Main) -> None:
    from headstart.config import PRESETS

    code, stdout, _ = main("presets")
    assert code == 0
    for name in PRESETS:
        assert f"{name}: " in stdout
    assert "Costs" in stdout
