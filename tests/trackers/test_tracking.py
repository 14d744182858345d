"""A study tells its trackers all there is, once; and whatever these do, the study goes on."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tiny_study
from headstart.config import Study, StudyError
from headstart.interrupt import Interrupted
from headstart.pipeline import run_study
from headstart.trackers import TRACKERS, sender
from headstart.trackers.base import Answer, Ending, Point, Tracked
from headstart.trackers.ledger import Ledger
from headstart.trackers.tracking import Tracking, tracking


class Listener:
    """Keeps what it is told; ``trouble`` is raised, or waited for, when a call has that name."""

    place, known = "a list", True
    made: ClassVar[list[Listener]] = []
    trouble: ClassVar[dict[str, Exception | threading.Event]] = {}

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked
        self.points: list[Point] = []
        self.answers: list[Answer] = []
        self.ending: Ending | None = None
        self._trouble("init")
        self.made.append(self)

    def curves(self, points: Sequence[Point]) -> None:
        self._trouble("curves")
        self.points += points

    def answer(self, answer: Answer) -> None:
        self._trouble("answer")
        self.answers.append(answer)

    def close(self, ending: Ending) -> None:
        self._trouble("close")
        self.ending = ending

    def _trouble(self, call: str) -> None:
        trouble = self.trouble.get(call)
        if isinstance(trouble, Exception):
            raise trouble
        if trouble is not None:
            trouble.wait()

    def curve(self, series: str, name: str) -> list[tuple[int, float]]:
        return [
            (point.step, point.values[name])
            for point in self.points
            if point.series == series and name in point.values
        ]


@pytest.fixture(autouse=True)
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Listener]]:
    monkeypatch.setattr(TRACKERS, "entries", dict(TRACKERS.entries))
    TRACKERS.register("listener")(Listener)
    Listener.made, Listener.trouble = [], {}
    yield Listener
    for trouble in Listener.trouble.values():
        if isinstance(trouble, threading.Event):
            trouble.set()


def small(bags: Path, **changes: Any) -> Study:
    return tiny_study.study(
        bags,
        only=["simclr"],
        classify={"protocols": ["linear"]},
        explain={"images": 0},
        engine={"track": ["listener"], **changes},
    )


def test_a_study_tells_all_there_is_once(
    bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    tell = tiny_study.Spoken()
    outcome = run_study(small(bags), tmp_path / "run", tell)
    (heard,) = listener.made
    assert "--track listener: a list" in tell.lines
    assert heard.ending == "finished"
    assert heard.tracked.title == "run"
    assert heard.tracked.settings["pretrain.epochs"] == 2
    assert json.loads(str(heard.tracked.settings["seeds"])) == [0]

    (row,) = outcome.results.pretraining
    for name in ("loss", "knn", "rankme"):
        known = [(m.step, getattr(m, name)) for m in row.history if getattr(m, name) is not None]
        assert heard.curve("pretrain/simclr-seed0", name) == known
        assert known
    assert any(point.kind == "classify" for point in heard.points)

    (answer,) = heard.answers
    scores = {(s.arm, s.seed, s.fraction): s.metrics for s in answer.scores}
    assert len(scores) == len(answer.scores)
    for arm in outcome.results.arms:
        assert arm.metrics is not None
        found = scores[str(arm.arm), arm.seed, arm.label_fraction]
        assert found["balanced_accuracy"] == arm.metrics.balanced_accuracy
    assert {(f.arm, f.sentence) for f in answer.findings} == {
        (str(row.arm_a), row.sentence) for row in outcome.results.comparisons
    }
    assert [path.name for path in answer.files] == ["report.html", "results.json"]
    assert all(path.is_file() for path in answer.files)

    run_study(small(bags), tmp_path / "run")  # everything is there already
    again = listener.made[1]
    assert again.tracked.id == heard.tracked.id
    assert not again.points
    assert len(again.answers) == 1

    other = small(bags).model_copy(update={"label_fractions": (0.5, 1.0)})
    run_study(other, tmp_path / "run")
    third = listener.made[2]
    assert third.tracked.id != heard.tracked.id
    assert third.curve("pretrain/simclr-seed0", "loss") == heard.curve(
        "pretrain/simclr-seed0", "loss"
    )


@pytest.mark.slow
def test_another_executor_tells_the_same(
    bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    for name, executor in (("here", "serial"), ("there", "processes")):
        run_study(small(bags, executor=executor, workers=1), tmp_path / name)
    here, there = listener.made
    assert sorted(there.points, key=str) == sorted(here.points, key=str)


@pytest.mark.parametrize("call", ["curves", "answer", "close"])
def test_a_tracker_that_fails_costs_a_line(
    call: str, bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    listener.trouble[call] = ConnectionError("the server\nis gone")
    tell = tiny_study.Spoken()
    with tracking(small(bags), tmp_path, tell) as told:
        told.curve("pretrain/simclr-seed0", 1, {"loss": 1.0})
        told.senders[0].tell(Answer("", (), (), ()))
    lines = [line for line in tell.lines if "is gone" in line]
    assert lines == [
        "--track listener: ConnectionError: the server is gone; nothing more is sent, the study "
        "goes on; run the same command again to send the rest"
    ]


def test_the_study_ends_as_without_a_tracker_that_fails(
    bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    listener.trouble["curves"] = OSError("no route to host")
    tell = tiny_study.Spoken()
    lost = run_study(small(bags), tmp_path / "lost", tell)
    assert sum("no route to host" in line for line in tell.lines) == 1
    alone = run_study(small(bags, track=[]), tmp_path / "alone")
    assert [arm.metrics for arm in lost.results.arms] == [a.metrics for a in alone.results.arms]
    assert not (tmp_path / "alone" / "tensorboard").exists()
    listener.trouble = {}
    run_study(small(bags), tmp_path / "lost")
    assert listener.made[-1].curve("pretrain/simclr-seed0", "loss")


def test_a_tracker_that_hangs_is_not_waited_for(
    bags: Path, tmp_path: Path, listener: type[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.trouble["curves"] = threading.Event()
    monkeypatch.setitem(sender.PATIENCE, "finished", 0.01)
    tell = tiny_study.Spoken()
    with tracking(small(bags), tmp_path, tell) as told:
        for step in range(3):
            told.curve("pretrain/simclr-seed0", step, {"loss": 1.0})
    assert tell.lines[-1] == (
        "--track listener: not all was sent within 0.01 s; run the same command again to send the "
        "rest"
    )


@pytest.mark.parametrize(
    ("error", "ending"),
    [(Interrupted(15), "stopped"), (KeyboardInterrupt(), "stopped"), (OSError(), "failed")],
)
def test_it_hears_how_a_study_ended(
    error: BaseException, ending: str, bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    with pytest.raises(type(error)), tracking(small(bags), tmp_path, tiny_study.Spoken()):
        raise error
    assert listener.made[0].ending == ending


def test_a_tracker_that_cannot_begin_is_one_line(
    bags: Path, tmp_path: Path, listener: type[Listener]
) -> None:
    listener.trouble["init"] = RuntimeError("bad\nkey")
    with pytest.raises(StudyError, match=r"^--track listener: RuntimeError: bad key$"):
        run_study(small(bags), tmp_path / "run")
    assert not list((tmp_path / "run").glob("pretrain/*"))
    with pytest.raises(StudyError, match="did you mean 'mlflow'"):
        run_study(small(bags, track=["mlflo"]), tmp_path / "run")


@pytest.mark.parametrize(("name", "library"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_library_is_one_line(
    name: str, library: str, bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    importlib.import_module(f"headstart.trackers.{name}")  # ours does without it
    with pytest.raises(StudyError, match=r"not installed; pip install 'headstart\[track\]'"):
        run_study(small(bags, track=[name]), tmp_path / "run")


def test_what_is_no_number_is_not_told(tmp_path: Path, listener: type[Listener]) -> None:
    tell = tiny_study.Spoken()
    with tracking(tiny_study.study(engine={"track": ["listener"]}), tmp_path, tell) as told:
        told.curve("pretrain/x", 1, {"loss": float("nan"), "knn": None, "rankme": 2.0})
    assert listener.made[0].points == [Point("pretrain/x", 1, {"rankme": 2.0})]
    assert isinstance(told, Tracking)
    assert tell.curves


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"id": 1, "settings": "a", "steps": 3}'])
def test_a_damaged_ledger_sends_all_again(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tracked" / "x.json"
    ledger = Ledger(path, "a")
    assert len(ledger.new([Point("p", 1, {}), Point("p", 1, {}), Point("p", 2, {})])) == 2
    ledger.write(now=True)
    assert Ledger(path, "a").id == ledger.id
    assert not Ledger(path, "a").new([Point("p", 2, {})])
    assert Ledger(path, "b").new([Point("p", 2, {})])
    path.write_text(content, encoding="utf8")
    assert Ledger(path, "a").new([Point("p", 2, {})])


def test_the_default_is_tensorboard_and_none_is_nobody() -> None:
    assert Study().engine.track == ("tensorboard",)
    for nobody in ("none", [], None):
        assert tiny_study.study(engine={"track": nobody}).engine.track == ()
    named = tiny_study.study(engine={"track": "mlflow, wandb"})
    assert named.engine.track == ("mlflow", "wandb")


def test_every_tracker_keeps_the_contract() -> None:
    for name, made in TRACKERS.items():
        for need in ("curves", "answer", "close"):
            assert callable(getattr(made, need)), name
        assert (made.__doc__ or "").strip(), name


def test_telling_never_waits(tmp_path: Path, listener: type[Listener]) -> None:
    """All is told while the tracker hangs (or this would hang too), and passed on later."""
    hangs = listener.trouble["curves"] = threading.Event()
    study = tiny_study.study(engine={"track": ["listener"]})
    with tracking(study, tmp_path, tiny_study.Spoken()) as told:
        for step in range(1000):
            told.curve("pretrain/x", step, {"loss": 1.0})
        assert not listener.made[0].points
        hangs.set()
    assert len(listener.made[0].points) == 1000
