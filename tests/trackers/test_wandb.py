"""What W&B keeps offline is what it was told, and nothing of the machine."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import told

import tiny_study
from headstart.config import StudyError
from headstart.pipeline import run_study
from headstart.trackers.wandb import WeightsAndBiases

wandb = pytest.importorskip("wandb")

BLOCK, HEAD = 32768, 7  # of the file: LevelDB's log format, after a head of its own


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WANDB_PROJECT", "WANDB_ERROR_REPORTING", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    wandb.teardown()
    yield
    wandb.teardown()


def records(path: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file, read without the library's own reader."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    place, whole = HEAD, b""
    while place < len(content):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + HEAD])
        whole += content[place + HEAD : place + HEAD + size]
        place += HEAD + size
        if kind in (1, 4):  # a record as a whole, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def items(some: Any) -> dict[str, Any]:
    """Keys, which may be nested, with their values."""
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in some}


def test_wandb_keeps_what_it_was_told_and_nothing_of_the_machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = told.begun(WeightsAndBiases, tmp_path)
    assert tracker.known
    assert tracker.place.startswith(f"run 'bags' of the project 'headstart' at {tmp_path}/wandb/")
    tracker.curves(told.points(1, 2))
    tracker.answer(told.answer(tmp_path))
    tracker.close("finished")
    assert not capfd.readouterr().out
    wandb.teardown()  # as the end of a process does: its service writes the rest

    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    kept = list(records(file))
    begun = next(record.run for record in kept if record.HasField("run"))
    assert (begun.run_id, begun.project, begun.display_name) == ("abc123", "headstart", "bags")
    assert items(begun.config.update)["pretrain.epochs"] == 2
    logged = [items(record.history.item) for record in kept if record.HasField("history")]
    curve = [
        (row[f"{told.SERIES}/step"], row[f"{told.SERIES}/loss"])
        for row in logged
        if f"{told.SERIES}/loss" in row
    ]
    assert curve == [(1, 1.0), (2, 0.5)]
    metrics = {record.metric.glob_name or record.metric.name for record in kept}
    assert f"{told.SERIES}/*" in metrics
    summary: dict[str, Any] = {}
    for record in kept:
        summary |= items(record.summary.update)
    assert summary["test/simclr/linear/labels0.5-draw1/seed3/kappa"] == -0.25
    assert summary["verdict/simclr/linear/labels0.5"] == "It is better."
    assert summary["headline"] == "SimCLR helps."
    artifacts = [record.artifact for record in kept if record.HasField("artifact")]
    files = {c.path for artifact in artifacts for c in artifact.manifest.contents}
    assert "report.html" in files
    (table,) = tmp_path.rglob("verdicts_*.table.json")
    assert "It is better." in table.read_text(encoding="utf8")

    assert begun.host == "headstart"
    assert not begun.HasField("git")
    rest = b"".join(r.SerializeToString() for r in kept if not r.HasField("artifact"))
    for private in (str(Path.cwd()), os.path.expanduser("~/")):  # an artifact's are for its upload
        assert private.encode() not in rest
    assert not [r for r in kept if r.HasField("stats") or r.HasField("output_raw")]
    assert not list(tmp_path.rglob("requirements.txt"))
    assert not list(tmp_path.rglob("wandb-metadata.json"))
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_a_server_that_is_not_there_is_refused(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    study = tiny_study.study(bags, engine={"track": ["wandb"]})
    with pytest.raises(StudyError, match=r"--track wandb: http.* does not answer .*refused"):
        run_study(study, tmp_path / "run")
    assert not list((tmp_path / "run").glob("pretrain/*"))
