"""End-to-end training on labels: the supervised arms, and every fine-tuned one in the same way."""

from __future__ import annotations

from typing import Any

from headstart.methods.supervised import Supervised
from headstart.nn.checkpoint import DamagedError
from headstart.nn.encoder import weights_hash
from headstart.runtime.memory import fitting
from headstart.runtime.networks import load_encoder, save_weights
from headstart.stages.classify.job import FinetuneJob
from headstart.stages.classify.search import Search, SearchResult, base_grid
from headstart.stages.classify.trials import Setting, Trial
from headstart.store import Entry


def finetune(job: FinetuneJob, entry: Entry) -> dict[str, Any]:
    """Every arm goes through the same search; the best on validation is kept.

    Writes the network into ``entry`` and returns its info, which holds ``status``: "failed" where
    no trial could be scored.
    """
    run = job.run
    search = Search(run.study.classify.finetune, _Attempts(job, entry)).run()
    run.tell.progress(f"classify {job.cell.label}", len(search.trials), len(search.trials))
    begin = load_encoder(run, job.begin, job.data)
    start = weights_hash(begin)
    network = Supervised(begin, len(job.data.index.classes))
    network.load_state_dict(search.best.weights)
    save_weights(network, entry, "network")
    return {**_outcome(job, search.best), **_record(job, search), "start": start}


def _record(job: FinetuneJob, search: SearchResult) -> dict[str, Any]:
    """What is kept of the search; costs are those of all trials."""
    settings = job.run.study.classify.finetune
    return {
        "labels": job.budget.labels,
        "chosen": {
            **search.best.summary(),
            "lr_at_edge": search.lr_at_edge,
            "converged": search.converged,
        },
        "procedure": settings.model_dump(mode="json"),
        "base_trials": len(base_grid(settings)),
        "trials": [trial.summary() for trial in search.trials],
        "train_images": sum(trial.images for trial in search.trials),
        "train_steps": sum(trial.steps for trial in search.trials),
    }


def forget_trials(entry: Entry) -> None:
    """Only once the artifact is whole: until then they are all there is."""
    for path in entry.folder.glob("checkpoint-trial-*.pt"):
        path.unlink()


class _Attempts:
    """Trains settings, each once: finished trials are kept until the artifact is whole."""

    def __init__(self, job: FinetuneJob, entry: Entry) -> None:
        self.job, self.folder = job, entry.folder
        settings = job.run.study.classify.finetune
        self.planned = len(base_grid(settings)) + len(settings.augmentations) - 1
        self.done = 0

    def __call__(self, setting: Setting) -> Trial:
        """One trial; one that was stopped halfway is begun again."""
        tell = self.job.run.tell
        total = max(self.planned, self.done + 1)
        tell.progress(f"classify {self.job.cell.label}", self.done, total)
        self.done += 1
        path = self.folder / f"checkpoint-trial-{setting.name}.pt"
        if path.exists():
            try:
                return Trial.load(path)
            except DamagedError:
                tell.line(f"{self.job.cell.label}: {path.name} is damaged; training it again")
        trial = self._trained(setting)
        trial.save(path)
        return trial

    def _trained(self, setting: Setting) -> Trial:
        job, done = self.job, list[Trial]()
        name = f"{job.cell.label}, learning rate {setting.lr:g}"
        fitting(
            lambda: done.append(job.trial(setting)),
            lambda size: job.with_batch(size).training(setting)[1],
            (name, "--set classify.finetune.batch_size=", job.order.batch_size),
            job.run.engine,
        )
        return done[0]


def _outcome(job: FinetuneJob, best: Trial) -> dict[str, str | None]:
    """``status`` and ``reason``: failed where not even the best trial was ever scored."""
    if best.best_epoch:
        return {"status": "ok", "reason": None}
    reason = (
        f"training failed: not a number in every trial, the {best.broken}. Likely cause: learning "
        "rates too large for it; try smaller ones in classify.finetune.lrs. Its network is kept as "
        "it began."
    )
    job.run.tell.line(f"{job.cell.label}: {reason}")
    return {"status": "failed", "reason": reason}
