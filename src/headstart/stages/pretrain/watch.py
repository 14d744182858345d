"""What is looked at while a method pretrains: the loss, the projections, k-NN, and their health."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite, nan
from typing import Any

import numpy as np
import torch

from headstart.data.splits import stratified_sample
from headstart.engine import Reading
from headstart.methods.base import Method
from headstart.nn.neighbours import knn_accuracy
from headstart.runtime.curves import tell_moments
from headstart.runtime.networks import outputs
from headstart.stages.pretrain.job import Job
from headstart.stats.collapse import Check, CollapseWatch, Health
from headstart.stats.representation import spread

PROBE = 512  # images whose projections are watched, and labelled ones that k-NN is asked about


class NoWatch:
    """For the ranks that train along: rank zero watches, and tells them where to stop."""

    def __init__(self, job: Job) -> None:
        self.read_every = job.read_every

    def __call__(self, reading: Reading) -> str | None:
        """Judge nothing."""

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take back."""


class PretrainWatch:
    """Reads the loss, measures how the projections spread, asks k-NN, and judges the health.

    Labels never reach the method: k-NN is asked on labelled training images, for people and for
    the verdict on collapse.
    """

    def __init__(self, job: Job, network: Method) -> None:
        self.job, self.network = job, network
        pretrain, per_epoch = job.run.study.pretrain, job.order.steps_per_epoch
        self.check_every, self.read_every = job.check_every, job.read_every
        self.next_check = self.check_every
        # A fresh projector may look collapsed: two epochs or the warm-up go unjudged, but never
        # more than a quarter of a short run.
        warmup = max(2.0, min(job.recipe.optim.warmup_epochs, pretrain.epochs / 10))
        self.collapse = CollapseWatch(
            warmup_steps=round(min(warmup * per_epoch, job.steps / 4)), total_steps=job.steps
        )
        self._choose_images()
        self.knn_random = self._knn()
        self.history: list[dict[str, float | None]] = []
        self.warnings: list[str] = []
        self.status = "ok"
        self._keep_healthy(0)

    def _choose_images(self) -> None:
        job, index = self.job, self.job.data.index
        probe = np.sort(np.random.default_rng(0).permutation(job.pool)[:PROBE])
        train = index.where("train")
        labelled = train[stratified_sample(index.labels[train], PROBE, seed=0)]
        self.probe, self.labelled = job.data.images(probe), job.data.images(labelled)
        self.labels = torch.from_numpy(index.labels[labelled])
        self.classes = len(index.classes)

    def _keep_healthy(self, step: int) -> None:
        """The encoder as it is now: what is left of a training that fails later."""
        state = self.network.encoder.state_dict()
        self.healthy_step = step
        self.healthy = {name: tensor.cpu().clone() for name, tensor in state.items()}

    @property
    def steps(self) -> int:
        """Steps done at the last reading."""
        return int(self.history[-1]["step"] or 0) if self.history else 0

    def __call__(self, reading: Reading) -> str | None:
        """Judge a reading; every ``check_every`` steps and at the end, measure more for it."""
        broken = not (isfinite(reading.loss) and isfinite(reading.gradient_norm))
        due = reading.step >= self.next_check or reading.step == self.job.steps
        due = due or broken or reading.gradient_norm == 0
        check = self._check(reading, measure=due and not broken)
        self._record(reading, check)
        if not due:
            return None
        self.next_check = reading.step + self.check_every
        self.collapse, health = self.collapse.update(check)
        if health.verdict == "healthy" and not health.doubtful:
            self._keep_healthy(reading.step)
        return self._act(health)

    def _act(self, health: Health) -> str | None:
        """Stop for what is beyond hope, remember a warning; a run that recovered has none."""
        if health.verdict == "healthy":
            self._recover()
            return None
        line = f"{health.verdict}: {health.reason}. {health.advice}"
        run, name = self.job.run, f"{self.job.method} (seed {self.job.seed})"
        broken = health.verdict == "not a number"  # nothing can come of it, whatever is asked for
        if broken or (health.stop and run.study.pretrain.on_collapse == "stop"):
            self.status = "collapsed" if health.verdict == "collapsed" else "failed"
            run.tell.line(f"{name} stopped: {line}")
            return line
        if not any(w.startswith(health.verdict) for w in self.warnings):
            run.tell.line(f"{name}: {line}")
        self.warnings = [w for w in self.warnings if not w.startswith(health.verdict)] + [line]
        return None

    def _recover(self) -> None:
        """Take back what no longer holds."""
        if self.warnings:
            names = " and ".join(w.split(":")[0] for w in self.warnings)
            self.job.run.tell.line(
                f"{self.job.method} (seed {self.job.seed}): {names} no longer; the warning is "
                "taken back"
            )
        self.warnings = []

    def _check(self, reading: Reading, *, measure: bool) -> Check:
        measures: dict[str, Any] = {"std_ratio": nan, "mean_cosine": nan, "rankme": nan}
        measures |= {"effective_rank": nan, "dimension": 1, "knn": None}
        if measure:
            z = outputs(self.network, self.probe, self.network.embed).numpy()
            measured = asdict(spread(z))
            measures = {k: measured[k] for k in measures if k in measured}
            measures |= {"dimension": z.shape[1], "knn": self._knn()}
        return Check(
            step=reading.step,
            loss=reading.loss,
            probe_size=len(self.probe),
            classes=self.classes,
            grad_norm=reading.gradient_norm,
            loss_floor=self.network.loss_floor(self.job.batch_size),
            knn_random=self.knn_random,
            **measures,
        )

    def _knn(self) -> float:
        """Leave-one-out balanced accuracy of k-NN on labelled training images."""
        features = outputs(self.network.encoder, self.labelled)
        return knn_accuracy(features, self.labels, self.classes)

    def _record(self, reading: Reading, check: Check) -> None:
        """Keep the reading for the report, the logs and the terminal; null where not measured."""
        job = self.job
        values = {
            "loss": reading.loss,
            "lr": reading.lr,
            "gradient_norm": reading.gradient_norm,
            "std_ratio": check.std_ratio,
            "mean_cosine": check.mean_cosine,
            "rankme": check.rankme,
            "effective_rank": check.effective_rank,
            "knn": check.knn,
        }
        finite = {k: v if v is not None and isfinite(v) else None for k, v in values.items()}
        epoch = reading.step / job.order.steps_per_epoch
        self.history.append({"step": reading.step, "epoch": epoch, **finite})
        tell_moments(job.run.tell, job.method, job.seed, self.history[-1:])
        job.run.tell.progress(f"{job.method} (seed {job.seed})", reading.step, job.steps)

    @property
    def probe_facts(self) -> dict[str, int]:
        """What a rank may be measured against: see ``results.Probe``."""
        images = len(self.probe)
        z = outputs(self.network, self.probe, self.network.embed)
        return {"images": images, "dimension": z.shape[1], "classes": self.classes}

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs to go on judging where it stood."""
        return {
            "history": self.history,
            "warnings": self.warnings,
            "next_check": self.next_check,
            "collapse": {k: v for k, v in asdict(self.collapse).items() if k != "thresholds"},
            "knn_random": self.knn_random,
            "healthy": self.healthy,
            "healthy_step": self.healthy_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where ``state`` left off."""
        self.history, self.warnings = state["history"], state["warnings"]
        self.next_check, self.knn_random = state["next_check"], state["knn_random"]
        self.collapse = CollapseWatch(**state["collapse"])
        self.healthy, self.healthy_step = state["healthy"], state["healthy_step"]
        tell_moments(self.job.run.tell, self.job.method, self.job.seed, self.history)
