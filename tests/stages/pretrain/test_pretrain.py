"""Pretraining runs to its end at every size, sees a collapse, and never blames the wrong method."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import tiny_study
from headstart.config import StudyError
from headstart.methods import METHODS
from headstart.methods.moco import MoCo
from headstart.methods.simclr import SimCLR
from headstart.methods.simsiam import SimSiam
from headstart.nn.losses import negative_cosine
from headstart.recipes import fit_to_pool, resolve_recipe
from headstart.runtime.run import Dataset, Run
from headstart.stages.pretrain import check_settings, pretrain, start
from headstart.store import Entry

torch.set_num_threads(1)


def tiny_run(folder: Path, *, tell: Any = None, **changes: Any) -> Run:
    """A run on 16-pixel images, whose pool is the unlabelled images alone."""
    asked = {"encoder": {"image_size": 16}, "data": {"train_joins_pool": False}}
    for key, value in changes.items():
        asked[key] = asked.get(key, {}) | value
    return tiny_study.open_run(tiny_study.study(**asked), folder, tell)


def trained(run: Run, data: Dataset, method: str, seed: int = 0) -> Entry:
    return pretrain(run, data, method, seed, start(run, seed, "random"))


def weights(entry: Entry) -> dict[str, Tensor]:
    return load_file(entry.folder / "encoder.safetensors")


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# --- whole epochs at sizes that break things -----------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("pool", "batch", "drop_last", "steps_per_epoch", "images"),
    [
        (82, 8, False, 11, 82),  # N = 10·B + 2: every epoch ends with a batch of two
        (81, 8, False, 10, 80),  # a last batch of one is left out
        (81, 8, True, 10, 80),
        (11, 32, True, 1, 11),  # N < B: one smaller batch
    ],
)
def test_whole_epochs_at_every_size(
    method: str,
    pool: int,
    batch: int,
    drop_last: bool,
    steps_per_epoch: int,
    images: int,
    tmp_path: Path,
) -> None:
    sizes = {"epochs": 2, "batch_size": batch, "drop_last": drop_last}
    run = tiny_run(tmp_path, pretrain=sizes)
    data = tiny_study.made_data(run, pool)
    entry = trained(run, data, method)
    info = entry.info
    assert info["status"] == "ok", info["reason"]
    assert info["reason"] is None
    assert info["steps"] == 2 * steps_per_epoch
    assert info["images_seen"] == 2 * images
    assert info["epochs"] == 2
    assert all(math.isfinite(moment["loss"]) for moment in info["history"])
    assert [moment["epoch"] for moment in info["history"]] == [1.0, 2.0]
    assert all(torch.isfinite(tensor).all() for tensor in weights(entry).values())
    begin = weights(start(run, 0, "random"))
    moved = [not torch.equal(begin[k], tensor) for k, tensor in weights(entry).items()]
    assert all(moved[i] for i, k in enumerate(begin) if k.endswith("conv.weight"))


@pytest.mark.parametrize("symmetric", [True, False])
def test_mocos_queue_wraps_with_ragged_batches(
    symmetric: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N = 10·B + 2 and K = 4·B, past two wraps: each key is written once, and none is lost."""
    run = tiny_run(
        tmp_path,
        methods={"moco": {"queue": 32, "symmetric": symmetric}},
        pretrain={"epochs": 2, "batch_size": 8, "drop_last": False},
    )
    data = tiny_study.made_data(run, pool=82)
    networks: list[MoCo] = []
    written: list[Tensor] = []
    real = MoCo.after_step

    def noted(self: MoCo, step: int) -> None:
        networks.append(self)
        written.append(torch.cat(self._keys).clone())
        real(self, step)

    monkeypatch.setattr(MoCo, "after_step", noted)
    assert trained(run, data, "moco").info["status"] == "ok"
    keys = torch.cat(written)
    assert len(keys) == 2 * 82 * (2 if symmetric else 1)
    assert len(keys) > 2 * 32
    queue = networks[0].queue
    assert int(queue.pointer) == len(keys) % 32
    newest = keys[-32:].roll(int(queue.pointer), dims=0)  # the oldest stands at the pointer
    torch.testing.assert_close(queue.keys, newest)


def test_a_queue_longer_than_half_the_pool_is_cut_and_said(tmp_path: Path) -> None:
    tell = tiny_study.Spoken()
    run = tiny_run(tmp_path, tell=tell, methods={"moco": {"queue": 4096}})
    data = tiny_study.made_data(run, pool=40)
    info = trained(run, data, "moco").info
    line = "queue of 4096 cut to 20, half the pool: a longer one holds false negatives"
    assert line in info["warnings"]
    assert f"moco: {line}" in tell.lines
    assert info["loss_floor"] == pytest.approx(math.log(21))
    recipe = resolve_recipe(run.study, "moco")
    assert fit_to_pool(recipe, 8192) == (recipe, [])
    assert fit_to_pool(recipe, 8191)[0].settings["queue"] == 4095
    simclr = resolve_recipe(run.study, "simclr")
    assert fit_to_pool(simclr, 4) == (simclr, [])


# --- the start, and who sees what --------------------------------------------------------------


def test_every_method_of_a_seed_starts_from_the_same_recorded_weights(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, pretrain={"epochs": 1})
    data = tiny_study.made_data(run, pool=40)
    begin = start(run, 0, "random")
    digest = hashlib.sha256()
    for name, tensor in weights(begin).items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    starts = {method: trained(run, data, method).info["start"] for method in METHODS}
    assert set(starts.values()) == {begin.info["start"]}
    assert start(run, 0, "random").key == begin.key
    other = start(run, 1, "random")
    assert other.info["start"] != begin.info["start"]
    assert not equal(weights(other), weights(begin))


def test_the_recorded_start_is_the_hash_of_the_stored_weights(tmp_path: Path) -> None:
    from headstart.nn.encoder import weights_hash
    from headstart.runtime.networks import load_encoder

    run = tiny_run(tmp_path)
    begin = start(run, 3, "random")
    assert weights_hash(load_encoder(run, begin)) == begin.info["start"]


def test_the_steps_of_a_run_are_the_same_again_and_differ_by_seed(tmp_path: Path) -> None:
    ends = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(ends) * 1000)  # what was drawn before does not matter
        run = tiny_run(tmp_path / folder)
        entry = trained(run, tiny_study.made_data(run, pool=40), "moco", seed)
        ends.append((weights(entry), entry.info["history"]))
    assert equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    assert not equal(ends[0][0], ends[2][0])


@pytest.mark.parametrize("joins", [True, False])
def test_only_the_pool_is_trained_on(
    joins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels of validation and test may become anything, and labels too: the weights stay."""
    ends = []
    for folder, changed in (("a", ()), ("b", ("validation", "test")), ("c", ("train",))):
        run = tiny_run(tmp_path / folder, data={"train_joins_pool": joins})
        data = tiny_study.made_data(run, pool=40)
        data.cache.pixels[data.index.where(*changed)] = 255
        rng = np.random.default_rng(0)
        labelled = data.index.where("train", "validation", "test")
        if folder == "b":
            data.index.labels[labelled] = rng.permutation(data.index.labels[labelled])
        ends.append(weights(trained(run, data, "simclr")))
    assert equal(ends[0], ends[1])
    assert equal(ends[0], ends[2]) != joins


# --- health --------------------------------------------------------------------------------------


class NoStopGradient(SimSiam):
    """Algorithm 1 without the line that everything hangs on."""

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        z1, z2 = self.embed(x1), self.embed(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2


def broken_from(step: int) -> type[SimCLR]:
    """SimCLR whose loss is no number from some step on."""

    class Broken(SimCLR):
        done = 0

        def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
            self.done += 1
            return super().loss(x1, x2) * (float("nan") if self.done > step else 1.0)

    return Broken


@pytest.mark.parametrize("on_collapse", ["stop", "warn"])
def test_a_loss_that_is_no_number_ends_the_run_as_failed(
    on_collapse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on is pointless whatever is asked: nothing downstream can use such weights."""
    monkeypatch.setitem(METHODS.entries, "simclr", broken_from(7))
    tell = tiny_study.Spoken()
    sizes = {"epochs": 8, "batch_size": 8, "on_collapse": on_collapse}
    run = tiny_run(tmp_path, tell=tell, pretrain=sizes)
    data = tiny_study.made_data(run, pool=40)
    info = trained(run, data, "simclr").info
    assert info["status"] == "failed"
    assert info["reason"].startswith("not a number: loss is nan at step 10")
    assert "\n" not in info["reason"]
    assert info["steps"] == 10  # seen at the next reading, not at the end
    assert info["history"][-1]["loss"] is None
    json.dumps(info, allow_nan=False)
    assert any(line.startswith("simclr (seed 0) stopped: not a number") for line in tell.lines)
    assert trained(run, data, "simsiam").info["status"] == "ok"  # the next method goes on


def sabotaged(step: int, how: str) -> type[SimCLR]:
    """SimCLR that breaks after some step, by its weights, so that it stays broken when resumed;
    ``states`` are those of its encoder after every step.
    """

    class Sabotaged(SimCLR):
        states: ClassVar[list[dict[str, Tensor]]] = []
        scale: Tensor

        @functools.wraps(SimCLR.__init__)  # its signature is what may be set
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.register_buffer("scale", torch.ones(()))

        def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
            return super().loss(x1, x2) * self.scale

        def after_step(self, now: int) -> None:
            super().after_step(now)
            self.states.append({k: v.clone() for k, v in self.encoder.state_dict().items()})
            if now + 1 == step and how == "weights":
                next(self.encoder.parameters()).data.fill_(float("nan"))
            elif now + 1 == step:
                self.scale.fill_(float(how))

    return Sabotaged


@pytest.mark.parametrize(
    ("how", "status", "named"),
    [
        ("nan", "failed", "not a number: loss is nan at step 15"),
        ("weights", "failed", "not a number: loss is nan at step 15"),
        ("inf", "failed", "not a number: loss is "),
        ("0", "failed", "dead: gradient norm is 0 at step 15"),
        ("1e30", "failed", "not a number: loss is nan at step 15"),  # the step that explodes
        ("1e6", "collapsed", "collapsed: std ratio"),
    ],
)
def test_what_breaks_a_training_is_named_and_its_last_healthy_encoder_kept(
    how: str, status: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = sabotaged(12, how)
    monkeypatch.setitem(METHODS.entries, "simclr", broken)
    sizes = {"epochs": 12, "batch_size": 8, "check_epochs": 1, "checkpoint_minutes": 0}
    whole_run = tiny_run(tmp_path / "whole", pretrain=sizes)
    entry = trained(whole_run, tiny_study.made_data(whole_run, pool=40), "simclr")
    info = entry.info
    assert info["status"] == status
    assert info["reason"].startswith(named)
    assert "Likely cause: " in info["reason"]
    assert info["reason"].endswith("Its encoder is kept as it was at step 10.")
    kept = {f"body.{name}": tensor for name, tensor in weights(entry).items()}
    assert equal(kept, broken.states[9])

    killed = tiny_run(tmp_path / "cut", tell=KillsAt(15), pretrain=sizes)
    with pytest.raises(KilledError):
        trained(killed, tiny_study.made_data(killed, pool=40), "simclr")
    again = tiny_run(tmp_path / "cut", pretrain=sizes)
    got = trained(again, tiny_study.made_data(again, pool=40), "simclr")
    assert got.info == info
    assert equal(weights(got), weights(entry))


def test_settings_known_to_go_badly_are_said_before_they_cost(tmp_path: Path) -> None:
    tell = tiny_study.Spoken()
    optim = {"name": "lars", "lr": 1e-3, "scale": "none"}
    run = tiny_run(
        tmp_path,
        tell=tell,
        methods={"byol": {"optim": optim}},
        pretrain={"epochs": 1, "batch_size": 8, "on_collapse": "warn"},
    )
    info = trained(run, tiny_study.made_data(run, pool=40), "byol").info
    first, second = info["warnings"][:2]
    assert first.startswith("learning rate 0.001 is too small for LARS")
    assert second.startswith("BatchNorm over 8 images is noise")
    assert tell.lines[:2] == [f"byol: {first}", f"byol: {second}"]


def test_a_learning_rate_that_no_data_can_save_is_refused(tmp_path: Path) -> None:
    optim = {"name": "adamw", "lr": 0.2, "scale": "none"}
    run = tiny_run(tmp_path, methods={"byol": {"optim": optim}}, pretrain={"epochs": 1})
    data = tiny_study.made_data(run, pool=40)
    with pytest.raises(StudyError, match=r"^methods\.byol\.optim: learning rate 0\.2 is sized"):
        trained(run, data, "byol")
    with pytest.raises(StudyError, match="sized for LARS"):
        check_settings(run, data)
    # The rate as applied counts: 32 of 256 images bring 0.08 down to 0.01.
    optim = {"name": "adamw", "lr": 0.08, "scale": "linear"}
    run = tiny_run(tmp_path, methods={"byol": {"optim": optim}}, pretrain={"epochs": 1})
    assert trained(run, data, "byol").info["epochs"] == 1


# --- resuming ------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


class KillsAt(tiny_study.Spoken):
    """The power goes out when a method's bar reaches a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def progress(self, what: str, done: int, total: int) -> None:
        super().progress(what, done, total)
        if done == self.step:
            raise KilledError


@pytest.mark.parametrize("method", ["moco", "byol"])
def test_a_killed_pretraining_is_taken_up_and_ends_the_same(method: str, tmp_path: Path) -> None:
    sizes = {"epochs": 5, "batch_size": 8, "checkpoint_minutes": 0, "check_epochs": 0.5}
    whole_run = tiny_run(tmp_path / "whole", pretrain=sizes)
    wanted = trained(whole_run, tiny_study.made_data(whole_run, pool=32), method)

    killed = tiny_run(tmp_path / "cut", tell=KillsAt(12), pretrain=sizes)
    with pytest.raises(KilledError):
        trained(killed, tiny_study.made_data(killed, pool=32), method)
    tell = tiny_study.Spoken()
    again = tiny_run(tmp_path / "cut", tell=tell, pretrain=sizes)
    got = trained(again, tiny_study.made_data(again, pool=32), method)
    assert [done for _, done, _ in tell.bars] == [12, 14, 16, 18, 20]  # the check at 12 once more
    assert equal(weights(got), weights(wanted))
    assert got.info == wanted.info
    assert not list(got.folder.glob("checkpoint*"))


# --- collapse ------------------------------------------------------------------------------------


def simsiam_run(folder: Path, **sizes: Any) -> tuple[Run, Dataset]:
    """A fast and rough SimSiam: 100 steps of 32 images at a high learning rate."""
    run = tiny_run(
        folder,
        methods={"simsiam": {"optim": {"lr": 8.0}}},
        pretrain={"epochs": 20, "batch_size": 32} | sizes,
    )
    return run, tiny_study.made_data(run, pool=160)


def test_simsiam_without_its_stop_gradient_is_seen_to_collapse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simsiam", NoStopGradient)
    run, data = simsiam_run(tmp_path)
    entry = trained(run, data, "simsiam")
    info = entry.info
    assert info["status"] == "collapsed"
    assert info["reason"].startswith("collapsed: ")
    assert "stop-gradient" in info["reason"]
    assert info["steps"] < 100  # within the run, not at its end
    assert info["images_seen"] == 32 * info["steps"]
    assert info["history"][-1]["loss"] < -0.8  # by its loss alone it looks well
    assert entry.done


def test_a_healthy_simsiam_is_left_alone(tmp_path: Path) -> None:
    run, data = simsiam_run(tmp_path)
    info = trained(run, data, "simsiam").info
    assert info["status"] == "ok", info["reason"]
    assert info["steps"] == 100
    assert not [line for line in info["warnings"] if line.startswith("collapsed")]
    assert info["history"][-1]["std_ratio"] > 0.8


def test_a_collapse_that_is_only_warned_about_goes_on_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS.entries, "simsiam", NoStopGradient)
    run, data = simsiam_run(tmp_path, epochs=16, on_collapse="warn")
    info = trained(run, data, "simsiam").info
    assert info["status"] == "ok"
    assert info["steps"] == 80
    assert len([line for line in info["warnings"] if line.startswith("collapsed: ")]) == 1


# --- it learns -----------------------------------------------------------------------------------

KINDS = 5  # of patterns; chance is 0.2


def patterns(kinds: np.ndarray, side: int = 40) -> np.ndarray:
    """Grey patterns (N, 3, side, side): upright and lying bars, diagonals, checks and grids, of
    any phase, spacing, brightness, contrast and polarity.
    """
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:side, :side]
    pictures = np.empty((len(kinds), 3, side, side), np.uint8)
    for i, kind in enumerate(kinds):
        k = 2 * np.pi / rng.uniform(5, 10)
        p, q = rng.uniform(0, 2 * np.pi, 2)
        a, b = np.sin(k * u + p), np.sin(k * v + q)
        waves = (a, b, np.sin(k * (u + v) / 1.4 + p), a * b, np.maximum(a, b))[kind]
        sign = np.where((waves > 0) ^ (rng.random() < 0.5), 1.0, -1.0)
        level, contrast = rng.uniform(60, 190), rng.uniform(15, 45)
        noisy = level + contrast * sign + rng.normal(0, 20, (3, side, side))
        pictures[i] = np.clip(noisy, 0, 255)
    return pictures


def gain(method: str, seed: int, epochs: int, folder: Path, precision: str = "32") -> float:
    """Leave-one-out k-NN (balanced) on labelled images after training, less that before it.

    192 unlabelled images, 24 px, 6 steps an epoch; 30 labelled images of each kind are asked
    about and never trained on.
    """
    run = tiny_run(
        folder,
        encoder={"image_size": 24},
        methods={method: {"optim": {"lr": 0.2}}},
        pretrain={"epochs": epochs, "batch_size": 32, "check_epochs": epochs / 2},
        engine={"precision": precision},
    )
    data = tiny_study.made_data(run, pool=192, train=30, classes=KINDS)
    kinds = data.index.labels.copy()
    kinds[kinds < 0] = np.random.default_rng(5).integers(0, KINDS, (kinds < 0).sum())
    data.cache.pixels[:] = patterns(kinds)
    info = trained(run, data, method, seed).info
    assert info["status"] == "ok", info["reason"]
    learned, untrained = info["history"][-1]["knn"], info["knn_random"]
    assert isinstance(learned, float)
    return float(learned - untrained)


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_pretraining_beats_random_weights(method: str, tmp_path: Path) -> None:
    assert gain(method, seed=0, epochs=40, folder=tmp_path) > 0.1


@pytest.mark.slow
def test_half_precision_learns_as_much(tmp_path: Path) -> None:
    """Within two standard errors of a difference of shares of 150 images, 0.1."""
    gains = [gain("simclr", 0, 40, tmp_path / p, p) for p in ("32", "bf16")]
    assert gains[0] != gains[1]  # two precisions were indeed computed in
    assert abs(gains[0] - gains[1]) < 0.1
    assert min(gains) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simsiam", "byol"])
def test_methods_without_negatives_need_longer_to_beat_random_weights(
    method: str, tmp_path: Path
) -> None:
    """The mean of three seeds: one random start in three is hard to beat in 600 steps."""
    gains = [gain(method, seed, 100, tmp_path / f"{seed}") for seed in range(3)]
    assert np.mean(gains) > 0.05
