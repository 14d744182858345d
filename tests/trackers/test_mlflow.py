"""What MLflow was told is what it gives back: from a file here, from a server in the slow trial."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import told

import tiny_study
from headstart.config import StudyError
from headstart.pipeline import run_study
from headstart.trackers.mlflow import ENVIRONMENT, ID, MLflow, name_of

mlflow = pytest.importorskip("mlflow")

# Of MLflow's own tables, with a newer SQLAlchemy than it was written for.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENVIRONMENT, "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


RUN = "headstart run study.yaml --seeds 0 --out run --json --track mlflow"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def only_run(uri: str, experiment: str = "headstart") -> Any:
    client = mlflow.MlflowClient(uri)
    known = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([known.experiment_id])
    return run


def history(uri: str, run: Any, name: str) -> list[tuple[int, float]]:
    found = mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def test_mlflow_gives_back_what_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)  # where MLflow keeps artifacts of such a file
    first = told.begun(MLflow, tmp_path)
    assert not first.known
    assert first.place == f"run 'bags' of the experiment 'headstart' at {uri}"
    first.curves(told.points(1, 2))
    first.close("stopped")
    assert only_run(uri).info.status == "KILLED"

    again = told.begun(MLflow, tmp_path)
    assert again.known
    again.curves(told.points(3))
    again.answer(told.answer(tmp_path))
    again.close("finished")

    run = only_run(uri)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bags")
    assert len(run.data.params) == 153
    assert run.data.params["pretrain.epochs"] == "2"
    series = name_of(told.SERIES)
    assert history(uri, run, f"{series}/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history(uri, run, f"{series}/rankme") == [(1, 7.0), (2, 14.0), (3, 21.0)]
    assert not [name for name in run.data.metrics if "trial" in name]
    assert run.data.metrics["test/simclr/linear/labels0.5-draw1/seed3/kappa"] == -0.25
    assert run.data.metrics["difference/simclr/linear/labels0.5/low"] == 0.05
    assert run.data.tags["verdict/simclr/linear/labels0.5"] == "It is better."
    assert run.data.tags["mlflow.note.content"] == "SimCLR helps."
    assert run.data.tags[ID] == "abc123"
    shown = mlflow.MlflowClient(uri).download_artifacts(run.info.run_id, "report.html")
    assert Path(shown).read_text(encoding="utf8") == "<p>It helps."
    assert not capsys.readouterr().out
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_server_that_is_not_there_is_refused(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    study = tiny_study.study(bags, engine={"track": ["mlflow"]})
    with pytest.raises(StudyError, match=r"--track mlflow: http.* does not answer .*refused"):
        run_study(study, tmp_path / "run")
    assert not list((tmp_path / "run").glob("pretrain/*"))


def test_a_name_holds_what_mlflow_takes() -> None:
    assert name_of("weights@mine/linear: ä=1") == "weights_mine/linear_ __1"


@dataclass
class Server:
    """An MLflow server on loopback."""

    process: subprocess.Popen[bytes]
    uri: str

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home, port = tmp_path / "server", free_port()
    home.mkdir()
    words = f"-m mlflow server --host 127.0.0.1 --port {port} --workers 1"
    stored = ("--backend-store-uri", "sqlite:///s.db", "--artifacts-destination", "artifacts")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words.split(), *stored],
            cwd=home,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )
    made = Server(process, f"http://127.0.0.1:{port}")
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        assert process.poll() is None, (home / "log").read_text()
        yield made
    finally:
        if process.poll() is None:
            made.kill()


class Kills(tiny_study.Spoken):
    """Kills the server at the first reading."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def curve(self, series: str, step: int, values: Any) -> None:
        if not self.curves:
            self.server.kill()
        super().curve(series, step, values)


@pytest.mark.slow
def test_a_study_beside_a_server(
    bags: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command line; then once more, while the server is killed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "bags of mine")
    small = tiny_study.settings(bags) | {"explain": {"images": 0}}
    small["methods"] = {"simclr": {"dim": 32}}
    (tmp_path / "study.yaml").write_text(json.dumps(small), encoding="utf8")
    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(RUN)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf8"))
    assert ran.stdout == "run/results.json\n"
    assert f"--track mlflow: run 'run' of the experiment 'bags of mine' at {server.uri}" in (
        " ".join(ran.stderr.split())
    )
    run = only_run(server.uri, "bags of mine")
    assert run.info.status == "FINISHED"
    (trained,) = results["pretraining"]
    for name in ("loss", "knn", "rankme"):
        known = [(m["step"], m[name]) for m in trained["history"] if m[name] is not None]
        assert history(server.uri, run, f"pretrain/simclr-seed0/{name}") == known
    for row in results["arms"]:
        where = f"test/{row['method']}/{row['protocol']}/labels1/seed0/balanced_accuracy"
        assert run.data.metrics[where] == pytest.approx(row["metrics"]["balanced_accuracy"])
    for row in results["comparisons"]:
        assert run.data.tags[f"verdict/{row['arm_a']}/labels1"] == row["sentence"]
    page = mlflow.MlflowClient(server.uri).download_artifacts(
        run.info.run_id, "report.html", str(tmp_path)
    )
    assert Path(page).read_bytes() == (tmp_path / "run" / "report.html").read_bytes()
    assert not list((tmp_path / "run").rglob("*tfevents*"))

    tell = Kills(server)
    study = tiny_study.study(bags, only=["simclr"], explain={"images": 0})
    asked = study.engine.model_copy(update={"track": ("mlflow",)})
    run_study(study.model_copy(update={"engine": asked}), tmp_path / "lost", tell)
    assert sum("the study goes on" in line for line in tell.lines) == 1
    assert (tmp_path / "lost" / "report.html").is_file()
