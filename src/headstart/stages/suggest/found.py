"""What a suggestion holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from headstart.arms import UNTRAINED, method_title
from headstart.reporting.words import count, percent, plural
from headstart.stages.suggest.trial import Trial
from headstart.types import Doubles, Ints


@dataclass(frozen=True)
class Chosen:
    """An encoder of the run, and k-NN's balanced accuracy on the validation images, in [0, 1]."""

    method: str
    seed: int
    score: float

    @property
    def title(self) -> str:
        """Its printed name."""
        return f"{method_title(self.method)} (seed {self.seed})"

    @property
    def untrained(self) -> bool:
        """Whether no encoder did better than random weights."""
        return self.method == UNTRAINED.method


@dataclass(frozen=True)
class Suggested:
    """N unlabelled images in the order in which to label them; arrays of shape (N,).

    ``positions`` in the index; ``cluster`` numbers the groups that k-means found;
    ``typicality`` is 1 over the mean distance to the nearest images of the cluster; ``distance`` is
    that to the nearest labelled training image, in [0, 2], as features have length 1.
    ``classes`` are what the run's best classifier takes them for; empty where it has none.
    """

    encoder: Chosen
    asked: int
    pool: int
    labelled: int
    positions: Ints
    paths: tuple[str, ...]
    cluster: Ints
    typicality: Doubles
    distance: Doubles
    trial: Trial | None
    """The choice tried out on the labelled images; None where there are too few of them."""
    classes: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> tuple[str, ...]:
        """What was chosen and how, and whether such a choice beats a random one here."""
        return (self._what, self._worth)

    @property
    def _what(self) -> str:
        copies = self.asked - len(self.paths)
        without = f" ({count(copies)} fewer than asked: the rest are copies)" if copies else ""
        weak = "; no pretrained encoder does better than random weights" * self.encoder.untrained
        return (
            f"{plural(len(self.paths), 'image')} of {count(self.pool)} unlabelled ones{without}, "
            f"chosen by the features of {self.encoder.title}: k-NN has "
            f"{percent(self.encoder.score)} balanced accuracy on validation images{weak}"
        )

    @property
    def _worth(self) -> str:
        if self.trial is None:
            return (
                "Too few labelled images to try the choice out, so whether it beats a random one "
                "here is not known; in docs/studies/suggest.md it was some points ahead with up "
                "to 100 labels, and no gain was seen beside 100"
            )
        return self.trial.sentence

    def named(self, classes: Sequence[str]) -> Suggested:
        """The same with the classes that a classifier takes them for."""
        return replace(self, classes=tuple(classes))
