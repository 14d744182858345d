"""The same study twice is the same; what is there is never made again; a kill costs little."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_study
from headstart import pipeline
from headstart.config import Study, StudyError
from headstart.pipeline import run_study
from headstart.recipes import resolve_recipe
from headstart.stages import report as report_stage
from headstart.stages.compare.predictions import compare_run, run_question

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "data": {"limit": 40},
    "encoder": {"image_size": 16},
    "pretrain": {"epochs": 2, "batch_size": 32, "checkpoint_minutes": 0},
    "classify": {"protocols": ["linear", "finetune"]},
    "explain": {"images": 2, "pictures": 1, "attributions": ["saliency"]},
}


def small(bags: Path, *methods: str, **changes: Any) -> Study:
    return tiny_study.study(bags, only=methods or ("simclr", "moco"), **(SMALL | changes))


def finished_work(folder: Path) -> dict[str, int]:
    """When each artifact was finished, by name."""
    return {
        str(path.parent.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.glob("*/*/done.json")
    }


def findings(folder: Path) -> dict[str, Any]:
    """The results without when and where they were made."""
    results = json.loads((folder / "results.json").read_text(encoding="utf8"))
    results.pop("provenance")
    assert isinstance(results, dict)
    return results


@pytest.fixture(scope="module", autouse=True)
def _no_page() -> Iterator[None]:
    """The page has tests of its own, and drawing it takes longer than these studies."""

    def nothing(_: dict[str, Any], folder: Path) -> Path:
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_stage, "write_report", nothing)
        yield


@pytest.fixture(scope="module")
def done(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study, to be read only."""
    folder = tmp_path_factory.mktemp("first") / "run"
    run_study(small(bags), folder)
    return folder


def test_two_runs_in_two_folders_find_the_same(bags: Path, done: Path, tmp_path: Path) -> None:
    torch.manual_seed(31)  # the state of the process is no part of a study
    second = tmp_path / "run"
    run_study(small(bags), second)
    assert findings(second) == findings(done)
    for name in ("predictions.csv", "quarantine.csv", "removed.csv"):
        assert (second / name).read_bytes() == (done / name).read_bytes()
    assert finished_work(second).keys() == finished_work(done).keys()


def test_running_again_makes_nothing_again(bags: Path, tmp_path: Path, done: Path) -> None:
    before, found = finished_work(done), findings(done)
    entries = sorted(str(path) for path in done.glob("*/*"))
    tell = tiny_study.Spoken()
    run_study(small(bags), done, tell)
    assert finished_work(done) == before
    assert sorted(str(path) for path in done.glob("*/*")) == entries
    assert findings(done) == found
    looked_up = ("explain", "reading masks")
    trained = {what for what, _, _ in tell.bars if not what.startswith(looked_up)}
    assert not trained


@pytest.mark.parametrize(
    "more",
    [
        {"seeds": [0, 1]},
        {"label_fractions": [0.5, 1.0]},
        {"label_fractions": [0.5, 1.0], "label_draws": 2},
        {"only": ["simclr", "moco", "simsiam"]},
        {"explain": {"images": 0}},
        {"engine": {"threads": 2}},
        {"pretrain": {"checkpoint_minutes": 5}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_larger_study_takes_up_what_is_there(
    more: dict[str, Any], bags: Path, done: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    before = finished_work(folder)
    settings: dict[str, Any] = {**SMALL, **{k: v for k, v in more.items() if k != "only"}}
    for group in ("explain", "pretrain"):
        settings[group] = SMALL[group] | more.get(group, {})
    methods = more.get("only", ["simclr", "moco"])
    try:
        run_study(tiny_study.study(bags, only=methods, **settings), folder)
    finally:
        torch.set_num_threads(1)
    after = finished_work(folder)
    assert before.items() <= after.items()
    new = {name.split("/")[0] for name in after.keys() - before.keys()}
    wanted = {
        "seeds": {"pretrain", "extract", "classify", "evaluate", "explain", "gates", "compare"},
        "label_fractions": {"classify", "evaluate", "gates", "compare"},
        "only": {"pretrain", "extract", "classify", "evaluate", "explain", "gates", "compare"},
    }
    assert new == wanted.get(next(iter(more)), set())


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"pretrain": {"epochs": 3}}, {"index", "pretrain/random"}),
        ({"data": {"cache_factor": 1.5}}, {"pretrain/random"}),
        ({"encoder": {"backbone": "test_resnet", "image_size": 24}}, set()),
    ],
    ids=["epochs", "cache", "size"],
)
def test_a_changed_setting_makes_anew_what_depends_on_it(
    change: dict[str, Any], kept: set[str], bags: Path, done: Path, tmp_path: Path
) -> None:
    """By names alone: which entries a changed study would find again."""
    asked = small(bags, "simclr", **{k: SMALL.get(k, {}) | v for k, v in change.items()})
    run = tiny_study.open_run(asked, tmp_path)
    same = tiny_study.open_run(small(bags, "simclr"), tmp_path / "same")

    def names(of: Any) -> set[str]:
        data = pipeline.index(of)
        begin = pipeline.start(of, 0, "random")
        from headstart.recipes import fit_to_pool
        from headstart.stages.pretrain.job import Job

        pool = data.pool(True)
        recipe, _ = fit_to_pool(resolve_recipe(of.study, "simclr"), len(pool))
        job = Job(of, data, "simclr", 0, recipe, pool)
        entry = of.store.entry("pretrain", "simclr", job.settings(), [data.entry, begin])
        return {f"index {data.entry.key}", f"pretrain/random {begin.key}", f"simclr {entry.key}"}

    again = {name.split()[0] for name in names(run) & names(same)}
    assert again == kept


def test_label_draws_are_cells_of_their_own_and_compared_again_the_same(
    bags: Path, done: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    asked = small(bags, "simclr", seeds=[0, 1], label_fractions=[0.5, 1.0], label_draws=2)
    results = run_study(asked, folder).results
    cells = {(a.seed, a.label_fraction, a.label_draw) for a in results.arms}
    assert cells == {(s, f, d) for s in (0, 1) for f, d in ((0.5, 0), (0.5, 1), (1.0, 0))}
    few = [row for row in results.comparisons if row.fraction == 0.5]
    assert few
    assert all((row.seeds, row.label_draws) == (2, 2) and row.spread for row in few)
    again = compare_run(folder, run_question(folder)).found
    assert again.comparisons == results.comparisons


# --- killed --------------------------------------------------------------------------------------

SCRIPT = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_pipeline
from headstart.pipeline import run_study
run_study(test_pipeline.small(Path({bags!r}), **{changes!r}), Path({out!r}))
"""


def killed_when(script: str, due: Any) -> None:
    """Start Python on a script and kill it, without any warning, as soon as it is due."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        deadline = time.monotonic() + 240
        while not due():
            assert process.poll() is None, "the study was over before it could be killed"
            assert time.monotonic() < deadline, "nothing to kill"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_study_killed_in_the_middle_ends_the_same(bags: Path, tmp_path: Path) -> None:
    changes = {"pretrain": SMALL["pretrain"] | {"epochs": 8, "check_epochs": 0.5}}
    whole = tmp_path / "whole" / "run"
    run_study(small(bags, **changes), whole)

    cut = tmp_path / "cut" / "run"
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), bags=str(bags), out=str(cut), changes=changes
    )
    killed_when(script, lambda: list(cut.glob("pretrain/moco-*/checkpoint.pt")))
    assert not (cut / "results.json").exists()
    (checkpoint,) = cut.glob("pretrain/moco-*/checkpoint.pt")
    assert not (checkpoint.parent / "done.json").exists()
    before = finished_work(cut)
    assert any(name.startswith("pretrain/simclr") for name in before)

    tell = tiny_study.Spoken()
    run_study(small(bags, **changes), cut, tell)
    first = next(done for what, done, _ in tell.bars if what.startswith("moco"))
    assert first > 1  # from the checkpoint, not from the beginning
    assert before.items() <= finished_work(cut).items()
    assert findings(cut) == findings(whole)
    assert (cut / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert not list(cut.rglob("checkpoint*"))


# --- mistakes ------------------------------------------------------------------------------------


def test_settings_that_must_not_run_are_refused_before_any_training(
    bags: Path, tmp_path: Path
) -> None:
    doomed = {"byol": {"optim": {"name": "adamw", "lr": 0.2, "scale": "none"}}}
    both = {"simclr": tiny_study.HEADS["simclr"], **doomed}
    study = small(bags).model_copy(update={"methods": both})
    with pytest.raises(StudyError, match=r"^methods\.byol\.optim: .* sized for LARS") as caught:
        run_study(study, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run" / "pretrain").glob("simclr-*"))


def test_a_misspelt_backbone_is_said_before_any_image_is_read(bags: Path, tmp_path: Path) -> None:
    tell = tiny_study.Spoken()
    asked = small(bags, encoder={"backbone": "resnet81"})
    with pytest.raises(StudyError, match=r"^encoder: backbone 'resnet81' is neither") as caught:
        run_study(asked, tmp_path / "run", tell)
    assert "did you mean" in str(caught.value)
    assert tell.bars == []


def test_a_run_folder_that_cannot_be_is_one_line(bags: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match=r"^--out .*file"):
            run_study(small(bags), out)
