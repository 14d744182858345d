"""Classifiers: the same labels and trials for every arm, and heads that are what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import tiny_study
from headstart.arms import Arm
from headstart.data.batches import Order
from headstart.data.splits import label_budget
from headstart.engine import Reading
from headstart.methods.supervised import Supervised
from headstart.nn.linear import choose, fit_heads
from headstart.runtime import heads
from headstart.runtime import run as runtime
from headstart.runtime.heads import knn
from headstart.runtime.networks import load_network, outputs
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify import classify
from headstart.stages.classify.job import FinetuneJob
from headstart.stages.classify.trials import (
    Answers,
    Setting,
    Trial,
    ValidationWatch,
    validation_images,
)
from headstart.stages.extract import extract
from headstart.stages.pretrain import start
from headstart.store import Entry
from headstart.types import Features

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Dataset, Entry, Entry]:
    """A run on made images: the run, its data, an encoder and its features."""
    asked = tiny_study.study(
        encoder={"image_size": 16}, classify={"finetune": {"lrs": [0.01, 0.1, 0.3], "epochs": 3}}
    )
    run = tiny_study.open_run(asked, tmp_path_factory.mktemp("classify"))
    data = tiny_study.made_data(run, pool=8, train=12)
    encoder = start(run, 0, "random")
    return run, data, encoder, extract(run, data, encoder, "random")


Made = tuple[Run, Dataset, Entry, Entry]


def cells(protocol: str, *fractions: float, method: str = "simclr", seed: int = 0) -> list[Cell]:
    return [Cell(Arm(method, protocol), seed, fraction) for fraction in fractions]


def done(made: Made, *asked: Cell) -> dict[Cell, Entry]:
    run, data, encoder, features = made
    return classify(run, data, list(asked), encoder, features)


# --- linear --------------------------------------------------------------------------------------


def test_the_linear_head_as_a_network_equals_the_head_on_features(made: Made) -> None:
    """Standardisation folded in, from pixels to logits, against the head as it was fitted."""
    run, data, encoder, extracted = made
    (cell,) = cells("linear", 1.0)
    entry = done(made, cell)[cell]
    network = load_network(run, data, cell, entry, encoder)
    features = Features.load(extracted.folder)
    x, y = torch.from_numpy(features.x), torch.from_numpy(features.y)
    budget = label_budget(data.index, 1.0, 0)
    place = {identity: i for i, identity in enumerate(features.ids.tolist())}
    rows = [place[i] for i in data.index.ids[budget.train].tolist()]
    held_out = [place[i] for i in data.index.ids[budget.validation].tolist()]
    (path,) = fit_heads(x, y, [rows], 3)
    head = choose(path, x[held_out], y[held_out])
    assert entry.info["chosen"]["strength"] == head.strength
    assert [t["strength"] for t in entry.info["trials"]] == list(path.strengths)
    labelled = data.images(data.index.where("train", "validation", "test"))
    expected = ((x - head.mean) / head.scale @ head.weight.T + head.bias).float()
    torch.testing.assert_close(outputs(network, labelled), expected, rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())


def test_all_fractions_are_fitted_in_one_solve(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(x: Tensor, y: Tensor, subsets: list[Any], *rest: Any) -> Any:
        calls.append(len(subsets))
        return fit_heads(x, y, subsets, *rest)

    monkeypatch.setattr(heads, "fit_heads", counted)
    asked = cells("linear", 0.25, 0.5, 0.75, seed=7)
    entries = done(made, *asked)
    assert calls == [3]
    assert [entries[cell].info["labels"] for cell in asked] == [12, 21, 33]
    done(made, *asked)
    assert calls == [3]  # found again


def test_features_are_those_of_a_frozen_encoder_in_evaluation_mode(made: Made) -> None:
    _, data, encoder, extracted = made
    before = load_file(encoder.folder / "encoder.safetensors")
    features = Features.load(extracted.folder)
    positions = data.index.where("train", "validation", "test")
    assert features.ids.tolist() == data.index.ids[positions].tolist()
    assert np.array_equal(features.y, data.index.labels[positions])
    assert "pool" not in set(data.index.splits[positions])
    after = load_file(encoder.folder / "encoder.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)


# --- labels --------------------------------------------------------------------------------------


def test_budgets_are_nested_and_the_same_for_every_arm(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, int, tuple[int, ...]]] = []

    def watched(index: Any, fraction: float, seed: int, draw: int) -> Any:
        budget = label_budget(index, fraction, seed, draw)
        asked.append((fraction, seed, tuple(budget.train.tolist())))
        return budget

    monkeypatch.setattr(runtime, "label_budget", watched)
    for method in ("moco", "simclr"):
        for protocol in ("linear", "knn"):
            done(made, *cells(protocol, 0.3, 0.6, method=method, seed=11))
    done(made, *cells("supervised", 0.3, 0.6, method="supervised", seed=11))
    by_fraction = {f: {rows for g, _, rows in asked if g == f} for f in (0.3, 0.6)}
    assert len(asked) >= 6
    assert all(len(rows) == 1 for rows in by_fraction.values())
    (small,), (large,) = by_fraction[0.3], by_fraction[0.6]
    assert set(small) < set(large)


# --- k-NN ----------------------------------------------------------------------------------------


def test_knn_equals_a_slow_reference(made: Made) -> None:
    run, data, _, extracted = made
    features = Features.load(extracted.folder)
    budget, test = label_budget(data.index, 0.5, 0), data.index.where("test")
    got = knn(run, features, budget, data, data.index.ids[test])
    known, asked = (features.take(data.index.ids[rows]) for rows in (budget.train, test))
    for i, query in enumerate(asked.x.astype(np.float64)):
        cosines = [
            float(query @ row / np.linalg.norm(query) / np.linalg.norm(row))
            for row in known.x.astype(np.float64)
        ]
        votes = np.zeros(3)
        for j in np.argsort(cosines)[::-1][: run.study.classify.knn_k]:
            votes[known.y[j]] += np.exp(cosines[j] / run.study.classify.knn_temperature)
        expected = np.log(np.maximum(votes / votes.sum(), 1e-6))
        np.testing.assert_allclose(got[i], expected, atol=2e-3)


# --- fine-tuning ---------------------------------------------------------------------------------


def test_every_arm_gets_the_same_trials_and_the_stored_weights_are_those_scored(
    made: Made,
) -> None:
    run, data, encoder, _ = made
    asked = [
        *cells("finetune", 1.0, method="simclr"),
        *cells("finetune", 1.0, method="byol"),
        *cells("supervised", 1.0, method="supervised"),
    ]
    entries = done(made, *asked)
    tried = []
    for cell in asked:
        info = entries[cell].info
        tried.append([(t["lr"], t["weight_decay"], t["epochs"]) for t in info["trials"]])
        kept = info["chosen"]["validation"]
        search = {"lr_at_edge", "converged"}
        assert {k: v for k, v in info["chosen"].items() if k not in search} in info["trials"]
        rates = {t["lr"] for t in info["trials"]}
        at_edge = info["chosen"]["lr"] in (min(rates), max(rates))
        assert info["chosen"]["lr_at_edge"] == at_edge
        network = load_network(run, data, cell, entries[cell], encoder)
        budget = label_budget(data.index, 1.0, 0)
        answers = outputs(network, data.images(budget.validation)).argmax(1).numpy()
        truth = data.index.labels[budget.validation]
        recall = np.mean([(answers[truth == c] == c).mean() for c in np.unique(truth)])
        assert recall == pytest.approx(kept)  # the stored weights are those that scored so
        json.dumps(info, allow_nan=False)
    assert tried[0] == tried[1] == tried[2]
    assert [t[:2] for t in tried[0][:3]] == [(0.01, 1e-4), (0.1, 1e-4), (0.3, 1e-4)]
    same = [load_file(entries[cell].folder / "network.safetensors") for cell in asked]
    # One starting point, one label set, one seed: three names for one and the same training.
    assert all(torch.equal(same[0][k], other[k]) for other in same[1:] for k in same[0])


def test_finetuning_begins_at_the_given_encoder_and_moves_it(made: Made) -> None:
    encoder = made[2]
    (cell,) = cells("finetune", 1.0, method="simclr")
    stored = load_file(done(made, cell)[cell].folder / "network.safetensors")
    begin = load_file(encoder.folder / "encoder.safetensors")
    assert {f"encoder.body.{k}" for k in begin} | {"head.weight", "head.bias"} == set(stored)
    assert any(not torch.equal(stored[f"encoder.body.{k}"], v) for k, v in begin.items())


class Scored(ValidationWatch):
    """A watch whose validation scores are given."""

    given: Iterator[float]

    def _answers(self) -> Answers:
        return Answers((next(self.given), 0.0), torch.zeros(0), self.done)


Watched = Callable[..., tuple[Trial, list[str | None]]]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Reads given validation scores as the loop would, and says what became of the trial."""
    run = tiny_study.open_run(tiny_study.study(), tmp_path)
    data = tiny_study.made_data(run, pool=4)
    held = validation_images(data, label_budget(data.index, 1.0, 0))

    def trial(
        scores: Sequence[float], steps: int, epochs: int, class_loss: float = 2.0
    ) -> tuple[Trial, list[str | None]]:
        network = Supervised(tiny_study.small_encoder(), 3)
        read_every = max(1, round(steps / epochs))
        watch = Scored(network, held, read_every, class_loss, lambda step, values: None)
        watch.given = iter(scores)
        reasons: list[str | None] = []
        for step in range(1, steps + 1):
            if step % watch.read_every == 0 or step == steps:
                reasons.append(watch(Reading(step, 1.0, 0.1, 1.0)))
                if reasons[-1]:
                    break
        return watch.trial(Setting(0.1, 0.0), Order(9, 3, 0)), reasons

    return trial


def test_a_trial_whose_best_epoch_is_among_the_last_is_still_improving(watched: Watched) -> None:
    rising, _ = watched([i / 100 for i in range(20)], steps=40, epochs=20)
    assert rising.still_improving
    assert rising.best_epoch == rising.epochs == 20
    early = [0.5] * 17 + [0.6, 0.5, 0.5]  # best at 18 of 20: not in the last tenth
    assert not watched(early, steps=40, epochs=20)[0].still_improving


def test_a_trial_is_never_cut_short_and_says_whether_it_learned(watched: Watched) -> None:
    flat = [0.2, 0.4, *[0.3] * 98]
    trial, reasons = watched(flat, steps=100, epochs=100)
    assert trial.epochs == 100
    assert trial.best_epoch == 2
    assert set(reasons) == {None}
    assert not trial.still_improving
    assert trial.learned  # a loss of 1, where guessing by class shares costs 2
    assert not watched(flat, steps=100, epochs=100, class_loss=1.2)[0].learned


@pytest.mark.parametrize(("epochs", "steps"), [(150, 200), (12, 60), (100, 250), (7, 200)])
def test_repeated_images_do_not_make_a_finished_trial_look_unfinished(
    epochs: int, steps: int, watched: Watched
) -> None:
    """``min_steps`` makes more readings than epochs; the last tenth is that of the readings."""
    readings = -(-steps // max(1, round(steps / epochs)))
    best_at = int(0.85 * readings)
    scores = [i / 1000 for i in range(best_at)] + [0.0] * (readings - best_at)
    trial, _ = watched(scores, steps=steps, epochs=epochs)
    assert trial.epochs == readings
    assert trial.best_epoch == best_at
    assert not trial.still_improving


@pytest.mark.parametrize("lrs", [[1e12], [0.1, 1e12]])
def test_a_trial_that_blows_up_is_survived(lrs: list[float], tmp_path: Path) -> None:
    asked = tiny_study.study(
        encoder={"image_size": 16}, classify={"finetune": {"lrs": lrs, "epochs": 4, "widen": 0}}
    )
    run = tiny_study.open_run(asked, tmp_path)
    data = tiny_study.made_data(run, pool=8, train=12)
    encoder = start(run, 0, "random")
    (cell,) = cells("finetune", 1.0)
    entry = classify(run, data, [cell], encoder, encoder)[cell]
    network = load_network(run, data, cell, entry, encoder)
    assert torch.isfinite(outputs(network, data.images(data.index.where("test")))).all()
    json.dumps(entry.info, allow_nan=False)
    blown = entry.info["trials"][-1]
    assert blown["validation"] is None  # there was no moment at which it could be scored
    assert blown["best_epoch"] == 0
    assert not blown["still_improving"]
    if len(lrs) == 2:
        assert entry.info["status"] == "ok"
        assert entry.info["chosen"]["lr"] == 0.1
    else:
        assert entry.info["status"] == "failed"
        assert entry.info["reason"].startswith("training failed: not a number in every trial, the ")
        assert "classify.finetune.lrs" in entry.info["reason"]


@pytest.mark.parametrize("cut", [3, 6])
def test_trials_that_were_finished_are_not_trained_again_after_a_kill(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the grid, or in a lengthened trial; one that was kept is damaged besides."""
    asked = tiny_study.study(
        encoder={"image_size": 16},
        classify={
            "finetune": {
                "lrs": [0.1, 0.3],
                "weight_decays": [1e-4, 1e-3],
                "epochs": 4,
                "augmentations": ["light", "mixup"],
                "max_lengthening": 4,
                "widen": 1,
            }
        },
    )
    (cell,) = cells("finetune", 1.0)
    real, seen = FinetuneJob.trial, list[Setting]()

    def classified(folder: Path) -> Entry:
        run = tiny_study.open_run(asked, folder)
        data = tiny_study.made_data(run, pool=8, train=12)
        encoder = start(run, 0, "random")
        return classify(run, data, [cell], encoder, encoder)[cell]

    def noted(job: FinetuneJob, setting: Setting) -> Trial:
        seen.append(setting)
        if len(seen) == cut:
            raise KeyboardInterrupt
        return real(job, setting)

    wanted = classified(tmp_path / "whole")
    monkeypatch.setattr(FinetuneJob, "trial", noted)
    with pytest.raises(KeyboardInterrupt):
        classified(tmp_path / "cut")
    kept = {path.name: path for path in (tmp_path / "cut").rglob("checkpoint-trial-*.pt")}
    assert set(kept) == {f"checkpoint-trial-{setting.name}.pt" for setting in seen[: cut - 1]}
    damaged = kept[f"checkpoint-trial-{seen[1].name}.pt"]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    got = classified(tmp_path / "cut")
    assert seen[cut:][:2] == [seen[1], seen[cut - 1]]  # the damaged one, and the one cut short
    assert got.content == wanted.content
    assert not list((tmp_path / "cut").rglob("checkpoint*"))
    tried = [(t["augmentation"], t["length"]) for t in got.info["trials"]]
    assert ("light", 2) in tried
    assert "mixup" in dict(tried)
    assert len(seen[cut:]) == len(tried) - cut + 2


def test_the_supervised_head_starts_at_zero() -> None:
    """No arm has luck with its head: logits are 0 whatever the random state."""
    torch.manual_seed(3)
    network = Supervised(tiny_study.small_encoder(), 5)
    assert not network(torch.rand(2, 3, 16, 16)).any()
    assert isinstance(network.head, nn.Linear)


def test_majority_and_knn_are_no_networks(made: Made) -> None:
    run, data, encoder, _ = made
    for cell in (*cells("majority", 1.0, method="majority"), *cells("knn", 1.0)):
        with pytest.raises(KeyError, match="is not a network"):
            load_network(run, data, cell, done(made, cell)[cell], encoder)
