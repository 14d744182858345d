"""The loop trains, tells the truth about what it applied, and resumes in the same bits."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny_study
from headstart import engine, interrupt
from headstart.config import EngineSettings, Optim, StudyError
from headstart.data.batches import Images, Order, ViewPairs
from headstart.engine import Engine, Reading, Training, gradient_norm
from headstart.methods import METHODS
from headstart.methods.base import Method
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import Encoder, build_encoder
from headstart.nn.optim import build_optimizer, lr_factor, peak_lr
from tiny_study import PowerCutError, killed_at

torch.set_num_threads(1)

CPU = EngineSettings(device="cpu", precision="32", threads=1)


class Notes:
    """A watcher that writes down everything, and may stop the run."""

    def __init__(self, read_every: int = 1, stop_at: int = 10**9) -> None:
        self.read_every, self.stop_at = read_every, stop_at
        self.readings: list[list[float]] = []

    def __call__(self, reading: Reading) -> str | None:
        row = [reading.step, reading.loss, reading.lr, reading.gradient_norm]
        self.readings.append([float(value) for value in row])
        return "enough" if reading.step >= self.stop_at else None

    def state(self) -> dict[str, Any]:
        return {"readings": self.readings}

    def restore(self, state: dict[str, Any]) -> None:
        self.readings = state["readings"]


class Line(nn.Module):
    """y = w·x, with dropout where asked, and a count of its steps."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.layer = nn.Linear(4, 1)
        self.dropout = nn.Dropout(dropout)
        self.after: list[int] = []

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        predicted: Tensor = self.layer(self.dropout(x))
        return ((predicted.squeeze(1) - y) ** 2).mean()

    def after_step(self, step: int) -> None:
        self.after.append(step)


def points(step: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
    return x, x @ torch.tensor([1.0, -2.0, 0.5, 0.0])


OPTIM = Optim(lr=0.05, scale="none", weight_decay=0.0)


def training(network: nn.Module, steps: int, optim: Optim = OPTIM) -> Training:
    return Training(
        network=network,
        optimizer=build_optimizer(network, optim, 16),
        batch=points,
        lr_factor=lambda step: lr_factor(optim, step, steps, 10),
        steps=steps,
        seed=0,
    )


# --- training ----------------------------------------------------------------------------------


def test_the_loop_trains() -> None:
    network, notes = Line(), Notes()
    assert Engine(CPU).fit(training(network, 120), notes) is None
    losses = [row[1] for row in notes.readings]
    assert losses[-1] < 1e-3 * losses[0]
    assert network.after == list(range(120))
    np.testing.assert_allclose(
        network.layer.weight.detach().numpy().ravel(), [1.0, -2.0, 0.5, 0.0], atol=0.02
    )


def test_the_loop_is_plain_stochastic_gradient_descent() -> None:
    """Against the same steps written out by hand."""
    network, by_hand = Line(), Line()
    engine, optim = Engine(CPU), Optim(lr=0.05, scale="none", momentum=0.9, weight_decay=0.01)
    engine.fit(training(network, 12, optim), Notes())
    reference = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9)
    for step in range(12):
        for group in reference.param_groups:
            group["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 12))
        reference.zero_grad()
        (by_hand.loss(*points(step)) + 0.005 * by_hand.layer.weight.square().sum()).backward()
        reference.step()
    torch.testing.assert_close(network.layer.weight, by_hand.layer.weight)
    torch.testing.assert_close(network.layer.bias, by_hand.layer.bias)


def test_a_reading_holds_the_mean_loss_the_rate_and_the_gradient_of_its_steps() -> None:
    every, coarse = Notes(read_every=1), Notes(read_every=4)
    Engine(CPU).fit(training(Line(), 10), every)
    Engine(CPU).fit(training(Line(), 10), coarse)
    steps, losses, rates, norms = (np.array(column) for column in zip(*every.readings, strict=True))
    assert steps.tolist() == list(range(1, 11))
    np.testing.assert_allclose(
        rates, [0.05 * lr_factor(OPTIM, step, 10, 10) for step in range(10)], rtol=1e-12
    )
    assert np.all(np.diff(rates) < 0)
    assert [row[0] for row in coarse.readings] == [4, 8, 10]
    means = [losses[:4].mean(), losses[4:8].mean(), losses[8:].mean()]
    np.testing.assert_allclose([row[1] for row in coarse.readings], means, rtol=1e-6)
    np.testing.assert_allclose([row[2] for row in coarse.readings], rates[[3, 7, 9]])
    np.testing.assert_allclose([row[3] for row in coarse.readings], norms[[3, 7, 9]])
    assert gradient_norm(Line()) == 0  # nothing backward yet


def test_gradient_norm_is_of_all_gradients_together() -> None:
    network = Line()
    network.loss(*points(0)).backward()
    stacked = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    torch.testing.assert_close(gradient_norm(network), stacked.norm())


def test_a_watcher_stops_the_run_with_its_reason() -> None:
    network = Line()
    assert Engine(CPU).fit(training(network, 50), Notes(stop_at=7)) == "enough"
    assert network.after == list(range(7))


def test_the_network_trains_in_training_mode_though_a_watcher_evaluates_it() -> None:
    network = Line(dropout=0.5)
    modes: list[bool] = []

    class Evaluates(Notes):
        def __call__(self, reading: Reading) -> str | None:
            modes.append(network.training)
            network.eval()
            return None

    Engine(CPU).fit(training(network, 5), Evaluates())
    assert modes == [True] * 5


def test_bf16_trains_and_keeps_weights_in_float32() -> None:
    settings = EngineSettings(device="cpu", precision="bf16", threads=1)
    network, notes = Line(), Notes()
    seen: list[torch.dtype] = []
    network.layer.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    Engine(settings).fit(training(network, 60), notes)
    assert set(seen) == {torch.bfloat16}
    assert network.layer.weight.dtype == torch.float32
    assert notes.readings[-1][1] < 0.05 * notes.readings[0][1]


# --- resuming ----------------------------------------------------------------------------------

STEPS = 6


def pretraining(
    name: str, optim: Optim | None = None, encoder: Encoder | None = None
) -> tuple[Method, Training]:
    """A method around a small encoder, on made images."""
    recipe = METHODS[name].recipe("small", 2)
    heads = dict(METHODS[name].tiny) | ({"queue": 20} if name == "moco" else {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        encoder = encoder or tiny_study.small_encoder()
        network = METHODS[name](encoder, STEPS, **(recipe.settings | heads))
    images = Images(tiny_study.pixels(22), np.arange(22), 24, torch.device("cpu"))
    order = Order(22, 8, seed=3, drop_last=False)  # batches of 8, 8 and 6
    optim = optim or recipe.optim
    return network, Training(
        network=network,
        optimizer=build_optimizer(network, optim, 8),
        batch=ViewPairs(images, order, recipe.view1, recipe.view2),
        lr_factor=lambda step: lr_factor(optim, step, STEPS, order.steps_per_epoch),
        steps=STEPS,
        seed=3,
    )


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, through dictionaries and lists."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def end_state(network: nn.Module, done: Training, notes: Notes) -> dict[str, Any]:
    return {
        "network": copy.deepcopy(network.state_dict()),
        "optimizer": copy.deepcopy(done.optimizer.state_dict()),
        "random": torch.get_rng_state(),
        "readings": notes.readings,
    }


def resumed_equals_uninterrupted(
    make: Callable[[], tuple[nn.Module, Training]], folder: Path, at: int
) -> None:
    network, whole = make()
    notes = Notes()
    Engine(CPU).fit(whole, notes)
    wanted = end_state(network, whole, notes)

    _, first = make()
    cut = Training(**{**vars(first), "batch": killed_at(at, first.batch)})
    with pytest.raises(PowerCutError):
        Engine(CPU).fit(cut, Notes(), folder, checkpoint_minutes=0)
    assert (folder / "checkpoint.pt").exists()

    torch.manual_seed(12345)  # another process has another random state
    torch.rand(11)
    network, rest = make()
    seen: list[int] = []

    def noted(step: int) -> Any:
        seen.append(step)
        return whole.batch(step)

    notes = Notes()
    Engine(CPU).fit(Training(**{**vars(rest), "batch": noted}), notes, folder)
    assert seen == list(range(at, whole.steps))
    assert same(end_state(network, rest, notes), wanted)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    """Weights, momentum network, queue and pointer, optimiser, random state, readings."""
    resumed_equals_uninterrupted(lambda: pretraining(name), tmp_path, at=3)


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_every_optimiser_resumes(name: str, tmp_path: Path) -> None:
    optim = Optim(name=name, lr=0.02, scale="none", warmup_epochs=1)  # type: ignore[arg-type]
    resumed_equals_uninterrupted(lambda: pretraining("simclr", optim), tmp_path, at=2)


def test_reading_ahead_changes_no_bit_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does, without one: batches come from a thread, also after a kill."""

    def make() -> tuple[nn.Module, Training]:
        network = Line()
        return network, training(network, 12)

    def ended(ahead: bool) -> Any:
        network, asked = make()
        notes, here = Notes(), Engine(CPU)
        here.reads_ahead = ahead
        assert here.fit(asked, notes) is None
        return end_state(network, asked, notes)

    assert same(ended(True), ended(False))
    real = Engine.__init__

    def ahead(self: Engine, *arguments: Any) -> None:
        real(self, *arguments)
        self.reads_ahead = True

    monkeypatch.setattr(Engine, "__init__", ahead)
    resumed_equals_uninterrupted(make, tmp_path, at=7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_resumes_and_learns_the_line(tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, Training]:
        network = Line().cuda()
        moved = replace(
            training(network, 60), batch=lambda step: tuple(t.cuda() for t in points(step))
        )
        return network, moved

    network, asked = make()
    assert Engine(EngineSettings(device="cuda")).fit(asked, Notes()) is None
    cut = replace(make()[1], batch=killed_at(30, asked.batch))
    with pytest.raises(PowerCutError):
        Engine(EngineSettings(device="cuda")).fit(cut, Notes(), tmp_path, checkpoint_minutes=0)
    again, rest = make()
    assert Engine(EngineSettings(device="cuda")).fit(rest, Notes(), tmp_path) is None
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_schedulers_variables_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that asks SLURM for four tasks runs one process of ours."""
    for name, value in {"NTASKS": "4", "JOB_ID": "1", "JOB_NAME": "x", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert Engine(CPU).fit(training(Line(), 3), Notes()) is None


def test_ends_of_epochs_cost_at_most_a_hundredth(tmp_path: Path) -> None:
    asked = replace(training(Line(), 10), steps_per_epoch=1)
    checkpoints = engine.Checkpoints(asked, Notes(), tmp_path, 60.0, print)
    zero = torch.zeros(())
    checkpoints.saved -= 40
    checkpoints.cost = 0.5  # 100 times that is 50 s
    checkpoints.after(1, 0, zero)
    assert not list(tmp_path.iterdir())
    checkpoints.saved -= 20
    checkpoints.after(2, 0, zero)
    assert (tmp_path / "checkpoint.pt").exists()


def test_dropout_resumes(tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, Training]:
        network = Line(dropout=0.5)
        return network, training(network, 9)

    resumed_equals_uninterrupted(make, tmp_path, at=4)


def test_two_runs_are_the_same_bits_and_another_seed_is_not() -> None:
    ends = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed * 77)
        network = Line(dropout=0.5)
        asked = training(network, 5)
        Engine(CPU).fit(Training(**{**vars(asked), "seed": seed}), Notes())
        ends.append(network.state_dict())
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_checkpoints_are_written_when_due_and_never_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine(CPU).fit(training(Line(), 5), Notes(), tmp_path, checkpoint_minutes=10)
    assert not list(tmp_path.iterdir())  # over long before it is due
    real = engine.save_state

    def dies(path: Path, state: dict[str, Any]) -> None:
        if state["step"] < 3:
            real(path, state)
            return
        path.with_name(f".{path.name}.part").write_bytes(b"half a check")
        raise PowerCutError

    monkeypatch.setattr(engine, "save_state", dies)
    with pytest.raises(PowerCutError):
        Engine(CPU).fit(training(Line(), 5), Notes(), tmp_path, checkpoint_minutes=0)
    monkeypatch.undo()
    network, whole = Line(), Line()
    notes = Notes()
    Engine(CPU).fit(training(network, 5), notes, tmp_path)
    assert network.after == [2, 3, 4]  # from the last whole checkpoint
    Engine(CPU).fit(training(whole, 5), Notes())
    assert same(network.state_dict(), whole.state_dict())
    assert len(notes.readings) == 5


def test_ends_of_epochs_are_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replace(training(Line(), 10), steps_per_epoch=4, batch=killed_at(9, points))
    with pytest.raises(PowerCutError):
        Engine(CPU).fit(asked, Notes(), tmp_path, checkpoint_minutes=60)
    assert not list(tmp_path.iterdir())  # two epochs within 30 s
    monkeypatch.setattr(engine, "EPOCH_SECONDS", 0.0)
    monkeypatch.setattr(engine, "COST", 0)
    with pytest.raises(PowerCutError):
        Engine(CPU).fit(asked, Notes(), tmp_path, checkpoint_minutes=60)
    states = [engine.load_state(tmp_path / f"checkpoint{old}.pt") for old in ("", "-previous")]
    assert [state["step"] for state in states] == [8, 4]


def test_a_zero_fraction_of_a_run_is_left_after_its_last_step(tmp_path: Path) -> None:
    """Killed between the last checkpoint and the end of the stage: nothing is trained twice."""
    network = Line()
    Engine(CPU).fit(training(network, 5), Notes(), tmp_path, checkpoint_minutes=0)
    again = Line()
    Engine(CPU).fit(training(again, 5), Notes(), tmp_path, checkpoint_minutes=0)
    assert again.after == []
    assert same(again.state_dict(), network.state_dict())


def checkpointed(folder: Path, read_every: int = 1) -> dict[str, Any]:
    """Twelve steps of a line, of which nine are done when the power goes; how it would end."""
    folder.mkdir(exist_ok=True)
    network, notes = Line(dropout=0.5), Notes(read_every)
    whole = training(network, 12)
    Engine(CPU).fit(whole, notes)
    wanted = end_state(network, whole, notes)
    first = training(Line(dropout=0.5), 12)
    cut = Training(**{**vars(first), "batch": killed_at(9, first.batch)})
    with pytest.raises(PowerCutError):
        Engine(CPU).fit(cut, Notes(read_every), folder, checkpoint_minutes=0)
    return wanted


def taken_up(folder: Path, read_every: int = 1) -> tuple[list[int], dict[str, Any], list[str]]:
    """The steps that were left, the end they came to, and what was said."""
    network, notes, told = Line(dropout=0.5), Notes(read_every), list[str]()
    rest = training(network, 12)
    Engine(CPU, told.append).fit(rest, notes, folder)
    return network.after, end_state(network, rest, notes), told


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpointed(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-previous.pt", "checkpoint.pt"]
    steps = [torch.load(tmp_path / name, weights_only=True)["step"] for name in names]
    assert steps == [8, 9]


@pytest.mark.parametrize("read_every", [4, 5])
def test_a_checkpoint_between_two_readings_keeps_their_mean(
    read_every: int, tmp_path: Path
) -> None:
    wanted = checkpointed(tmp_path, read_every)
    steps, ended, told = taken_up(tmp_path, read_every)
    assert steps == [9, 10, 11]
    assert same(ended, wanted)
    assert told == []


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(
    damage: str, tmp_path: Path
) -> None:
    wanted = checkpointed(tmp_path)
    newest, before = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-previous.pt"
    spoil(newest, damage)
    steps, ended, told = taken_up(tmp_path)
    assert steps == [8, 9, 10, 11]
    assert same(ended, wanted)
    assert told == [
        f"{tmp_path.name}: checkpoint.pt is damaged; taking the one before it, or the beginning"
    ]
    spoil(before, damage)
    steps, ended, told = taken_up(tmp_path)
    assert steps == list(range(12))
    assert same(ended, wanted)
    assert [line.split(" ")[1] for line in told] == ["checkpoint.pt", "checkpoint-previous.pt"]


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-100], "bit": content, "empty": b""}[damage])


@pytest.mark.parametrize("moment", ["before the first move", "between the moves"])
def test_killed_while_checkpoints_are_moved(moment: str, tmp_path: Path) -> None:
    wanted = checkpointed(tmp_path)
    newest, before = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-previous.pt"
    if moment == "between the moves":
        newest.rename(tmp_path / "checkpoint-next.pt")
    else:
        newest.rename(tmp_path / "checkpoint-next.pt")
        before.rename(newest)
    steps, ended, _ = taken_up(tmp_path)
    assert steps == [9, 10, 11]
    assert same(ended, wanted)


def test_no_code_comes_out_of_a_checkpoint(tmp_path: Path) -> None:
    """One made by somebody else, digest and all, is refused like a damaged one."""
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    content = io.BytesIO()
    torch.save({"network": Evil()}, content)
    body = content.getvalue()
    (tmp_path / "checkpoint.pt").write_bytes(body + hashlib.sha256(body).digest())
    steps, _, told = taken_up(tmp_path)
    assert steps == list(range(12))
    assert "damaged" in told[0]
    assert not ran.exists()


def test_a_signal_is_looked_for_after_every_step_and_what_was_learnt_is_saved(
    tmp_path: Path,
) -> None:
    wanted = checkpointed(tmp_path / "whole", 4)
    network = Line(dropout=0.5)
    first = training(network, 12)

    def called_to_stop(step: int) -> Any:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return first.batch(step)

    heard = Training(**{**vars(first), "batch": called_to_stop})
    with (
        pytest.raises(interrupt.Interrupted) as ended,
        interrupt.listening(),
        interrupt.deferred(),
    ):
        Engine(CPU).fit(heard, Notes(4), tmp_path, checkpoint_minutes=60)
    assert ended.value.number == signal.SIGTERM
    assert network.after == list(range(7))  # the step it came in was finished
    steps, end, _ = taken_up(tmp_path, 4)
    assert steps == [7, 8, 9, 10, 11]
    assert same(end, wanted)


def test_more_threads_change_only_rounding() -> None:
    ends = []
    try:
        for threads in (1, 2):
            network, asked = pretraining("simclr")
            Engine(EngineSettings(device="cpu", precision="32", threads=threads)).fit(
                asked, Notes()
            )
            ends.append(network.state_dict())
    finally:
        torch.set_num_threads(1)
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-3, atol=1e-5)


# --- activations computed again ------------------------------------------------------------------


def of_blocks() -> Encoder:
    """A residual network with BatchNorm."""
    return build_encoder("test_resnet", image_size=24)


def on_labels() -> tuple[nn.Module, Training]:
    """The training of the supervised arms."""
    network = Supervised(of_blocks(), 3)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(step)
        return torch.rand(8, 3, 24, 24, generator=draw), torch.arange(8) % 3

    return network, replace(training(network, STEPS), batch=batch)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("method", [None, *METHODS])
def test_computing_activations_again_changes_no_bit(method: str | None, precision: Any) -> None:
    """Readings, weights, statistics, queues and averages, of every method and on labels."""
    ends = []
    for again in (False, True):
        settings = EngineSettings(
            device="cpu", precision=precision, threads=1, activation_checkpointing=again
        )
        network, asked = pretraining(method, encoder=of_blocks()) if method else on_labels()
        notes = Notes()
        assert Engine(settings).fit(asked, notes) is None
        ends.append([notes.readings, network.state_dict(), torch.rand(3)])
    assert same(*ends)


def test_activations_are_not_kept_while_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would show nothing."""
    seen: list[str] = []
    plain = engine.recomputing
    monkeypatch.setattr(
        engine, "recomputing", lambda network: seen.append(type(network).__name__) or plain(network)
    )
    again = CPU.model_copy(update={"activation_checkpointing": True})
    for settings in (CPU, again):
        Engine(settings).fit(on_labels()[1], Notes())
    assert seen == ["Supervised"]


def test_a_network_whose_activations_cannot_be_computed_again_is_one_line() -> None:
    again = CPU.model_copy(update={"activation_checkpointing": True})
    with pytest.raises(StudyError, match=r"^--activation-checkpointing: .*no blocks.*leave it out"):
        Engine(again).fit(pretraining("simclr")[1], Notes())


def test_computing_again_and_compiling_are_refused_together() -> None:
    both = CPU.model_copy(update={"activation_checkpointing": True, "compile": True})
    with pytest.raises(StudyError, match="--compile: not with --activation-checkpointing"):
        Engine(both)


# --- devices and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:7", "cuda:-1", "meta", "tpu", "", "mps"])
def test_a_device_that_is_not_there_is_one_line(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(StudyError) as caught:
        Engine(EngineSettings(device=device, precision="32"))
    line = str(caught.value)
    assert line.startswith(f"--device {device}: ")
    assert "\n" not in line


def test_auto_takes_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engine = Engine(EngineSettings(device="auto", precision="32"))
    assert engine.device.type == "cpu"
    assert engine.precision == "32"


@pytest.mark.parametrize(("amx", "avx", "wanted"), [(1, 0, "bf16"), (0, 1, "bf16"), (0, 0, "32")])
def test_auto_takes_bf16_only_where_the_processor_computes_in_it(
    amx: int, avx: int, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx)):
        monkeypatch.setattr(torch.cpu, name, lambda value=value: bool(value), raising=False)
    engine = Engine(EngineSettings(device="cpu", precision="auto"))
    assert engine.precision == wanted


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        Engine(EngineSettings(device="cpu", precision="32", threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_peak_rate_and_schedule_meet_in_the_reading() -> None:
    """The rate applied is the one intended: scaled with the batch, warmed up, then falling."""
    optim = Optim(lr=0.1, scale="linear", warmup_epochs=1, weight_decay=0.0)
    notes, network = Notes(), Line()
    asked = training(network, 40, optim)
    Engine(CPU).fit(asked, notes)
    rates = [row[2] for row in notes.readings]
    peak = peak_lr(optim, 16)
    assert peak == pytest.approx(0.1 * 16 / 256)
    assert max(rates) <= peak
    top = rates.index(max(rates))
    assert 0 < top <= 4  # a tenth of the run
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] <= 0.05 * peak
