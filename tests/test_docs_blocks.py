"""Every block and every table of commands in the documents runs, page by page, in their order.

A page is followed in a folder like its reader's: photos, labels, and finished runs. Its commands
run as they stand, but for flags that make them small. Where one would train, the finished study of
this session is put in the place of the training, except in the folders of ``TRAINED``.
"""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import typer
import yaml
from PIL import Image
from torch.distributed.run import parse_args

import examples
import headstart
from headstart import cli, pipeline
from headstart.config import Study
from headstart.data.synthetic import BagsSpec
from headstart.layers import build_study
from headstart.nn.encoder import build_encoder
from headstart.plugins import METHODS
from headstart.reporting.figures import SUFFIXES
from headstart.stages.report import Outcome
from mnist_files import write_mnist
from pages import DOCUMENTS, ROOT, Block, blocks, table_calls, table_commands, text

# Run folders whose study is trained to its end.
TRAINED = ("runs/first",)
# Pages all of whose studies `make slow` trains to their end, and those that it alone reads.
TRAINED_IN_SLOW = ("README.md", "docs/tutorial.md", "docs/weights.md")
ONLY_IN_SLOW = ("docs/weights.md",)

# Commands that this test does not run, and why. Those of headstart are parsed.
NOT_RUN = {
    "git clone https://github.com/headstart-project/headstart": "needs the network",
    "cd headstart": "goes with the clone",
    "python3 -m venv .venv": "makes an environment; tests/test_wheel.py installs into one",
    ". .venv/bin/activate": "goes with the environment",
    "headstart run --unlabeled photos --labeled bags --out runs/bags --executor ray": (
        "starts a cluster: tests/executors/test_ray.py"
    ),
    "headstart run --unlabeled photos --labeled bags --out runs/bags --track tensorboard,mlflow": (
        "makes a data base: tests/trackers/"
    ),
    "headstart check --labeled 's3://bucket/bags-{000..999}.tar'": (
        "needs a bucket: tests/data/test_remote.py"
    ),
    "headstart run --unlabeled 's3://bucket/photos-{000..999}.tar' --labeled bags "
    "--cache-budget 200GB --out runs/bags": "needs a bucket: tests/data/test_remote.py",
    "headstart bench": "measures for a minute: tests/bench/",
    "headstart bench --backbone resnet50 --image-size 224 --batch-size 64 --method byol "
    "--peer lightly --json bench.json": "measures for minutes: tests/bench/",
}

# Pages whose blocks have tests of their own.
ELSEWHERE = {
    "docs/export.md": "tests/export/test_export_page.py",
    "benchmarks/README.md": "tests/bench/",
}

# Blocks that show something and are not run: how many of which kind a page has.
SHOWN = {
    ("README.md", "text"): 1,  # the tree
    ("docs/architecture.md", "text"): 1,  # the registries
    ("docs/extending.md", "toml"): 1,  # the example's entry points; tests/test_extensions.py
    ("docs/reliability.md", "bash"): 1,  # a SLURM script
    ("docs/reliability.md", "text"): 1,  # what damage looks like
    ("docs/scale.md", "bash"): 3,  # SLURM: tests/test_launcher.py; Kubernetes, control groups
    ("docs/scale.md", "dockerfile"): 1,  # the image for tests/executors/test_kuberay.py's file
    ("docs/study.md", "csv"): 1,  # a list of labelled files
    ("docs/study.md", "text"): 1,  # the settings; tests/test_docs.py compares them
    ("docs/tutorial.md", "text"): 5,  # what its commands print; compared below
}

# Flags that no command of the documents names: they make any study end within seconds.
SMALL = shlex.split(
    "--backbone test_resnet --image-size 32 --epochs 1 --batch-size 32 --device cpu "
    "--set classify.finetune.epochs=1 --set classify.finetune.min_steps=2 "
    "--set classify.finetune.lrs=[0.1] --set classify.finetune.weight_decays=[0.0001] "
    "--set classify.finetune.max_lengthening=1 --set classify.finetune.augmentations=[light] "
    "--set explain.images=2 --set explain.pictures=1 --set compare.replicates=100 "
    "--set engine.threads=1"
)
SMALL_EXPLAIN = shlex.split("--device cpu --set explain.faithfulness_images=1")
FEW_IMAGES = shlex.split("--images 2 --attributions saliency --set explain.background_images=9")
RUNS = ("runs/bags", "runs/more", "runs/honest/bags", "runs/cheat/bags")


def small(words: list[str]) -> list[str]:
    """The words of a command, with what makes it small."""
    verb = words[1]
    if verb == "run":
        return [*words, *SMALL, *([] if "--seeds" in words else ["--seeds", "0"])]
    if verb == "explain":
        return [*words, *SMALL_EXPLAIN, *([] if "--image" in words else FEW_IMAGES)]
    if verb == "plan":
        return [*words, "--backbone", "test_resnet", "--image-size", "32"]
    return words


class TrainingBeginsError(Exception):
    """A study is about to train: its images, settings and weights are in order."""


Say = Callable[[str], str]


@pytest.fixture(scope="module")
def belongings(bags: Path, finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has: photos, labels of every kind that the documents name, finished runs."""
    folder = tmp_path_factory.mktemp("belongings")
    for name, target in {"photos": "unlabeled", "bags": "labeled", "new": "unlabeled"}.items():
        (folder / name).symlink_to(bags / target)
    (folder / "clothing_pool_160").symlink_to(bags / "unlabeled")
    (folder / "clothing_small_160").symlink_to(bags / "labeled")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "masks").symlink_to(bags / "masks")
    shutil.copy(next((bags / "labeled" / "test").rglob("*.jpg")), folder / "my.jpg")
    shutil.copy(ROOT / "benchmarks" / "cpu-simclr-64.json", folder / "bench.json")
    write_study_files(folder)
    write_labels(bags / "labeled", folder)
    write_patients(bags / "labeled", folder / "patients")
    write_weights(folder / "weights")
    write_mnist(folder / "folder")
    write_predictions(finished.results_path.parent / "predictions.csv", folder)
    for run in RUNS:
        shutil.copytree(finished.results_path.parent, folder / run)
    return folder


@pytest.fixture
def home(belongings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder, as it is before a page is read."""
    folder = shutil.copytree(belongings, tmp_path / "home", symlinks=True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.chdir(folder)
    return folder


def write_patients(labeled: Path, folder: Path) -> None:
    """Class folders without parts, and in them a folder for every three images."""
    for i, file in enumerate(sorted(labeled.rglob("*.jpg"))):
        image = folder / file.parent.name / f"patient {i // 3}" / f"{i}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.symlink_to(file)


def write_study_files(home: Path) -> None:
    example = yaml.safe_load(
        next(b.text for b in blocks("docs/study.md") if b.text.startswith("# study.yaml"))
    )
    example["seeds"], example["label_fractions"] = [0], [0.5, 1.0]
    (home / "study.yaml").write_text(yaml.safe_dump(example), encoding="utf8")


def write_labels(labeled: Path, home: Path) -> None:
    """The labelled images as a CSV, Parquet and zip file, a saved data set and two shards."""
    from datasets import Dataset
    from datasets import Image as ImageColumn
    from pyarrow import Table, parquet

    files = sorted(labeled.rglob("*.jpg"))
    rows = [
        {
            "path": str(file),
            "label": file.parent.name,
            "split": file.parents[1].name,
            "group": f"{file.parents[1].name} {i // 2}",
        }
        for i, file in enumerate(files)
    ]
    for name in ("bags.csv", "labels.csv"):
        with (home / name).open("w", newline="", encoding="utf8") as out:
            writer = csv.DictWriter(out, ["path", "label", "split", "group"])
            writer.writeheader()
            writer.writerows(rows)
    with (home / "patients.csv").open("w", newline="", encoding="utf8") as out:
        table = csv.writer(out)
        table.writerow(["path", "group"])
        table.writerows(
            [str(file.relative_to(labeled)), row["group"]]
            for file, row in zip(files, rows, strict=True)
        )
    parquet.write_table(Table.from_pylist(rows), home / "bags.parquet")
    with zipfile.ZipFile(home / "bags.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(labeled))
    contents = [{"bytes": file.read_bytes(), "path": None} for file in files]
    pictures = {"image": contents, "label": [row["label"] for row in rows]}
    data = Dataset.from_dict(pictures).cast_column("image", ImageColumn())
    data.save_to_disk(home / "saved")
    for name in ("NAME", "uoft-cs/cifar10"):  # a folder of Parquet files is a data set by name
        (home / name).mkdir(parents=True)
        data.to_parquet(home / name / "train.parquet")
    for shard in (0, 1):
        with tarfile.open(home / f"bags-{shard:03d}.tar", "w") as archive:
            for i, row in enumerate(rows):
                if i % 2 == shard:
                    (home / "class.txt").write_text(row["label"], encoding="utf8")
                    archive.add(row["path"], f"{i:06d}.jpg")
                    archive.add(home / "class.txt", f"{i:06d}.cls")


def write_weights(folder: Path) -> None:
    folder.mkdir()
    body = build_encoder("test_resnet", image_size=32, seed=7).body.state_dict()
    torch.save(body, folder / "dino_resnet50.pth")


def write_predictions(stored: Path, home: Path) -> None:
    """Predictions of three models by the names that the documents give them."""
    with stored.open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    models = {"supervised": "supervised", "clip": "simclr", "dino": "byol"}
    for name, method in models.items():
        protocol = "supervised" if method == "supervised" else "finetune"
        its = [
            row
            for row in rows
            if (row["method"], row["protocol"]) == (method, protocol)
            and float(row["label_fraction"]) == 1
        ]
        with (home / f"{name}.csv").open("w", newline="", encoding="utf8") as out:
            writer = csv.DictWriter(out, ["id", "label", "prediction"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(its)


@pytest.fixture
def instead(finished: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a study would train, the finished one is put into its folder."""
    whole = pipeline.run_study

    def begins(*_: object) -> NoReturn:
        raise TrainingBeginsError

    def run_study(study: Study, out: Path, tell: Any = None, command: str = "") -> Outcome:
        if str(out) in TRAINED:
            return whole(study, out, tell, command)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "todo", begins)
            with pytest.raises(TrainingBeginsError):
                whole(study, out, tell, command)
        shutil.rmtree(out)
        shutil.copytree(finished.results_path.parent, out)
        return replace(finished, results_path=out / "results.json", report_path=out / "report.html")

    monkeypatch.setattr(pipeline, "run_study", run_study)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Runs a command of a shell block and gives what it printed."""
    few = BagsSpec(
        pool=80, train_per_class=6, validation_per_class=3, test_per_class=6, size=48, seed=3
    )
    monkeypatch.setattr("headstart.data.synthetic.demo_bags", lambda *_: few)
    monkeypatch.setattr("headstart.reporting.figures.save", small_drawing)
    # Several processes are started in tests/test_launcher.py; here their settings are read.
    monkeypatch.setattr("headstart.launcher.launch", lambda *_: 0)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(command: str) -> str:
        words = shlex.split(command)
        if words[0] == "make":
            # -n prints what would be done: a word that does not exist fails.
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, check=True)
            return ""
        if words[:2] == ["pip", "install"]:
            known = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
            assert set(re.findall(r"\[(.+)\]", command)) <= {*known}, command
            return ""
        if words[0] == "torchrun":
            asked = parse_args(words[1:])
            assert (asked.module, asked.training_script) == (True, "headstart"), command
            words = ["headstart", *asked.training_script_args]
        assert words[0] == "headstart", f"{command}: how is this run?"
        monkeypatch.setattr("sys.argv", small(words))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code in (0, None), f"{command}\n{err}"
        return out + err

    return run


def small_drawing(_: object, folder: Path, name: str) -> str:
    """In the place of a figure: drawing takes most of a report's time; tests/reporting/ draws."""
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        (folder / f"{name}{suffix}").write_text(drawn, encoding="utf8")
    return drawn


def to_run(page: str) -> list[Block]:
    return [block for block in blocks(page) if (page, block.kind) not in SHOWN]


PAGES = [
    page
    for page in DOCUMENTS
    if page not in (*ELSEWHERE, *ONLY_IN_SLOW) and (to_run(page) or table_commands(page))
]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_runs(page: str, home: Path, say: Say, instead: None) -> None:
    read(page, home, say)


@pytest.mark.slow
@pytest.mark.parametrize("page", TRAINED_IN_SLOW)
def test_what_a_page_says_trains(page: str, home: Path, say: Say) -> None:
    read(page, home, say)


def read(page: str, home: Path, say: Say) -> None:
    """Do all that a page says, in its order: the blocks, then what stands in tables."""
    names: dict[str, Any] = {}
    said = "".join(follow(page, block, names, say) for block in to_run(page))
    for command in table_commands(page):
        if command not in NOT_RUN:
            say(command)
    for call in table_calls(page):
        eval(call, {"headstart": headstart, "pool": images(home), "pairs": pairs(home)})
    if page == "docs/tutorial.md":
        shown = [block.text for block in blocks(page) if block.kind == "text"]
        assert not unsaid("\n".join(shown), said + (home / "classes.csv").read_text("utf8"))


def images(home: Path) -> list[Image.Image]:
    return [Image.open(file).copy() for file in sorted((home / "photos").glob("*.jpg"))[:20]]


def pairs(home: Path) -> list[tuple[Image.Image, str]]:
    files = sorted((home / "bags").rglob("*.jpg"))
    return [(Image.open(file).copy(), file.parent.name) for file in files]


def unsaid(shown: str, said: str) -> list[str]:
    """Lines without a number, an ellipsis or a rule that no command printed."""
    plain = " ".join(said.split())
    lines = (" ".join(line.split()) for line in shown.splitlines())
    return [line for line in lines if not re.search(r"[\d…─]", line) and line not in plain]


def follow(page: str, block: Block, names: dict[str, Any], say: Say) -> str:
    """Do what a block says; the names of the Python blocks of a page are shared."""
    if block.kind == "sh":
        return "".join(say(command) for command in block.commands if command not in NOT_RUN)
    if block.kind == "yaml":
        build_study([(page, yaml.safe_load(block.text))])
    elif page != "docs/extending.md":
        exec("import headstart\n" + block.text, names)
    elif not re.match(r"# \w+\.py", block.text):  # a whole file: tests/test_extending.py
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(METHODS, "entries", dict(METHODS.entries))
            patch.setitem(sys.modules, "uniformity", examples.imported("uniformity"))
            exec(block.text, names)
    return ""


def test_no_block_is_left_out_unseen() -> None:
    kinds = Counter((page, block.kind) for page in DOCUMENTS for block in blocks(page))
    assert {
        k: n for k, n in kinds.items() if k in SHOWN or k[1] in ("text", "csv", "bash")
    } == SHOWN


def test_every_exception_is_still_one() -> None:
    """A command or a page that is gone from the documents must go from the lists as well."""
    said = {c for p in DOCUMENTS for b in blocks(p) if b.kind == "sh" for c in b.commands}
    said |= {command for page in DOCUMENTS for command in table_commands(page)}
    assert set(NOT_RUN) <= {" ".join(command.split()) for command in said}
    assert {*ELSEWHERE, *TRAINED_IN_SLOW} <= {*DOCUMENTS}
    assert {*ONLY_IN_SLOW} <= {*TRAINED_IN_SLOW}
    assert all(any(f"--out {out}" in command for command in said) for out in TRAINED)


@pytest.mark.parametrize("command", [c for c in NOT_RUN if c.startswith("headstart ")])
def test_what_is_not_run_is_parsed(command: str) -> None:
    _, verb, *words = shlex.split(command)
    typer.main.get_command(cli.app).commands[verb].make_context(verb, words)


def test_a_study_that_cannot_train_is_not_passed_over(home: Path, say: Say, instead: None) -> None:
    """The finished run stands in for training alone: what is wrong before it is still told."""
    for wrong in ("--labeled nowhere", "--labeled bags --methods simcrl", "--labeled photos"):
        with pytest.raises(AssertionError):
            say(f"headstart run --out runs/wrong {wrong}")
