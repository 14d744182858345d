"""A run folder asked later: reported again, half done, listed, and beside another run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from headstart.config import StudyError
from headstart.finished import list_runs, report_run
from headstart.reporting.beside import differences, rows, write_beside
from headstart.results import load_results
from headstart.runtime.run import Silence
from headstart.stages.report import Outcome
from headstart.store import DONE


@pytest.fixture
def run(finished: Outcome, tmp_path: Path) -> Path:
    """A copy of the finished run that may be broken."""
    copy = tmp_path / "run"
    shutil.copytree(finished.report_path.parent, copy)
    return copy


class Told(Silence):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def undo(run: Path, *patterns: str) -> None:
    """Take the run back to before these artifacts were made."""
    (run / "results.json").unlink()
    for pattern in patterns:
        found = list(run.glob(f"{pattern}/{DONE}"))
        assert found, pattern
        for path in found:
            path.unlink()


def test_a_finished_run_gets_the_same_page_again(run: Path) -> None:
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert not report_run(run).unfinished
    assert (run / "report.html").read_bytes() == page


def test_a_run_of_an_older_version_gets_pictures_of_its_test_images(run: Path) -> None:
    page, whole = (run / "report.html").read_bytes(), load_results(run)
    stored = json.loads((run / "results.json").read_text(encoding="utf8"))
    del stored["shown"]
    (run / "results.json").write_text(json.dumps(stored), encoding="utf8")
    shutil.rmtree(run / "thumbnails")
    results = report_run(run)
    assert results.shown == whole.shown == load_results(run).shown
    assert (run / "report.html").read_bytes() == page


def test_where_the_images_are_gone_the_page_does_without_their_pictures(
    run: Path, bags: Path, tmp_path: Path
) -> None:
    stored = json.loads((run / "results.json").read_text(encoding="utf8"))
    stored["study"]["data"]["labeled"] = str(tmp_path / "gone")
    (run / "results.json").write_text(json.dumps(stored), encoding="utf8")
    (run / "study.json").unlink()
    shutil.rmtree(run / "thumbnails")
    told = Told()
    results = report_run(run, told)
    assert results.shown is None
    assert [line for line in told.lines if "no pictures of test images" in line]
    assert "thumbnails" not in (run / "report.html").read_text(encoding="utf8")
    assert load_results(run).shown is not None  # what was found out stays


def test_of_a_half_finished_run_the_page_says_how_far_it_is(run: Path) -> None:
    whole = load_results(run)
    undo(run, "evaluate/simclr-*-0.5-*", "classify/simclr-finetune-*-0.5-*", "pretrain/byol-*")
    results = report_run(run)
    missing = {(a.method, a.protocol, a.label_fraction) for a in results.arms if a.status != "ok"}
    assert {entry for entry in missing if entry[0] == "simclr"} == {
        ("simclr", protocol, 0.5) for protocol in ("finetune", "linear", "knn")
    }
    assert {entry for entry in missing if entry[0] == "byol"} == {
        ("byol", protocol, fraction)
        for protocol in ("finetune", "linear", "knn")
        for fraction in (0.5, 1.0)
    }
    assert results.progress == f"{len(whole.arms) - 9} of {len(whole.arms)} classifiers are done"
    there = {(a.arm, a.label_fraction): a.metrics for a in whole.arms}
    for arm in results.arms:
        assert arm.status != "ok" or arm.metrics == there[arm.arm, arm.label_fraction]
    page = (run / "report.html").read_text(encoding="utf8")
    assert f"Not finished: {results.progress}" in page
    assert not (run / "results.json").exists()


def test_nothing_is_computed_for_an_unfinished_run(run: Path) -> None:
    undo(run, "classify/*", "evaluate/*", "pretrain/*", "gates/*", "compare/*")
    before = {path for verb in ("pretrain", "classify") for path in run.glob(f"{verb}/*/{DONE}")}
    results = report_run(run)
    assert all(arm.status == "unfinished" for arm in results.arms)
    assert results.shown is not None
    assert results.shown.confusions == ()
    after = {path for verb in ("pretrain", "classify") for path in run.glob(f"{verb}/*/{DONE}")}
    assert after == before
    assert "0 of " in (run / "report.html").read_text(encoding="utf8")


def test_a_widened_study_is_unfinished_again(run: Path) -> None:
    note = json.loads((run / "study.json").read_text(encoding="utf8"))
    note["study"]["seeds"] = [*note["study"]["seeds"], 7]
    (run / "study.json").write_text(json.dumps(note), encoding="utf8")
    results = report_run(run)
    assert {arm.seed for arm in results.arms if arm.status == "unfinished"} == {7}
    assert list_runs(run.parent)[0].state == "unfinished"


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        (lambda run: shutil.rmtree(run), "neither study.json nor results.json"),
        (lambda run: undo(run, "index/*"), "not read to the end"),
        (
            lambda run: (undo(run), (run / "study.json").write_text("{", encoding="utf8")),
            "study.json: damaged",
        ),
    ],
)
def test_what_cannot_be_reported_is_one_line(run: Path, break_, words: str) -> None:
    break_(run)
    with pytest.raises(StudyError, match=words) as error:
        report_run(run)
    assert len(str(error.value).splitlines()) == 1


def test_runs_are_listed_with_their_answers(run: Path) -> None:
    other = run.parent / "deep" / "other"
    shutil.copytree(run, other)
    (other / "results.json").write_text("{}", encoding="utf8")
    found = {entry.folder: entry for entry in list_runs(run.parent)}
    assert found[run].state == "finished"
    assert found[run].said
    assert found[other].state == "unreadable"
    with pytest.raises(StudyError, match="no such folder"):
        list_runs(run.parent / "nowhere")


def test_two_runs_side_by_side(run: Path, tmp_path: Path) -> None:
    one = load_results(run)
    study = {**one.study, "seeds": [5]}
    other = one.model_copy(update={"study": study, "title": "<b>other", "arms": one.arms[3:]})
    assert differences(one, one) == []
    assert ("seeds", str(one.study["seeds"]), "[5]") in differences(one, other)
    both = rows(one, other)
    assert all(row.sides[0] for row in both)
    assert any(row.sides[1] is None for row in both)
    page = write_beside(one, other, tmp_path / "both.html").read_text(encoding="utf8")
    assert "&lt;b&gt;other" in page
    assert "<b>other" not in page
    for arm in one.arms:
        assert arm.arm.label in page
