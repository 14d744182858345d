"""The watch over a pretraining run: has the representation collapsed, and what to change.

The literature gives reference points (the 1/√d line of SimSiam, a rank), no universal cut-offs.
The numbers in ``Thresholds`` are this project's calibrated choices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, isfinite

HEALTH = ("healthy", "collapsed", "not a number", "dead", "dimensional", "shortcut")
STOPS = ("collapsed", "not a number", "dead")


@dataclass(frozen=True)
class Thresholds:
    """When a check counts as bad. Every default is our calibrated choice, not a published value."""

    checks: int = 3
    """Consecutive bad checks before anything but a broken number is said."""
    std_ratio: float = 0.1
    """Complete collapse below this."""
    mean_cosine: float = 0.99
    """Complete collapse above this."""
    rankme: float = 1.5
    """Complete collapse below this."""
    floor_gap: float = 1e-3
    """The loss is at its trivial value when nearer to it than this ..."""
    floor_std_ratio: float = 0.3
    """... which counts only while the std ratio is below this: a loss may end there honestly."""
    rank_least: float = 4.0
    """Dimensional collapse below this effective rank, or below the number of classes,"""
    rank_class_cap: float = 0.5
    """of which no more is asked than this share of the largest rank possible, min(N − 1, d),"""
    rank_share: float = 0.05
    """or below this share of it,"""
    rank_drop: float = 0.75
    """or when it fell by more than this share from its highest value;"""
    late: float = 0.5
    """and only after this share of the run,"""
    least_steps: int = 1000
    """and after so many steps: before, healthy runs have low ranks and know nothing yet;"""
    knn_gain: float = 0.1
    """and only while k-NN has gained less than this share of the way from random weights to 1,"""
    knn_drop: float = 0.1
    """or has fallen by more than this share from its highest value."""
    loss_fall: float = 0.1
    """The pretext task is being solved once the loss fell by this share of max(1, |first|)."""


@dataclass(frozen=True)
class Check:
    """What is measured at one check of a run.

    ``loss`` and ``grad_norm`` (before clipping) belong to the latest step; ``std_ratio``,
    ``mean_cosine``, ``rankme`` and ``effective_rank`` to the projector's outputs on ``probe_size``
    images, ``dimension`` wide. ``loss_floor`` is the loss of a constant output (SimSiam −1, BYOL 0,
    SimCLR ln(2B − 1), MoCo ln(1 + K)), ``knn`` the validation accuracy of a k-NN on the encoder and
    ``knn_random`` that of the same encoder with random weights; None where there is none.
    ``classes`` is 0 without labels.
    """

    step: int
    loss: float
    std_ratio: float
    mean_cosine: float
    rankme: float
    effective_rank: float
    dimension: int
    probe_size: int
    classes: int = 0
    grad_norm: float | None = None
    loss_floor: float | None = None
    knn: float | None = None
    knn_random: float | None = None

    @property
    def largest_rank(self) -> int:
        """The effective rank cannot exceed this: min(N − 1, d)."""
        return min(self.probe_size - 1, self.dimension)


@dataclass(frozen=True)
class Health:
    """A verdict of ``HEALTH``, which measure says so with its value, and what to change."""

    verdict: str
    reason: str
    advice: str = ""
    doubtful: bool = False
    """Healthy so far, with a bad check that more of its kind would make a collapse."""

    @property
    def stop(self) -> bool:
        """Whether going on would be a waste: collapsed, not a number, or dead."""
        return self.verdict in STOPS


ADVICE = {
    "collapsed": (
        "Likely cause: a learning rate made for LARS or for a larger batch, a batch too small for "
        "BatchNorm, or a missing stop-gradient or predictor. Use SGD at 0.05·B/256 or AdamW at "
        "1e-3·B/256 with 10 epochs of warm-up, and a batch of 64 or more."
    ),
    "not a number": (
        "Likely cause: half-precision overflow or too large a step. Compute the loss in fp32 or "
        "bf16, clip the gradient norm at 1.0, and lower the learning rate."
    ),
    "dead": (
        "Likely cause: the units died after too large a step, or the loss is cut off from the "
        "encoder. Lower the learning rate, and start again from the last healthy checkpoint."
    ),
    "dimensional": (
        "Likely cause: too few steps or images to learn from, augmentation too weak, or too much "
        "weight decay. Train longer first; if k-NN still stays, strengthen crop and colour jitter, "
        "exclude BatchNorm and biases from weight decay, keep BatchNorm in the projector."
    ),
    "shortcut": (
        "Likely cause: the two views share a cue that solves the task, such as colour, a border or "
        "a watermark. Strengthen colour jitter and crop, and look at the views."
    ),
}


@dataclass(frozen=True)
class CollapseWatch:
    """The state of the watch; ``update`` returns the next one. Plain values, fit for a checkpoint.

    Nothing but a broken number is judged before ``warmup_steps``, since a fresh projector may look
    collapsed: max(2 epochs, learning-rate warm-up) is meant.
    """

    warmup_steps: int = 0
    total_steps: int = 0
    """Steps of the whole run; 0 where they are not known."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    constant: int = 0
    at_floor: int = 0
    flat: int = 0
    low_rank: int = 0
    peak_rank: float = 0.0
    peak_knn: float = 0.0
    first_loss: float | None = None

    def update(self, check: Check) -> tuple[CollapseWatch, Health]:
        """Take one check in; return the watch that has seen it, and the run's health."""
        broken = _broken(check)
        if broken is not None:
            return self, broken
        watch = replace(self, first_loss=check.loss) if self.first_loss is None else self
        if check.step < self.warmup_steps:
            return watch, Health("healthy", "warming up, not judged yet")
        watch = watch._count(check)
        return watch, watch._judge(check)

    def _count(self, check: Check) -> CollapseWatch:
        low = self._low_rank(check) and self._knn_agrees(check)
        return replace(
            self,
            low_rank=self.low_rank + 1 if low else 0,
            peak_knn=max(self.peak_knn, check.knn or 0.0),
            constant=self.constant + 1 if self._constant(check) else 0,
            at_floor=self.at_floor + 1 if self._at_floor(check) else 0,
            flat=self.flat + 1 if self._flat(check) else 0,
            peak_rank=max(self.peak_rank, check.effective_rank),
        )

    def _judge(self, check: Check) -> Health:
        wanted = self.thresholds.checks
        streak = max(self.constant, self.at_floor)
        sign = self._constant(check) if self.constant >= self.at_floor else self._at_floor(check)
        if streak >= wanted:
            return _bad("collapsed", f"{sign} on {streak} checks in a row")
        if self.flat >= wanted:
            return _bad("shortcut", f"pretext solved, k-NN flat: {self._flat(check)}")
        if self.low_rank >= wanted:
            found = f"{self._low_rank(check)} on {self.low_rank} checks in a row"
            return _bad("dimensional", f"{found}, and {self._knn_agrees(check)}")
        if streak:
            reason = f"{sign}: check {streak} of the {wanted} that would stop"
            return Health("healthy", reason, doubtful=True)
        return Health("healthy", _summary(check))

    def _constant(self, check: Check) -> str:
        """Which measure calls the outputs one constant, or nothing."""
        t = self.thresholds
        if check.std_ratio < t.std_ratio:
            return f"std ratio {check.std_ratio:.3g} < {t.std_ratio:g}"
        if check.mean_cosine > t.mean_cosine:
            return f"mean cosine {check.mean_cosine:.4f} > {t.mean_cosine:g}"
        if check.rankme < t.rankme:
            return f"RankMe {check.rankme:.3g} < {t.rankme:g}"
        return ""

    def _at_floor(self, check: Check) -> str:
        t = self.thresholds
        gap = inf if check.loss_floor is None else abs(check.loss - check.loss_floor)
        if gap >= t.floor_gap or check.std_ratio >= t.floor_std_ratio:
            return ""
        return (
            f"loss {check.loss:.4f} at its trivial value {check.loss_floor:.4f} with std ratio "
            f"{check.std_ratio:.3g} < {t.floor_std_ratio:g}"
        )

    def _low_rank(self, check: Check) -> str:
        """In what the rank is low, or nothing; early in a run nothing is."""
        t, rank, most = self.thresholds, check.effective_rank, check.largest_rank
        if not self._late(check):
            return ""
        least = max(t.rank_least, min(check.classes, t.rank_class_cap * most), t.rank_share * most)
        if rank < min(least, most):
            return f"effective rank {rank:.1f} < {min(least, most):.1f} of at most {most}"
        if rank < (1 - t.rank_drop) * self.peak_rank:
            return f"effective rank {rank:.1f} fell from {self.peak_rank:.1f}"
        return ""

    def _knn_agrees(self, check: Check) -> str:
        """What k-NN says against the encoder, or nothing: a low rank alone harms nobody."""
        t, knn, before = self.thresholds, check.knn, check.knn_random
        if knn is None or before is None:
            return "k-NN was not asked"
        if knn < before + t.knn_gain * (1 - before):
            return f"k-NN {knn:.3f} is hardly above random weights ({before:.3f})"
        if knn < (1 - t.knn_drop) * self.peak_knn:
            return f"k-NN {knn:.3f} fell from {self.peak_knn:.3f}"
        return ""

    def _late(self, check: Check) -> bool:
        """Whether so much was trained that learning nothing means something."""
        t = self.thresholds
        return check.step >= max(t.late * self.total_steps, t.least_steps)

    def _flat(self, check: Check) -> str:
        """That the task is solved and k-NN no better for it, or nothing."""
        if check.knn is None or check.knn_random is None or check.knn > check.knn_random:
            return ""
        if not self._late(check):
            return ""
        first = check.loss if self.first_loss is None else self.first_loss
        if first - check.loss < self.thresholds.loss_fall * max(1.0, abs(first)):
            return ""
        return (
            f"loss fell from {first:.3f} to {check.loss:.3f}, k-NN {check.knn:.3f} is "
            f"not above random weights ({check.knn_random:.3f})"
        )


def _bad(verdict: str, reason: str) -> Health:
    return Health(verdict, reason, ADVICE[verdict])


def _broken(check: Check) -> Health | None:
    """What needs no second check: a value that is not finite, or a gradient of exactly zero."""
    names = ("loss", "grad_norm", "std_ratio", "mean_cosine", "rankme", "effective_rank")
    for name in names:
        value = getattr(check, name)
        if value is not None and not isfinite(value):
            return _bad("not a number", f"{name.replace('_', ' ')} is {value} at step {check.step}")
    if check.grad_norm == 0:
        return _bad("dead", f"gradient norm is 0 at step {check.step}")
    return None


def _summary(check: Check) -> str:
    return (
        f"std ratio {check.std_ratio:.2f}, mean cosine {check.mean_cosine:.2f}, effective rank "
        f"{check.effective_rank:.1f} of at most {check.largest_rank}"
    )
