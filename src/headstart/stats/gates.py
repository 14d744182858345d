"""The gates: what must hold before a comparison may be believed.

Each function judges numbers that were gathered elsewhere and says PASS, FAIL or NOT RUN with one
clause why. A FAIL blocks the verdict of the arms it concerns; only G8 (an arm that learned
nothing) is a finding and no fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.stats.hypotheses import chance_test
from headstart.stats.metrics import confusion_matrix
from headstart.types import Doubles, Ints

PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT RUN"
NAMES = {
    "G1": "test images apart from training",
    "G2": "scores do not depend on the batch",
    "G3": "same preprocessing",
    "G4": "same starting weights",
    "G5": "same head and tuning budget",
    "G6": "learning rate as intended",
    "G7": "no collapse",
    "G8": "beats guessing",
    "G9": "shuffled labels stay at chance",
    "G10": "trained until it stopped improving",
}
FINDINGS = ("G8",)
"""A FAIL here says what was found, not that the comparison is broken."""

DRIFT = 1e-3  # of the logits' standard deviation
SAME_ARGMAX = 0.999
FINAL_SHARE = 0.05  # of the peak learning rate, where a cosine ends
ENOUGH_READINGS = 20
# A gate that stops everything must not cry wolf: one false alarm in a thousand, not in twenty.
SHUFFLE_LEVEL = 1e-3
SHUFFLE_TABLES = 10_000


class GateResult(NamedTuple):
    """A result, one of PASS, FAIL and NOT RUN, and one clause why."""

    result: str
    reason: str


@dataclass(frozen=True)
class Gate:
    """One gate's answer; ``arm`` is None (the whole study), a method, or ``method/protocol``, and
    ``fraction`` the label fraction it speaks of, or None (all of them).
    """

    gate: str
    name: str
    arm: str | None
    result: str
    reason: str
    fraction: float | None = None

    @classmethod
    def of(
        cls, gate: str, arm: str | None, said: GateResult, fraction: float | None = None
    ) -> Gate:
        """The row of gate ``gate``."""
        return cls(gate, NAMES[gate], arm, *said, fraction)


def blocking(gates: Iterable[Gate], *names: str, fraction: float) -> tuple[str, ...]:
    """Why a comparison with an arm at a label fraction may not be judged; empty if it may.

    ``names`` are those under which gates speak of the arm: its own and its method's.
    """
    concerned = (None, *names)
    return tuple(
        f"{g.reason} ({g.gate}, {g.name})"
        for g in gates
        if g.result == FAIL and g.gate not in FINDINGS and g.arm in concerned
        if g.fraction in (None, fraction)
    )


def disjoint(test: npt.ArrayLike, trained: Mapping[str, npt.ArrayLike]) -> GateResult:
    """G1: no test image's key (digest or group number) among the keys of what was trained on.

    ``trained`` holds one array of keys for each part, by the part's name.
    """
    keys = np.asarray(test)
    if not keys.size:
        return GateResult(NOT_RUN, "there are no test images")
    shared = {name: int(np.isin(keys, part).sum()) for name, part in trained.items()}
    found = [f"{n} in {name}" for name, n in shared.items() if n]
    if found:
        return GateResult(FAIL, f"test images are also trained on: {', '.join(found)}")
    seen = sum(np.asarray(part).size for part in trained.values())
    return GateResult(PASS, f"{keys.size:,} test images, none among {seen:,} others")


def batch_invariant(reference: npt.ArrayLike, asked: Mapping[str, npt.ArrayLike]) -> GateResult:
    """G2: the logits (N, C) that were judged, against the same images in other batches.

    ``asked`` holds logits (M, C) of the first M ≤ N images for each way to batch them. All must
    lie within 1e-3 standard deviations of the reference, with the same class for 99.9 % of the
    images; where the two best classes are nearer than that, either will do.
    """
    logits = np.asarray(reference, float)
    spread = max(float(logits.std()), 1e-2)  # constant logits have none, and float32 still rounds
    allowed = DRIFT * spread
    worst = 0.0
    for name, other in asked.items():
        again = np.asarray(other, float)
        judged = logits[: len(again)]
        drift = float(np.abs(again - judged).max(initial=0.0))
        same = _same_class(judged, again, allowed)
        if not (drift <= allowed and same >= SAME_ARGMAX):
            return GateResult(
                FAIL,
                f"the score of an image depends on the others in its batch: {name} moves logits "
                f"by up to {drift / spread:.2g} standard deviations, and "
                f"{100 * (1 - same):.3g} % of the answers change",
            )
        worst = max(worst, drift / spread)
    return GateResult(
        PASS, f"largest change {worst:.1g} standard deviations over {len(logits)} images"
    )


def _same_class(a: Doubles, b: Doubles, tie: float) -> float:
    if a.shape[1] < 2 or not len(a):
        return 1.0
    best = np.sort(a, axis=1)
    tied = best[:, -1] - best[:, -2] <= tie
    return float(((a.argmax(axis=1) == b.argmax(axis=1)) | tied).mean())


def same(values: Mapping[str, str], what: str) -> dict[str, GateResult]:
    """G3, G4, G5: every arm has the value that most arms have (of equals, the first named).

    ``what`` names the value in the reasons.
    """
    if len(values) < 2:
        return {arm: GateResult(NOT_RUN, "there is no other arm to compare with") for arm in values}
    common, count = Counter(values.values()).most_common(1)[0]
    return {
        arm: GateResult(PASS, f"{what}: {_short(value)} for {count} of {len(values)} arms")
        if value == common
        else GateResult(FAIL, f"{what}: {_short(value)} here, {_short(common)} for the others")
        for arm, value in values.items()
    }


def _short(value: str) -> str:
    """A hash shortened to its first characters."""
    return value[:12] if len(value) == 64 and set(value) <= set("0123456789abcdef") else value


def learning_rate(
    applied: Sequence[float],
    intended: Sequence[float],
    *,
    cosine: bool = True,
    finished: bool = True,
    final_share: float = FINAL_SHARE,
) -> GateResult:
    """G6: the learning rates (T,) read during a run against what the schedule meant to apply.

    Beside agreeing, they rise to one peak and never rise again; a finished cosine of 20 readings
    or more ends at ``final_share`` of the peak or below.
    """
    rates, wanted = np.asarray(applied, float), np.asarray(intended, float)
    if not rates.size:
        return GateResult(NOT_RUN, "no learning rate was read")
    peak, slack = float(rates.max()), 1e-6 * float(max(rates.max(), wanted.max(), 0.0))
    if peak <= 0 or not np.isfinite(rates).all():
        return GateResult(FAIL, "the learning rate was never above 0")
    top = int(rates.argmax())
    if (np.diff(rates[: top + 1]) < -slack).any() or (np.diff(rates[top:]) > slack).any():
        return GateResult(FAIL, "the learning rate does not rise to one peak and fall from it")
    end = float(rates[-1]) / peak
    if cosine and finished and rates.size >= ENOUGH_READINGS and end > final_share + 1e-9:
        return GateResult(FAIL, f"the learning rate ends at {100 * end:.0f} % of its peak")
    off = float(np.abs(rates - wanted).max())
    if off > slack:
        return GateResult(
            FAIL, f"the learning rate applied differs from the one meant by {off:.3g}"
        )
    return GateResult(PASS, f"peak {peak:.3g}, last {rates[-1]:.3g} over {rates.size} readings")


def collapse(
    healthy: Sequence[int], lost: Mapping[int, str], ignored: Mapping[int, str]
) -> GateResult:
    """G7: seeds that ended well, seeds that were stopped, and seeds that went on collapsed.

    ``lost`` and ``ignored`` give the reason by seed. A lost seed is in no comparison, so it
    fails the gate only when none is left; one that went on is in all of them.
    """
    reasons = [f"seed {seed}: {_first(why)}" for seed, why in {**lost, **ignored}.items()]
    if ignored or not healthy:
        return GateResult(FAIL, "pretraining collapsed or failed: " + "; ".join(reasons))
    ended = f"{len(healthy)} of {len(healthy) + len(lost)} seeds ended healthy"
    left_out = f"; left out: {'; '.join(reasons)}" if reasons else ""
    return GateResult(PASS, ended + left_out)


def _first(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def beats_chance(by_fraction: Mapping[float, Sequence[bool]]) -> GateResult:
    """G8: whether most seeds beat chance at every label fraction."""
    weak = [f for f, seeds in by_fraction.items() if 2 * sum(seeds) <= len(seeds)]
    if weak:
        named = ", ".join(f"{100 * f:.3g} %" for f in sorted(weak))
        return GateResult(FAIL, f"no better than guessing at {named} of the labels")
    return GateResult(PASS, f"balanced accuracy above chance at {len(by_fraction)} label counts")


def label_shuffle(y: Ints, predicted: Mapping[str, Ints], classes: int) -> GateResult:
    """G9: probes fitted on shuffled labels, asked for test labels (n,) shuffled likewise.

    Given the answers every order of ``y`` is as likely as any other, so the test against tables
    of the same margins is exact, however much the images of a class look alike. An image that
    was fitted on is remembered, and that shows.
    """
    if not predicted:
        return GateResult(NOT_RUN, "no linear head was fitted")
    tests = {
        name: chance_test(confusion_matrix(y, answers, classes), replicates=SHUFFLE_TABLES)
        for name, answers in predicted.items()
    }
    name, worst = min(tests.items(), key=lambda item: item[1].p)
    ends = f"{100 * worst.low:.1f} to {100 * worst.high:.1f} %"
    score = f"{100 * worst.observed:.1f} % (chance {ends}) on {name}"
    if worst.p < SHUFFLE_LEVEL / len(tests):
        return GateResult(FAIL, f"a head fitted on shuffled labels knows test labels: {score}")
    return GateResult(PASS, f"at most {score}")


def converged(seeds: Mapping[int, bool], what: str, cap: int) -> GateResult:
    """G10: whether longer training was seen to help no more, by seed.

    ``what`` says which arm with how many labels, ``cap`` how many times the base length a trial
    may grow to.
    """
    late = [str(seed) for seed, ended in seeds.items() if not ended]
    if not late:
        return GateResult(PASS, f"{what} stopped improving on validation")
    return GateResult(
        FAIL,
        f"{what} had not converged: still improving on validation, or its training images not "
        f"learned, after {cap} times the base length (seed {', '.join(late)}); set "
        f"classify.finetune.max_lengthening={2 * cap}",
    )
