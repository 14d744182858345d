"""BatchNorm over the joint batch of several processes, on any device that can exchange sums.

PyTorch's SyncBatchNorm is for GPUs alone and replaces modules, of which timm has its own kinds.
Here the modules stay what they are: inside ``joint_norm`` every ``batch_norm`` that computes
statistics computes them of the joint batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from headstart import ranks
from headstart.nn.replaced import Replaced


def joint_norm() -> AbstractContextManager[object]:
    """A context in which BatchNorm sees the joint batch; it does nothing for one process."""
    return _JointNorm() if ranks.world() > 1 else nullcontext()


class _JointNorm(Replaced):
    apart = False
    """Whether every rank has statistics of its own for now."""

    def __init__(self) -> None:
        super().__init__(F.batch_norm, self._batch_norm)

    def _batch_norm(self, *args: Any, **kwargs: Any) -> Tensor:
        return (F.batch_norm if self.apart else joint_batch_norm)(*args, **kwargs)


def joint_batch_norm(  # noqa: PLR0913 - the signature is PyTorch's
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` of every rank's share (b, C, …) of the joint batch.

    Running statistics move as one process's would: by the joint mean and the unbiased variance.
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    mean, var, count = joint_moments(x)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * count / (count - 1), momentum)
    normal: Tensor = _Normalise.apply(x, weight, bias, (mean, var, count, eps))
    return normal


@torch.no_grad()
def joint_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C,) over all but the channels, and how many numbers they are of.

    Each rank's moments are merged (Chan 1979), so nothing is lost to large means.
    """
    var, mean = torch.var_mean(x.float(), _but_channels(x), correction=0)
    count = mean.new_full((1,), x.numel() / x.shape[1])
    mine = torch.cat([mean, var, count])
    rows = [torch.empty_like(mine) for _ in range(ranks.world())]
    dist.all_gather(rows, mine)
    stacked = torch.stack(rows)  # (W, 2C+1)
    means, variances, counts = stacked.tensor_split([len(mean), 2 * len(mean)], dim=1)
    total = counts.sum()
    joint = (counts * means).sum(dim=0) / total
    spread = (counts * (variances + (means - joint).square())).sum(dim=0) / total
    return joint, spread, total


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


class _Normalise(torch.autograd.Function):
    """Normalise by moments that are themselves of the joint batch (Ioffe & Szegedy 2015, §3)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        moments: tuple[Tensor, Tensor, Tensor, float],
    ) -> Tensor:
        mean, var, count, eps = moments
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), count)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        shape, dims = (-1, *[1] * (x.ndim - 2)), _but_channels(x)
        g = gradients[0].float()
        normal = (x.float() - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = g.sum(dims), (g * normal).sum(dims)
        sums = ranks.total(torch.cat([of_bias, of_weight])) / count
        shift, stretch = (part.view(shape) for part in sums.chunk(2))
        steepness = scale if weight is None else scale * weight
        of_x = (g - shift - normal * stretch) * steepness.view(shape)
        affine = (None, None) if weight is None else (of_weight, of_bias)
        return of_x.to(x.dtype), *affine, None


# --- groups with statistics of their own -------------------------------------------------------


def by_groups(modules: Sequence[nn.Module], groups: Sequence[Tensor]) -> Tensor:
    """Outputs (B, D) of the joint batch, given as groups that have BatchNorm statistics apart.

    Every rank passes its share of the groups, in one pass where BatchNorm alone looks beyond an
    image. The running statistics end as if one process had passed the groups one after the other.

    Args:
        modules: applied one after the other.
        groups: images (b, 3, H, W) each, the same on every rank; at least one for each rank.
    """
    own = ranks.mine(groups)
    keepers = [m for module in modules for m in module.modules() if _keeps_statistics(m)]
    passes = [own] if all(map(_has_groups, keepers)) else [(group,) for group in own]
    with _in_turn([m for m in keepers if isinstance(m, _BatchNorm)]):
        parts = [_outputs(modules, keepers, part) for part in passes]
    return ranks.gather(torch.cat(parts))


def _outputs(modules: Sequence[nn.Module], keepers: Sequence[Any], own: Sequence[Tensor]) -> Tensor:
    """Outputs of groups in one pass."""
    x = torch.cat(list(own))
    with _GroupNorm(keepers, [len(group) for group in own]):
        for module in modules:
            x = module(x)
    return x


class _GroupNorm(Replaced):
    """Inside it, a ``batch_norm`` that computes statistics computes some for each group of rows.

    Convolutions of a whole batch are faster than those of each group; BatchNorm is not.
    """

    def __init__(self, norms: Sequence[Any], sizes: Sequence[int]) -> None:
        super().__init__(F.batch_norm, self._batch_norm)
        self.norms = {id(norm.running_var): norm for norm in norms}
        self.sizes = sizes

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        *rest: Any,
        **more: Any,
    ) -> Tensor:
        each, over = divmod(len(x), sum(self.sizes))  # rows an image: each token may be a row
        apart = training and not over  # timm standardises weights, which are no images, by it too
        groups = torch.split(x, [each * size for size in self.sizes]) if apart else (x,)
        if id(running_var) in self.norms:
            self.norms[id(running_var)].num_batches_tracked.add_(len(groups) - 1)
        others = (running_mean, running_var, weight, bias, training, *rest)
        with _apart():
            return torch.cat([F.batch_norm(group, *others, **more) for group in groups])


@contextmanager
def _apart() -> Iterator[None]:
    _JointNorm.apart = True
    try:
        yield
    finally:
        _JointNorm.apart = False


@contextmanager
def _in_turn(norms: Sequence[Any]) -> Iterator[None]:
    """Join the running statistics that the ranks' passes inside the block leave.

    A pass moves a statistic r to (1−m)·r + m·s, so k passes move it to (1−m)ᵏ·r + c with a c that
    does not depend on r: each rank's c is read off and applied in the order of the ranks.
    """
    if ranks.world() == 1:
        yield
        return
    before = [_statistics(norm) for norm in norms]
    yield
    for norm, start in zip(norms, before, strict=True):
        moved = ranks.gather(_statistics(norm)[None])  # (W, 2C+1)
        joint = start.clone()
        for own in moved.detach():
            passes = own[-1] - start[-1]
            joint[:-1] = own[:-1] + (1 - norm.momentum) ** passes * (joint - start)[:-1]
            joint[-1] += passes
        mean, var, count = joint.tensor_split([len(norm.running_mean), len(joint) - 1])
        # ``data``, as the gradient does not depend on them; PyTorch's own kernel does the same.
        norm.running_mean.data.copy_(mean)
        norm.running_var.data.copy_(var)
        norm.num_batches_tracked.data.copy_(count[0])


def _keeps_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_var", None) is not None


def _has_groups(keeper: Any) -> bool:
    """Whether its statistics of one pass of groups are those of passes one after the other.

    Not those of other modules than BatchNorm, nor of one that averages all passes alike.
    """
    return isinstance(keeper, _BatchNorm) and keeper.momentum is not None


def _statistics(norm: Any) -> Tensor:
    """Running mean and variance and the number of passes, (2C+1,), a copy."""
    return torch.cat([norm.running_mean, norm.running_var, norm.num_batches_tracked[None].float()])
