"""Weights & Biases: its server, or with WANDB_MODE=offline files that `wandb sync` sends later."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from headstart.config import StudyError
from headstart.trackers.base import Answer, Ending, Point, Tracked
from headstart.trackers.servers import require_answer

QUIET: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "host": "headstart",  # in place of the name of the machine
    "finish_timeout": 60,  # at the end of the process too, where a lost server would hold it
    "finish_timeout_raises": True,
    "init_timeout": 30,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""Nothing is sent but what is told here: no output, code, commit, machine or list of packages; and
a server that is gone is not waited for for ever."""
_CODES = {"finished": 0, "stopped": 130, "failed": 1}


class WeightsAndBiases:
    """One W&B run a study, in the project that WANDB_PROJECT names, else ``headstart``."""

    known = True  # files of an earlier start may have been sent since, and cannot be asked

    def __init__(self, tracked: Tracked) -> None:
        library = _library()
        project = os.environ.get("WANDB_PROJECT", "headstart")
        known = library.setup().settings
        if known.mode == "online":
            require_answer("wandb", known.base_url)
        self.library = library
        self.run = library.init(
            project=project,
            id=tracked.id,
            resume="allow",
            name=tracked.title,
            config=dict(tracked.settings),
            settings=library.Settings(**QUIET),
        )
        at = self.run.settings.sync_dir if known.mode == "offline" else known.base_url
        self.place = f"run '{tracked.title}' of the project '{project}' at {at}"
        self._series: set[str] = set()

    def curves(self, points: Sequence[Point]) -> None:
        """Each training over its own steps; trials of classifiers are too many."""
        for point in points:
            if point.kind != "pretrain":
                continue
            series = point.series
            if series not in self._series:
                self._series.add(series)
                self.run.define_metric(f"{series}/step")
                self.run.define_metric(f"{series}/*", step_metric=f"{series}/step")
            values = {f"{series}/{name}": value for name, value in point.values.items()}
            self.run.log({f"{series}/step": point.step, **values})

    def answer(self, answer: Answer) -> None:
        """Scores and verdicts in the summary and as tables, the files as an artifact."""
        summary: dict[str, Any] = {"headline": answer.headline}
        for score in answer.scores:
            summary |= {f"test/{score.name}/{k}": value for k, value in score.metrics.items()}
        summary |= {f"verdict/{found.name}": found.sentence for found in answer.findings}
        self.run.summary.update(summary)
        rows = [asdict(found) for found in answer.findings]
        if rows:
            cells = [list(row.values()) for row in rows]
            self.run.log({"verdicts": self.library.Table(columns=list(rows[0]), data=cells)})
        artifact = self.library.Artifact(f"report-{self.run.id}", type="report")
        for path in answer.files:
            artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def close(self, ending: Ending) -> None:
        """End the run."""
        self.run.finish(exit_code=_CODES[ending])


def _library() -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ImportError:
        raise StudyError(
            "--track wandb: W&B is not installed; pip install 'headstart[track]'"
        ) from None
    return wandb
