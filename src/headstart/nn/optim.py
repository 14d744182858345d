"""Optimisers and learning-rate schedules in steps, as the papers give them."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.optim.lars import Lars
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.config import Optim

TRUST = 1e-3  # LARS's η, as SimCLR and BYOL set it


def build_optimizer(module: nn.Module, optim: Optim, batch_size: int) -> Optimizer:
    """The optimiser of a recipe over all trainable parameters.

    Each parameter group carries ``peak_lr`` (what the schedule multiplies) and ``fixed_lr``
    (whether the schedule leaves it alone). A submodule named in ``module.fixed_lr_modules`` keeps
    its learning rate, as SimSiam's predictor does.
    """
    peak = peak_lr(optim, batch_size)
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    fixed = tuple(f"{name}." for name in getattr(module, "fixed_lr_modules", ()))
    for name, p in module.named_parameters():
        if p.requires_grad:
            decayed = optim.decay_norm_and_bias or p.ndim > 1
            groups.setdefault((decayed, bool(fixed) and name.startswith(fixed)), []).append(p)
    params = [
        {
            "params": members,
            "weight_decay": optim.weight_decay if decayed else 0.0,
            "lr": peak,
            "peak_lr": peak,
            "fixed_lr": is_fixed,
        }
        for (decayed, is_fixed), members in groups.items()
    ]
    if optim.name == "lars":
        return _lars(params, optim)
    if optim.name == "adamw":
        return torch.optim.AdamW(params, lr=peak, fused=True)
    return torch.optim.SGD(params, lr=peak, momentum=optim.momentum, fused=True)


def _lars(groups: list[dict[str, Any]], optim: Optim) -> Optimizer:
    """LARS (You 2017) as the code of SimCLR and BYOL has it: vectors take a plain SGD step.

    timm adds the weight decay after it has measured the gradient, and divides by ‖∇‖ + λ‖w‖ instead
    of ‖∇ + λw‖; so the decay is added here, and timm is given none. A parameter's gradient holds
    its decay after a step.
    """
    split = []
    for group in groups:
        for matrices in (True, False):
            members = [p for p in group["params"] if (p.ndim > 1) == matrices]
            own = {"weight_decay": 0.0, "decay": group["weight_decay"], "always_adapt": matrices}
            if members:
                split.append({**group, **own, "params": members})
    lr, momentum = groups[0]["lr"], optim.momentum
    optimizer: Optimizer = Lars(split, lr=lr, momentum=momentum, trust_coeff=TRUST, eps=0.0)
    optimizer.register_step_pre_hook(_add_decay)
    return optimizer


@torch.no_grad()
def _add_decay(optimizer: Optimizer, *_: object) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.add_(p, alpha=group["decay"])


def peak_lr(optim: Optim, batch_size: int) -> float:
    """The learning rate after warm-up: lr·B/256 (linear), lr·√B (sqrt) or lr itself (none)."""
    scale = {"linear": batch_size / 256, "sqrt": math.sqrt(batch_size), "none": 1.0}
    return optim.lr * scale[optim.scale]


def lr_factor(optim: Optim, step: int, steps: int, steps_per_epoch: int) -> float:
    """What the peak learning rate is multiplied with at ``step`` (0 … steps−1); never 0 at step 0.

    Linear warm-up over ``warmup_epochs`` (at most a tenth of the run), then half a cosine to zero
    over the rest, moved every step or only at epochs (``cosine_per``).
    """
    warmup = round(min(optim.warmup_epochs * steps_per_epoch, steps / 10))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if optim.schedule == "constant":
        return 1.0
    if optim.cosine_per == "epoch":
        step -= step % steps_per_epoch
    done = max(step - warmup, 0) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def apply_lr(optimizer: Optimizer, factor: float) -> float:
    """Set every group's learning rate and return the one applied to the first scheduled group."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * (1.0 if group["fixed_lr"] else factor)
    scheduled = [g["lr"] for g in optimizer.param_groups if not g["fixed_lr"]]
    return float((scheduled or [optimizer.param_groups[0]["lr"]])[0])
