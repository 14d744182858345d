"""MLflow: the server or folder that MLFLOW_TRACKING_URI names, else MLflow's own default."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from headstart.config import StudyError
from headstart.trackers.base import Answer, Ending, Point, Tracked
from headstart.trackers.servers import require_answer

ID = "headstart.id"
T = TypeVar("T")
BATCH = 100  # parameters or tags in a request
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # else minutes until a lost server is given up
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
}
"""Set where the user has not."""
_ENDINGS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow:
    """One MLflow run a study: settings are parameters, verdicts are tags."""

    def __init__(self, tracked: Tracked) -> None:
        library = _library()
        uri = library.get_tracking_uri()
        if uri.startswith(("http://", "https://")):
            require_answer("mlflow", uri)
        self.client = library.MlflowClient(uri)
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "headstart")
        self.place = f"run '{tracked.title}' of the experiment '{self.experiment}' at {uri}"
        experiment = self._experiment_id()
        earlier = self.client.search_runs([experiment], f"tags.`{ID}` = '{tracked.id}'")
        self.known = bool(earlier)
        if earlier:
            self.run = earlier[0].info.run_id
            self.client.update_run(self.run, "RUNNING")
            return
        tags = {ID: tracked.id}
        made = self.client.create_run(experiment, tags=tags, run_name=tracked.title)
        self.run = made.info.run_id
        entities = library.entities
        params = [entities.Param(name_of(k), str(v)) for k, v in tracked.settings.items()]
        for some in _parts(params):
            self.client.log_batch(self.run, params=some)

    def _experiment_id(self) -> str:
        known = self.client.get_experiment_by_name(self.experiment)
        return str(known.experiment_id if known else self.client.create_experiment(self.experiment))

    def curves(self, points: Sequence[Point]) -> None:
        """Metrics like ``pretrain/simclr-seed0/loss``; trials of classifiers are too many."""
        kept = [point for point in points if point.kind == "pretrain"]
        self._log((point.series, point.step, point.values) for point in kept)

    def answer(self, answer: Answer) -> None:
        """Scores as metrics, verdicts as tags, the headline as the run's description, the files."""
        self._log((f"test/{score.name}", 0, score.metrics) for score in answer.scores)
        self._log((f"difference/{f.name}", 0, _limits(f)) for f in answer.findings)
        tags = {f"verdict/{name_of(f.name)}": f.sentence for f in answer.findings}
        tags["mlflow.note.content"] = answer.headline
        for name, text in tags.items():
            self.client.set_tag(self.run, name, text)
        for path in answer.files:
            self.client.log_artifact(self.run, str(path))

    def close(self, ending: Ending) -> None:
        """Mark the run as ended."""
        self.client.set_terminated(self.run, _ENDINGS[ending])

    def _log(self, rows: Iterable[tuple[str, int, Mapping[str, float]]]) -> None:
        for some in _parts(list(_metrics(rows))):
            self.client.log_batch(self.run, metrics=some)


def _parts(items: Sequence[T]) -> Iterator[list[T]]:
    for begin in range(0, len(items), BATCH):
        yield list(items[begin : begin + BATCH])


def _metrics(rows: Iterable[tuple[str, int, Mapping[str, float]]]) -> Iterator[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for prefix, step, values in rows:
        for name, value in values.items():
            yield Metric(name_of(f"{prefix}/{name}"), value, now, step)


def _limits(finding: Any) -> dict[str, float]:
    """A difference and its 95 % limits, shares, as far as they are known."""
    found = {"value": finding.difference, "low": finding.low, "high": finding.high}
    return {name: value for name, value in found.items() if value is not None}


def name_of(text: str) -> str:
    """A name that MLflow takes: letters, digits, ``_-. /``."""
    return re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII)


def _library() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
        import mlflow.entities
    except ImportError:
        raise StudyError(
            "--track mlflow: MLflow is not installed; pip install 'headstart[track]'"
        ) from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow
