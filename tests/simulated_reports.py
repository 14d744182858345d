"""Whole reports of a world where every arm is equally good, to count what is called better.

``python tests/simulated_reports.py --reports 200`` prints the table of
docs/verdicts.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from headstart.arms import BASELINE, COMPARED, Arm
from headstart.stages.compare.families import Judged, Key
from headstart.stats.bootstrap import BLOCK, _draw, estimate
from headstart.stats.hypotheses import holm
from headstart.stats.verdict import LEVEL

METHODS = ("simclr", "moco", "byol", "simsiam")
SIZES = (90, 70, 50, 40, 30, 25, 20, 15, 10, 10)
"""Test images by class: 360 in all, the largest class nine times the smallest."""


@dataclass(frozen=True)
class EqualArms:
    """A study in which no arm is better than another.

    An answer is right if a latent score is above 0. The score adds, in standard deviations of its
    own normal: the image (``image``, the same for all arms), the image as one trained encoder sees
    it (``encoder``: a method and seed, at every fraction, under every protocol), the image as one
    classifier sees it (what is left of variance 1), and the luck of an encoder (``luck``), of one
    of its classes (``class_luck``), of a classifier (``own_luck``) and of a label draw, which all
    arms share. With ``seeds`` 1 there is no luck: a report of one seed speaks of "these weights",
    and the weights themselves are then equally good in expectation over images.
    """

    seeds: int = 3
    fractions: tuple[float, ...] = (0.1, 0.3, 1.0)
    accuracy: tuple[float, ...] = (0.55, 0.65, 0.75)
    image: float = 0.7
    encoder: float = 0.4
    luck: float = 0.06
    class_luck: float = 0.08
    own_luck: float = 0.05

    def with_luck(self, times: float) -> EqualArms:
        """The same with so many times the spread of the seeds."""
        return replace(
            self,
            luck=times * self.luck,
            class_luck=times * self.class_luck,
            own_luck=times * self.own_luck,
        )

    def report(self, seed: int) -> Judged:
        """The predictions of one simulated study."""
        rng = np.random.default_rng(seed)
        y = np.repeat(np.arange(len(SIZES)), SIZES)
        wrong = (y + rng.integers(1, len(SIZES), y.size)) % len(SIZES)  # what it is taken for
        image = self.image * rng.standard_normal(y.size)
        predicted = {}
        for s in range(self.seeds):
            draws = self._luck(rng, 0.08, len(self.fractions))
            for method in ("supervised", *METHODS):
                protocols = [BASELINE.protocol] if method == "supervised" else COMPARED
                seen = image + self._encoder(rng, y)
                for f, accuracy, labels in zip(self.fractions, self.accuracy, draws, strict=True):
                    for protocol in protocols:
                        right = self._right(rng, seen + labels, accuracy)
                        found = np.where(right, y, self._mistaken(rng, y, wrong))
                        predicted[Key(Arm(method, protocol), s, f)] = found
        return Judged(y, predicted, dict.fromkeys(predicted, True))

    def _luck(self, rng: np.random.Generator, spread: float, size: int) -> np.ndarray:
        return spread * rng.standard_normal(size) * (self.seeds > 1)

    def _encoder(self, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        luck = self._luck(rng, self.luck, 1) + self._luck(rng, self.class_luck, len(SIZES))[y]
        return luck + self.encoder * rng.standard_normal(y.size)

    def _right(self, rng: np.random.Generator, seen: np.ndarray, accuracy: float) -> np.ndarray:
        rest = np.sqrt(1 - self.image**2 - self.encoder**2)
        score = seen + self._luck(rng, self.own_luck, 1) + rest * rng.standard_normal(seen.size)
        return score + special.ndtri(accuracy) > 0

    @staticmethod
    def _mistaken(rng: np.random.Generator, y: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        other = (y + rng.integers(1, len(SIZES), y.size)) % len(SIZES)
        return np.where(rng.random(y.size) < 0.6, wrong, other)


@dataclass(frozen=True)
class Row:
    """A candidate's comparison with supervised training at a label fraction."""

    arm: Arm
    fraction: float
    difference: float
    p: float

    @property
    def protocol(self) -> str:
        """How its encoder became a classifier."""
        return self.arm.protocol


def rows(judged: Judged, replicates: int) -> Iterator[Row]:
    """What ``findings`` compares with the baseline, uncorrected, some thirty times as fast.

    Resamples within class keep the class sizes, so balanced accuracy is a weighted mean of hits.
    A test holds these p-values equal to those of ``findings``.
    """
    arms, fractions = judged.arms, judged.fractions
    repeats = judged.repeats(fractions, *arms)
    cells = [(arm, f) for f in fractions for arm in arms]
    hits = np.array(
        [[judged.predicted[judged.key(a, t, f)] == judged.y for t in repeats] for a, f in cells]
    )
    weights = 1 / (len(SIZES) * np.bincount(judged.y)[judged.y])
    per_seed = hits @ weights
    scored = dict(
        zip(
            cells,
            zip(per_seed, _replicates(hits * weights, judged, replicates), strict=True),
            strict=True,
        )
    )
    for arm, fraction in cells:
        if arm != BASELINE:
            ours, theirs = scored[arm, fraction], scored[BASELINE, fraction]
            found = estimate(ours[1] - theirs[1], ours[0] - theirs[0])
            yield Row(arm, fraction, found.difference, found.p)


def _replicates(shares: np.ndarray, judged: Judged, replicates: int) -> np.ndarray:
    """Balanced accuracy (cells, B) in resamples; ``shares`` (cells, seeds, n) sum to it."""
    cells, seeds, n = shares.shape
    rng, blocks = np.random.default_rng(0), []
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        drawn = _draw(rng, np.zeros(seeds, np.int64), size) / seeds
        images = _draw(rng, judged.y, size)
        scores = (shares.reshape(-1, n) @ images).reshape(cells, seeds, size)
        blocks.append((scores * drawn).sum(axis=1))
    return np.concatenate(blocks, axis=1)


def false_betters(found: list[Row]) -> dict[str, bool]:
    """Whether a report of equal arms calls any better, by what is corrected together."""
    main = [row for row in found if row.protocol == COMPARED[0]]
    rest = [row for row in found if row.protocol != COMPARED[0]]
    each = [
        [row for row in found if (row.protocol, row.fraction) == family]
        for family in {(row.protocol, row.fraction) for row in found}
    ]
    headline = _better(main, main)
    return {
        "one": any(row.p < LEVEL and row.difference > 0 for row in found[:1]),
        "each protocol and fraction": any(_better(family, family) for family in each),
        "main protocol, the others": headline or _better(rest, rest),
        "main protocol, the others over all": headline or _better(rest, found),
        "as it is": _better(found, found),
    }


def _better(rows: list[Row], among: list[Row]) -> bool:
    corrected = dict(zip(map(id, among), holm([row.p for row in among]), strict=True))
    return any(corrected[id(row)] < LEVEL and row.difference > 0 for row in rows)


def main() -> None:
    """Print one line a number of seeds, in per cent of reports."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--reports", type=int, default=400)
    asked.add_argument("--replicates", type=int, default=2000)
    asked.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 5])
    asked.add_argument("--luck", type=float, default=1.0, help="times the spread of seeds")
    given = asked.parse_args()
    for seeds in given.seeds:
        world = EqualArms(seeds=seeds).with_luck(given.luck)
        told = [
            false_betters(list(rows(world.report(i), given.replicates)))
            for i in range(given.reports)
        ]
        shares = {name: 100 * np.mean([one[name] for one in told]) for name in told[0]}
        print(
            seeds,
            *(f"{name} {share:.1f} %" for name, share in shares.items()),
            sep=" | ",
            flush=True,
        )


if __name__ == "__main__":
    main()
