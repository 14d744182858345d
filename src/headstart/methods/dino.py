"""DINO: Caron et al. 2021 (arXiv 2104.14294), §3.1 and Algorithm 1, with two large crops an image.

Paper, without its small crops: ViT-S/16, 300 epochs 72.5 % linear top-1 on ImageNet, with them
76.1 % (table 8). Small crops are left out: a batch here is two views of one size. So are the
gradient clipping and the growing weight decay of the authors' code. Recipe ``small``: SGD
0.06·B/256 with warm-up, weight decay 5e-4, τ 0.99 → 1, BatchNorm in the head.
"""

from __future__ import annotations

import math
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart import ranks
from headstart.config import Count, Optim, Positive, Probability, Recipe, View
from headstart.methods.base import Method
from headstart.nn.encoder import Encoder
from headstart.nn.losses import exact
from headstart.nn.momentum import cosine_momentum, follow, frozen_copy


class DINO(Method):
    """A student says of one view which prototypes its moving average names for the other."""

    title = "DINO"
    paper = "Caron et al. 2021, arXiv 2104.14294"
    tiny = MappingProxyType({"hidden": 32, "dim": 32, "prototypes": 64})
    centre: Tensor
    done: Tensor

    def __init__(
        self,
        encoder: Encoder,
        steps: int,
        *,
        hidden: Count = 2048,
        dim: Count = 256,
        prototypes: Count = 2048,
        head_norm: bool = True,
        momentum: Probability = 0.99,
        student_temperature: Positive = 0.1,
        first_temperature: Positive = 0.04,
        teacher_temperature: Positive = 0.04,
        warm: Probability = 0.0,
        frozen: Probability = 0.0,
    ) -> None:
        super().__init__(encoder, steps)
        self.projector = _head([encoder.num_features, hidden, hidden, dim], head_norm)
        self.prototypes = _Prototypes(dim, prototypes)
        self.teacher = frozen_copy(nn.Sequential(encoder, self.projector, self.prototypes))
        self.momentum, self.T = momentum, student_temperature
        self.first, self.last = first_temperature, teacher_temperature
        self.warm_steps, self.frozen_steps = warm * steps, frozen * steps
        self.register_buffer("centre", torch.zeros(prototypes))
        self.register_buffer("done", torch.zeros(()))  # steps; on the device, and in checkpoints
        hook = self.prototypes.weight.register_hook  # zero while the prototypes stand still
        hook(lambda g: g * (self.done >= self.frozen_steps))  # type: ignore[no-untyped-call]
        self._seen: list[Tensor] = []

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """H(teacher, student) of both directions, averaged (eq. 3 with two large crops)."""
        s1, s2 = (self.prototypes(self.embed(x)) for x in (x1, x2))
        with torch.no_grad():
            t1, t2 = (self.teacher(x) for x in (x1, x2))
        s1, s2, t1, t2 = (ranks.gather(out) for out in (s1, s2, t1, t2))
        self._seen = [t1, t2]  # the centre moves after the step
        temperature = self.first + (self.last - self.first) * self._warmed()
        kept = (self.centre, temperature, self.T)
        return (cross_entropy(t1, s2, *kept) + cross_entropy(t2, s1, *kept)) / 2

    def _warmed(self) -> Tensor:
        """The share of the teacher's warm-up that is over, 0 … 1."""
        if not self.warm_steps:
            return torch.ones_like(self.done)
        return (self.done / self.warm_steps).clamp(max=1)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The centre moves (eq. 4), and the teacher follows, its momentum on a cosine (§3.1)."""
        self.centre.lerp_(torch.cat(self._seen).mean(dim=0), 0.1)
        self.done.add_(1)
        m = cosine_momentum(self.momentum, step, self.steps)
        for target, online in zip(
            self.teacher, (self.encoder, self.projector, self.prototypes), strict=True
        ):
            follow(target, online, m)

    def embed(self, x: Tensor) -> Tensor:
        """z = h(f(x)) before it is normalised."""
        z: Tensor = self.projector(self.encoder(x))
        return z

    def loss_floor(self, batch_size: int) -> float:
        """ln K: every prototype as likely as any other."""
        return math.log(len(self.centre))

    @staticmethod
    def recipe(name: str, epochs: int) -> Recipe:
        """Paper: §3.2 and App. C; wider crops where small ones are left out, as its code advises.

        The prototypes stand still for one epoch, and the teacher warms up for 30.
        """
        view1 = View(crop=(0.14, 1.0), saturation=0.2, interpolation="bicubic", blur_p=1.0)
        view2 = view1.model_copy(update={"blur_p": 0.1, "solarize_p": 0.2})
        if name == "paper":
            settings = {"prototypes": 65536, "head_norm": False, "momentum": 0.996}
            settings |= {"teacher_temperature": 0.07, "warm": min(1.0, 30 / epochs)}
            settings |= {"frozen": min(1.0, 1 / epochs)}
            optim = Optim(name="adamw", lr=5e-4, weight_decay=0.04, warmup_epochs=10)
            return Recipe(settings=settings, optim=optim, view1=view1, view2=view2)
        view = View(crop=(0.14, 1.0))
        optim = Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
        return Recipe(optim=optim, view1=view, view2=view)


def cross_entropy(
    teacher: Tensor, student: Tensor, centre: Tensor, sharp: Tensor | float, temperature: float
) -> Tensor:
    """H(P_teacher, P_student), averaged over images (Caron 2021, eq. 2, Algorithm 1), float32.

    Args:
        teacher: (B, K) outputs without gradient.
        student: (B, K) outputs of the other view of the same images.
        centre: (K,), taken off the teacher's outputs, so that no prototype takes all.
        sharp: the teacher's temperature, lower than the student's, so that not all are equal.
        temperature: the student's.

    Returns:
        A scalar ≥ 0; ln K where all outputs are equal.
    """
    target = ((teacher.float() - centre) / sharp).softmax(dim=1)
    return -(target * (student.float() / temperature).log_softmax(dim=1)).sum(dim=1).mean()


class _Prototypes(nn.Linear):
    """Cosines with every prototype, (B, K) float32: the last layer is normalised (App. C)."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__(dim, count, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        with exact(z):
            return F.linear(F.normalize(z.float()), F.normalize(self.weight.float()))


def _head(widths: list[int], norm: bool) -> nn.Sequential:
    """Linear layers with GELU, and perhaps BatchNorm, between them (App. C)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers.append(nn.Linear(n_in, n_out, bias=not norm))
        layers += [nn.BatchNorm1d(n_out)] if norm else []
        layers.append(nn.GELU())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
