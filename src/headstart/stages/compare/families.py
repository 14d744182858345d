"""The comparisons of a study, family by family, from predicted classes alone: no torch, no files.

Against the baseline at each label count; between the methods; over all label counts at once (the
area between label curves); and in labels saved. Every family has its own Holm correction; what
belongs to one family is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import inf, isfinite
from typing import Any, Literal, NamedTuple

import numpy as np

from headstart.arms import Arm
from headstart.results import AreaDifference, Comparison, LabelSaving, Spread
from headstart.stats.bootstrap import (
    Curves,
    Estimate,
    Resampling,
    curve_replicates,
    estimate,
    means_of_seeds,
)
from headstart.stats.hypotheses import chance_test, holm, mcnemar_midp
from headstart.stats.labels import area_difference, label_saving
from headstart.stats.metrics import confusion_matrix
from headstart.stats.mrmc import mrmc, paired_scores
from headstart.stats.power import Needs, images_needed, needs
from headstart.stats.spread import spread_of_repeats
from headstart.stats.verdict import LEVEL, Evidence, Verdict, judge
from headstart.types import Doubles, Ints

METRIC: Literal["balanced_accuracy"] = "balanced_accuracy"

Pair = tuple[Arm, Arm]


class Repeat(NamedTuple):
    """What two arms must share to be compared in pairs: a seed, and a draw of its labels."""

    seed: int
    draw: int = 0


class Key(NamedTuple):
    """One set of predictions: an arm, its seed, the share of labels it learned from, and which."""

    arm: Arm
    seed: int
    fraction: float
    draw: int = 0


@dataclass(frozen=True, eq=False)
class Judged:
    """Predicted classes of the same n test images: what every comparison is made of.

    ``y`` (n,) and each of ``predicted`` (n,) are class numbers; ``learned`` says whether a set of
    predictions beats chance; ``groups`` (n,) number the images that are resampled as one;
    ``labels`` are label counts by label fraction, where known; ``blocked`` gives, by arm and label
    fraction, the reasons why it may not be judged; ``validation`` is the balanced accuracy on
    validation by which settings were chosen, a share, where known.
    """

    y: Ints
    predicted: Mapping[Key, Ints]
    learned: Mapping[Key, bool]
    groups: Ints | None = None
    labels: Mapping[float, int] = field(default_factory=dict)
    blocked: Mapping[tuple[Arm, float], tuple[str, ...]] = field(default_factory=dict)
    validation: Mapping[Key, float] = field(default_factory=dict)

    @property
    def arms(self) -> list[Arm]:
        """Every arm, in the order given."""
        return list(dict.fromkeys(key.arm for key in self.predicted))

    @property
    def fractions(self) -> list[float]:
        """Every label fraction, ascending."""
        return sorted({key.fraction for key in self.predicted})

    def repeats(self, fractions: Iterable[float], *arms: Arm) -> tuple[Repeat, ...]:
        """The seeds and draws for which all the arms have predictions at all the fractions."""
        wanted = [(arm, fraction) for arm in arms for fraction in fractions]
        drawn = any(fraction < 1 for _, fraction in wanted)
        every = sorted({Repeat(k.seed, k.draw if drawn else 0) for k in self.predicted})
        return tuple(
            t for t in every if all(self.key(a, t, f) in self.predicted for a, f in wanted)
        )

    def key(self, arm: Arm, repeat: Repeat, fraction: float) -> Key:
        """Where the predictions are: all labels can be drawn in one way only."""
        return Key(arm, repeat.seed, fraction, repeat.draw if fraction < 1 else 0)


@dataclass(frozen=True)
class Question:
    """The smallest difference that matters, the replicates, and what the answer holds for."""

    margin: float = 0.02
    replicates: int = 10_000
    scope: str = "this dataset, this backbone"


def beats_chance(y: Ints, predicted: Ints, classes: int, replicates: int) -> bool:
    """Whether predictions (n,) score above chance in balanced accuracy."""
    M = confusion_matrix(y, predicted, classes)
    return chance_test(M, METRIC, replicates).p < LEVEL


_Scored = dict[tuple[Arm, float], tuple[Doubles, Doubles]]
"""Replicates (B,) and a score a seed (S,) of an arm at a label fraction."""


class PairComparisons:
    """Answers questions about pairs of arms; every pair sees the same resamples."""

    def __init__(self, judged: Judged, question: Question) -> None:
        self.judged, self.question = judged, question
        self._scored: dict[tuple[Repeat, ...], _Scored] = {}

    def differences(self, asked: Iterable[tuple[Pair, float]]) -> list[Comparison]:
        """One family: pairs at label fractions, without those that share no seed there."""
        estimates = {
            (pair, fraction): self._estimate(pair, fraction)
            for pair, fraction in asked
            if self.judged.repeats([fraction], *pair)
        }
        corrected = _holm([e.p for e in estimates.values()])
        return [
            self._row(pair, fraction, e, p)
            for ((pair, fraction), e), p in zip(estimates.items(), corrected, strict=True)
        ]

    def areas(self, pairs: Sequence[Pair]) -> list[AreaDifference]:
        """One family: the pairs' differences over all label counts; none for a single count."""
        estimates = {}
        for pair in pairs:
            fractions = self._rising(pair)
            if len(fractions) > 1:
                curves = self._curves(pair, fractions)
                estimates[pair] = area_difference(fractions, curves)
        corrected = _holm([e.p for e in estimates.values()])
        return [
            self._area(pair, e, p)
            for (pair, e), p in zip(estimates.items(), corrected, strict=True)
        ]

    def savings(self, pairs: Sequence[Pair]) -> list[LabelSaving]:
        """Labels saved at every count but the largest, by arms that learned and may be judged."""
        return [
            self._saving(pair, fractions, i)
            for pair in pairs
            for fractions in [self._rising(pair)]
            for i in range(len(fractions) - 1)
            if self.judged.labels
            and not self._reasons(pair, fractions)
            and all(self._learned(arm, pair, fractions[i : i + 1]) for arm in pair)
        ]

    def _rising(self, pair: Pair) -> list[float]:
        """The label fractions that both arms have, without those that add no label."""
        judged, kept = self.judged, list[float]()
        for fraction in judged.fractions:
            more = not kept or self._labels(fraction) > self._labels(kept[-1])
            if more and judged.repeats([*kept, fraction], *pair):
                kept.append(fraction)
        return kept

    def _labels(self, fraction: float) -> float:
        """Labels spent; where unknown the share, which spans the same distance in ln n."""
        return self.judged.labels.get(fraction, fraction)

    def _curves(self, pair: Pair, fractions: Sequence[float]) -> Curves:
        """The scores of two arms at some label fractions, on the repeats they share there."""
        scored = self._scores(self.judged.repeats(fractions, *pair))
        replicates = np.stack([[scored[arm, f][0] for f in fractions] for arm in pair])
        per_seed = np.stack([[scored[arm, f][1] for f in fractions] for arm in pair])
        return Curves(per_seed.mean(axis=-1), replicates.transpose(0, 2, 1), per_seed)

    def _scores(self, repeats: tuple[Repeat, ...]) -> _Scored:
        """The scores of everything that has these repeats, drawn once."""
        if repeats not in self._scored:
            judged = self.judged
            cells = [
                (arm, fraction)
                for fraction in judged.fractions
                for arm in judged.arms
                if all(judged.key(arm, t, fraction) in judged.predicted for t in repeats)
            ]
            answers = np.stack([[self._predicted(*cell, repeats)] for cell in cells])
            numbers = seed_numbers(repeats)
            plan = Resampling(self.question.replicates, 0, judged.groups, numbers)
            curves = curve_replicates(judged.y, answers, METRIC, plan)
            self._scored[repeats] = {
                cell: (curves.replicates[i, :, 0], curves.per_seed[i, 0])
                for i, cell in enumerate(cells)
            }
        return self._scored[repeats]

    def _predicted(self, arm: Arm, fraction: float, repeats: Sequence[Repeat]) -> Ints:
        """Predicted classes (R, n)."""
        judged = self.judged
        return np.stack([judged.predicted[judged.key(arm, t, fraction)] for t in repeats])

    def _estimate(self, pair: Pair, fraction: float) -> Estimate:
        curves = self._curves(pair, [fraction])
        gaps = curves.replicates[0, :, 0] - curves.replicates[1, :, 0]
        return estimate(gaps, curves.per_seed[0, 0] - curves.per_seed[1, 0])

    def _row(self, pair: Pair, fraction: float, e: Estimate, p_holm: float) -> Comparison:
        judged, repeats = self.judged, self.judged.repeats([fraction], *pair)
        a, b = (self._predicted(arm, fraction, repeats) for arm in pair)
        gains = paired_scores(judged.y, a, b)  # (R, n)
        needed = _needs(gains, repeats, self.question.margin)
        only = _discordant(judged.y, a[0], b[0]) if len(repeats) == 1 else None
        return Comparison(
            fraction=fraction,
            verdict=self._judge(pair, [fraction], e, p_holm),
            discordant=only,
            p_mcnemar=mcnemar_midp(*only) if only else None,
            images_needed=needed.images,
            seeds_needed=needed.seeds,
            spread=_spread(gains, repeats),
            **self._numbers(pair, [fraction], e, p_holm),
        )

    def _numbers(
        self, pair: Pair, fractions: Sequence[float], e: Estimate, p_holm: float
    ) -> dict[str, Any]:
        """What every kind of difference holds."""
        repeats = self.judged.repeats(fractions, *pair)
        return {
            "arm_a": pair[0],
            "arm_b": pair[1],
            "metric": METRIC,
            "difference": e.difference,
            "low": e.low,
            "high": e.high,
            "p": e.p,
            "p_holm": p_holm,
            "seeds": len({t.seed for t in repeats}),
            "label_draws": len({t.draw for t in repeats}),
            "n": int(self.judged.y.size),
            "low90": e.low90,
            "high90": e.high90,
            "margin": self.question.margin,
            "reasons": self._reasons(pair, fractions),
            "scope": self.question.scope,
        }

    def _area(self, pair: Pair, e: Estimate, p_holm: float) -> AreaDifference:
        fractions = self._rising(pair)
        return AreaDifference(
            fractions=tuple(fractions),
            verdict=self._judge(pair, fractions, e, p_holm),
            **self._numbers(pair, fractions, e, p_holm),
        )

    def _saving(self, pair: Pair, fractions: Sequence[float], place: int) -> LabelSaving:
        counts = [self._labels(f) for f in fractions]
        saving = label_saving(counts, self._curves(pair, fractions), place)
        return LabelSaving(
            arm_a=pair[0],
            arm_b=pair[1],
            fraction=fractions[place],
            labels=saving.labels,
            needed=_known(saving.needed),
            low=_known(saving.low),
            high=_known(saving.high),
            censored=_censored(saving.needed),
            low_censored=_censored(saving.low),
            high_censored=_censored(saving.high),
            smallest=saving.smallest,
            largest=saving.largest,
            quotable=saving.quotable,
            seeds=len({t.seed for t in self.judged.repeats(fractions, *pair)}),
            n=int(self.judged.y.size),
        )

    def _judge(
        self,
        pair: Pair,
        fractions: Sequence[float],
        e: Estimate,
        p_holm: float,
    ) -> Verdict:
        return judge(
            Evidence(
                difference=e.difference,
                low=e.low,
                high=e.high,
                low90=e.low90,
                high90=e.high90,
                p_holm=p_holm,
                margin=self.question.margin,
                learned_a=self._learned(pair[0], pair, fractions),
                learned_b=self._learned(pair[1], pair, fractions),
                failed_gates=self._reasons(pair, fractions),
            )
        )

    def _learned(self, arm: Arm, pair: Pair, fractions: Sequence[float]) -> bool:
        """Whether an arm beats chance in most of the repeats compared, at some fraction."""
        judged = self.judged
        shared = judged.repeats(fractions, *pair)
        beats = [[judged.learned[judged.key(arm, t, f)] for t in shared] for f in fractions]
        return any(sum(found) * 2 > len(found) for found in beats)

    def _reasons(self, pair: Pair, fractions: Sequence[float]) -> tuple[str, ...]:
        """Why a pair may not be judged at these label fractions, each reason once."""
        cells = [(arm, fraction) for arm in pair for fraction in fractions]
        blocked = self.judged.blocked
        return tuple(dict.fromkeys(why for cell in cells for why in blocked.get(cell, ())))


def against(arms: Iterable[Arm], baseline: Arm) -> list[Pair]:
    """Each arm with the baseline."""
    return [(arm, baseline) for arm in arms if arm != baseline]


def between(arms: Iterable[Arm]) -> list[Pair]:
    """Every two arms, once."""
    return list(combinations(arms, 2))


def _holm(p: Sequence[float]) -> list[float]:
    return [float(value) for value in holm(p)] if p else []


def seed_numbers(repeats: Sequence[Repeat]) -> Ints:
    """Which repeats are one unit, (R,): those of a seed; with one seed each is a unit itself."""
    seeds = sorted({t.seed for t in repeats})
    if len(seeds) == 1:
        return np.arange(len(repeats))
    return np.array([seeds.index(t.seed) for t in repeats], dtype=np.int64)


def _needs(gains: Doubles, repeats: Sequence[Repeat], margin: float) -> Needs:
    """What would have shown the margin; one seed says nothing about other seeds."""
    by_seed = means_of_seeds(seed_numbers(repeats), len(gains)) @ gains  # (S, n)
    if len(by_seed) == 1:
        return Needs(images_needed(margin, float(np.mean(by_seed**2))), None)
    needed = needs(mrmc(by_seed), margin)
    return needed if len({t.seed for t in repeats}) > 1 else replace(needed, seeds=None)


def _spread(gains: Doubles, repeats: Sequence[Repeat]) -> Spread | None:
    """How the difference varies from seed to seed and from draw to draw; None for one repeat."""
    if len(repeats) == 1:
        return None
    seeds = [t.seed for t in repeats]
    found = spread_of_repeats(gains.mean(axis=1), np.array(seeds))
    return Spread(seeds=_known_spread(found.seeds), label_draws=_known_spread(found.draws))


def _known_spread(value: float) -> float | None:
    return value if isfinite(value) else None


def _discordant(y: Ints, a: Ints, b: Ints) -> tuple[int, int]:
    right_a, right_b = a == y, b == y
    return int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())


def _known(labels: float) -> float | None:
    return float(labels) if labels > 0 and isfinite(labels) else None


def _censored(labels: float) -> Literal["below", "above"] | None:
    if labels == 0:
        return "below"
    return "above" if labels == inf else None
