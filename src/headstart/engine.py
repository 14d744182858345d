"""Devices, precision, checkpoints and the training loop; the only file that knows Fabric."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart import interrupt, ranks
from headstart.config import EngineSettings, StudyError
from headstart.cores import kept_memory, usable_cores
from headstart.data.ahead import Ahead, Batch
from headstart.nn.checkpoint import DamagedError, load_state, save_state
from headstart.nn.convolutions import faster_convolutions
from headstart.nn.joint_norm import joint_norm
from headstart.nn.optim import apply_lr
from headstart.nn.recompute import NoBlocksError, recomputing

M = TypeVar("M", bound=nn.Module)
EPOCH_SECONDS = 30.0  # least time between two checkpoints at ends of epochs
_DDP = signature(nn.parallel.DistributedDataParallel).parameters
# Newer versions of PyTorch have another name for it.
_SYNC = "forward_sync_buffers" if "forward_sync_buffers" in _DDP else "broadcast_buffers"
_APART: dict[str, Any] = {_SYNC: False}
COST = 100  # times the time of writing one lie between two: writing takes at most 1 %


@dataclass(frozen=True)
class Training:
    """One training, as the loop needs it; ``batch`` and ``network.loss`` fit together."""

    network: nn.Module
    optimizer: Optimizer
    batch: Callable[[int], Batch]
    """Step -> tensors on the device; a function of the step alone, so that resuming is exact."""
    lr_factor: Callable[[int], float]
    steps: int
    seed: int
    steps_per_epoch: int | None = None
    """With it, checkpoints are also written at the ends of epochs."""


@dataclass(frozen=True)
class Reading:
    """Values for the watcher, every ``read_every`` steps and at the end."""

    step: int
    """Steps done."""
    loss: float
    """Mean since the last reading."""
    lr: float
    gradient_norm: float


class Watcher(Protocol):
    """Watches a training: returns a reason to stop, or None; its state is in the checkpoint."""

    read_every: int

    def __call__(self, reading: Reading) -> str | None:
        """Judge a reading."""

    def state(self) -> dict[str, Any]:
        """Plain values to put into a checkpoint."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave."""


class Engine:
    """One device and one precision, for every network of a study."""

    def __init__(
        self, settings: EngineSettings, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self.tell = tell
        # torch takes a thread a core of the host, which a container may not be given.
        self.threads = settings.threads or min(torch.get_num_threads(), usable_cores())
        torch.set_num_threads(self.threads)
        if settings.compile and ranks.members() > 1:
            raise StudyError("--compile: not with several processes; leave one of them out")
        if settings.compile and settings.activation_checkpointing:
            raise StudyError(
                "--compile: not with --activation-checkpointing; leave one of them out"
            )
        device = _device(settings.device)
        self.precision = _precision(settings.precision, device)
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self.compile, self.recomputes = settings.compile, settings.activation_checkpointing
        # On a CPU, reading ahead would only compete with the training.
        self.reads_ahead = device.type == "cuda"
        # Evaluation computes in float32, so that no answer depends on the batch.
        torch.backends.cudnn.allow_tf32 = False
        for name in ("lightning.fabric", "lightning.pytorch"):  # too talkative for a user
            logging.getLogger(name).setLevel(logging.WARNING)
        self.fabric = self._fabric(device)
        self.device = self.fabric.device
        self.joint_threads = settings.threads or max(1, self.threads // ranks.on_this_machine())

    @cached_property
    def _joint(self) -> Fabric:
        """For all ranks; made when they first train together."""
        return self._fabric(self.device, joint=True)

    def _fabric(self, device: torch.device, *, joint: bool = False) -> Fabric:
        """For this process alone, whatever a scheduler's variables say, or for all of them."""
        chosen: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}
        if joint:
            # Buffers are computed alike on every rank (``nn/joint_norm.py``).
            chosen = {"plugins": [TorchElasticEnvironment()], "devices": ranks.on_this_machine()}
            chosen["strategy"] = DDPStrategy(**_APART)
            chosen["num_nodes"] = ranks.members() // ranks.on_this_machine()
        elif device.type == "cuda":
            chosen["devices"] = [device.index or 0]
        accelerator = {"cuda": "gpu"}.get(device.type, device.type)
        precision = "bf16-mixed" if self.precision == "bf16" else "32-true"
        fabric = Fabric(accelerator=accelerator, precision=precision, **chosen)  # type: ignore[arg-type]
        if joint:
            # DDP warns of the layout of 1 x 1 convolutions in channels-last memory; it is harmless.
            warnings.filterwarnings("ignore", "Grad strides do not match")
            fabric.launch()
        return fabric

    def place(self, network: M) -> M:
        """The network on the device, convolutions in channels-last memory."""
        return network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @contextmanager
    def together(self, call: object = None) -> Iterator[None]:
        """``ranks.together``, with the cores of a machine shared among its ranks meanwhile."""
        with ranks.together(call):
            if ranks.world() == 1:
                yield
                return
            torch.set_num_threads(self.joint_threads)
            try:
                yield
            finally:
                torch.set_num_threads(self.threads)

    @contextmanager
    def saving_memory(self, network: nn.Module) -> Iterator[None]:
        """While a network trains: its activations are computed again, where the study asks for it.

        Raises:
            StudyError: they cannot be, with this network.
        """
        try:
            with recomputing(network) if self.recomputes else nullcontext():
                yield
        except NoBlocksError as error:
            raise StudyError(f"--activation-checkpointing: {error}; leave it out") from None

    def autocast(self) -> AbstractContextManager[None]:
        """The precision that training and extraction share."""
        return self.fabric.autocast()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """What a training computes its loss in: the precision, and faster ways to the same."""
        faster = nullcontext() if self.compile else faster_convolutions(self.device)
        with self.autocast(), joint_norm(), faster:
            yield

    @kept_memory()
    def fit(
        self,
        training: Training,
        watcher: Watcher,
        folder: Path | None = None,
        checkpoint_minutes: float = 2.0,
    ) -> str | None:
        """Train; returns None at the end of the run, or the watcher's reason for stopping early.

        With a ``folder``, training goes on from a checkpoint there, and one is written every
        ``checkpoint_minutes``, at ends of epochs (at most every 30 s) and before a signal that
        waits ends the run: killed and started again it ends in the same bits on the CPU.

        Inside ``together`` all ranks train; rank zero alone watches and writes.

        Raises:
            StudyError: the network has no blocks, and their activations are to be computed again.
        """
        checkpoints = Checkpoints(training, watcher, folder, checkpoint_minutes, self.tell)
        with self.saving_memory(training.network):
            return self._fit(training, watcher, checkpoints)

    def _fit(self, training: Training, watcher: Watcher, checkpoints: Checkpoints) -> str | None:
        """``fit``, with the blocks of the network as they are to be."""
        fabric = self._joint if ranks.world() > 1 else self.fabric
        network, optimizer = fabric.setup(
            training.network, training.optimizer, _reapply_compile=False
        )
        network.mark_forward_method("loss")
        loss_of = torch.compile(network.loss) if self.compile else network.loss
        batch_of = training.batch
        if self.reads_ahead:
            batch_of = Ahead(training.batch, training.steps, self.device)
        torch.manual_seed(training.seed + ranks.rank())  # of dropout; all else is drawn alike
        start, since, total = checkpoints.resume(self.device)
        training.network.train()
        for step in range(start, training.steps):
            lr = apply_lr(training.optimizer, training.lr_factor(step))
            batch = batch_of(step)
            # Fabric enters autocast only for modules that it has to wrap.
            with self.forward():
                loss = loss_of(*batch)
            fabric.backward(loss)
            total += loss.detach()  # read back later: no waiting for the device in a step
            read = (step + 1) % watcher.read_every == 0 or step + 1 == training.steps
            norm = gradient_norm(training.network) if read else None
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            training.network.after_step(step)  # type: ignore[operator]
            if norm is not None:
                mean = float(total) / (step + 1 - since)
                total.zero_()
                since = step + 1
                reading = Reading(step + 1, mean, lr, float(norm))
                reason = ranks.told(watcher(reading) if ranks.rank() == 0 else None)
                training.network.train()
                if reason:
                    return reason
            checkpoints.after(step + 1, since, total)
        return None


class Checkpoints:
    """What is written of a training while it runs, and how a training resumes from it.

    The last two are kept: ``checkpoint.pt`` and ``checkpoint-previous.pt``.
    """

    def __init__(
        self,
        training: Training,
        watcher: Watcher,
        folder: Path | None,
        minutes: float,
        tell: Callable[[str], None],
    ) -> None:
        self.training, self.watcher, self.folder, self.tell = training, watcher, folder, tell
        self.writes = folder if ranks.rank() == 0 else None
        self.every, self.saved, self.cost = 60 * minutes, time.monotonic(), 0.0

    def after(self, step: int, since: int, total: Tensor) -> None:
        """Save when it is time; if a signal is waiting, save and end.

        ``total`` (a scalar) is the sum of the losses after the first ``since`` steps.

        Raises:
            Interrupted: a signal asked for the end.
        """
        epoch = self.training.steps_per_epoch
        wait = self.every
        if epoch and step % epoch == 0:
            wait = min(wait, max(EPOCH_SECONDS, COST * self.cost))
        called = ranks.most(interrupt.pending())  # all ranks end after the same step
        if self.writes and (called or time.monotonic() - self.saved >= wait):
            self._save(self.writes, step, since, total)
            self.saved = time.monotonic()
        if called:
            # Whoever started the ranks may end all when one has ended: none does before the save.
            ranks.told(None)
            raise interrupt.Interrupted(called)

    def resume(self, device: torch.device) -> tuple[int, int, Tensor]:
        """(step, since, total) of the newest undamaged checkpoint; zeros without one.

        A damaged one is named, and the one before it is taken. Rank zero reads, and tells the rest.
        """
        state = ranks.told(self._newest() if self.writes else None)
        return self._restore(state, device) if state else (0, 0, torch.zeros((), device=device))

    def _newest(self) -> dict[str, Any] | None:
        for path in checkpoint_files(self.folder) if self.folder else ():
            try:
                return load_state(path)
            except DamagedError:
                self.tell(
                    f"{path.parent.name}: {path.name} is damaged; taking the one before it, or the "
                    "beginning"
                )
        return None

    def _save(self, folder: Path, step: int, since: int, total: Tensor) -> None:
        """Everything that the rest of the run depends on, moved into place when whole."""
        state = {
            "network": self.training.network.state_dict(),
            "optimizer": self.training.optimizer.state_dict(),
            "step": step,
            "since": since,
            "total": total,
            "watcher": self.watcher.state(),
            "random": torch.get_rng_state(),
            "random_device": _random_state(total.device),
        }
        begun = time.monotonic()
        newest = folder / "checkpoint.pt"
        save_state(folder / "checkpoint-next.pt", state)
        if newest.exists():
            newest.replace(folder / "checkpoint-previous.pt")
        (folder / "checkpoint-next.pt").replace(newest)
        self.cost = time.monotonic() - begun

    def _restore(self, state: dict[str, Any], device: torch.device) -> tuple[int, int, Tensor]:
        self.training.network.load_state_dict(state["network"])
        self.training.optimizer.load_state_dict(state["optimizer"])
        if ranks.rank() == 0:
            self._restore_own(state, device)
        return state["step"], state["since"], state["total"].to(device)

    def _restore_own(self, state: dict[str, Any], device: torch.device) -> None:
        """What rank zero alone has."""
        self.watcher.restore(state["watcher"])
        torch.set_rng_state(state["random"])
        if len(state["random_device"]) and device.type == "cuda":
            torch.cuda.set_rng_state(state["random_device"], device)


def _random_state(device: torch.device) -> Tensor:
    """That of the GPU in use; nothing where there is none."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    names = ("checkpoint-next.pt", "checkpoint.pt", "checkpoint-previous.pt")
    return [folder / name for name in names if (folder / name).exists()]


def gradient_norm(network: nn.Module) -> Tensor:
    """L2 norm over all gradients, a scalar on the device; 0 where there is none."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise StudyError(f"--device {name}: write auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and ranks.members() > 1:
        if ":" in name:
            raise StudyError(f"--device {name}: each process has a GPU of its own; write cuda")
        device = torch.device("cuda", ranks.place_on_this_machine())
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StudyError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise StudyError(f"--device {name}: this machine has no such device")
    if device.type not in ("cpu", "cuda", "mps"):
        raise StudyError(f"--device {name}: write auto, cpu, cuda or cuda:1")
    return device


def _precision(asked: str, device: torch.device) -> str:
    """bf16 where the processor computes in it: AMX or AVX-512 BF16, Ampere or later."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "32"
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, c, bool)() for c in checks) else "32"
    return "32"
