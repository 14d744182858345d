"""likeness: the maps of all arms -> how alike they are, between what nulls and what ceiling.

A raw similarity says nothing by itself. Beside every pair of arms stand the same measures for two
untrained networks (floor), for two different images of one class (shuffled), for the edges of the
photo (edges), and for two seeds of one arm (ceiling). With two seeds every comparison is of
networks from different seeds: two arms of one seed share their starting weights and their labels,
which two seeds of one arm don't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import isfinite

import numpy as np

from headstart import results
from headstart.arms import Arm
from headstart.attributions.similarity import (
    MEASURES,
    compare_images,
    edges,
    emprt,
    shuffled_pairing,
)
from headstart.results import Calibrated, Measures, Model, Nulls, Sanity, Similarity
from headstart.runtime.run import Cell
from headstart.stages.explain.maps import (
    ANSWERS,
    TARGETS,
    TRUE,
    Answered,
    Atlas,
    Bools,
    MapsOf,
    Target,
)
from headstart.stats.calibration import Verdict
from headstart.stats.intervals import Interval
from headstart.types import Doubles

PRIMARY = "spearman"

Table = Mapping[str, Doubles]
"""Each measure for each image, (M,); NaN where there is nothing to compare."""


@dataclass(frozen=True)
class Likeness:
    """Rows for the report, and how alike the arms' maps of each image are on average, (M,)."""

    rows: tuple[Similarity, ...]
    sanity: tuple[Sanity, ...]
    by_image: Doubles


class StoredLikeness(Model):
    """The same of one attribution, as it is stored; None for NaN."""

    rows: tuple[Similarity, ...]
    sanity: Sanity
    by_image: tuple[float | None, ...]


def compare_maps(atlas: Atlas) -> Likeness:
    """Every pair of arms under every attribution; found again where nothing has changed."""
    stored = []
    for done, name in enumerate(atlas.attributions):
        atlas.run.tell.progress("explain: comparing maps", done, len(atlas.attributions))
        stored.append(_likeness(atlas, name))
    atlas.run.tell.progress(
        "explain: comparing maps", len(atlas.attributions), len(atlas.attributions)
    )
    return Likeness(
        rows=tuple(row for one in stored for row in one.rows),
        sanity=tuple(one.sanity for one in stored),
        by_image=np.array(stored[0].by_image, dtype=np.float64),  # None becomes NaN
    )


def _likeness(atlas: Atlas, name: str) -> StoredLikeness:
    def make() -> StoredLikeness:
        pairs = Pairs(atlas, name)
        by_image = tuple(known(value) for value in pairs.by_image.tolist())
        return StoredLikeness(rows=tuple(pairs.rows()), sanity=pairs.sanity(), by_image=by_image)

    return atlas.kept(f"likeness-{name}", {}, atlas.entries(name), make, StoredLikeness)


@dataclass(frozen=True)
class Pairs:
    """All comparisons of one attribution; each table of measures is computed once."""

    atlas: Atlas
    name: str

    def rows(self) -> Iterator[Similarity]:
        """A row a pair of arms, target and kind of answer."""
        for a, b in combinations(self.atlas.arms, 2):
            for target in TARGETS:
                for answers in ANSWERS:
                    yield self._row(a, b, target, answers)

    @cached_property
    def by_image(self) -> Doubles:
        """(M,) the mean rank correlation over all pairs of arms; NaN where none has one."""
        pairs = combinations(self.atlas.arms, 2)
        columns = [self.between(a, b, TRUE, "all")[PRIMARY] for a, b in pairs]
        return mean_over(columns, len(self.atlas.positions))

    def between(self, a: Arm, b: Arm, target: str, answers: str) -> Table:
        """Two arms: means over the two ways to pair their seeds, or of the one seed."""
        tables = [
            _only(self._compared[one, two, target], self._answered(one, two, answers))
            for one, two in self._couples(a, b)
        ]
        return mean_table(tables, len(self.atlas.positions))

    @cached_property
    def floor(self) -> Table:
        """Two untrained networks."""
        return self._compared[*self.atlas.untrained, TRUE]

    @cached_property
    def ceilings(self) -> dict[Arm, Table]:
        """Two seeds of each arm; empty where the study has one."""
        tables = {}
        for arm in self.atlas.arms:
            cells = self.atlas.cells(arm)
            if len(cells) > 1:
                tables[arm] = self._compared[cells[0], cells[1], TRUE]
        return tables

    @cached_property
    def on_edges(self) -> dict[Arm, Table]:
        """Each arm's maps beside the edges of the photos."""
        photos = self.atlas.data.images(self.atlas.positions)
        x = photos.centred(np.arange(len(photos))).cpu().numpy()
        if self.atlas.data.bands:  # the grey of channels that are no colours is their mean
            x = x.mean(axis=1, keepdims=True).repeat(3, axis=1)
        drawn = edges(x)
        other = MapsOf(drawn, np.ones(len(drawn), dtype=bool))
        return {
            arm: _measured(self._maps(self.atlas.cells(arm)[0], TRUE), other)
            for arm in self.atlas.arms
        }

    def shuffled(self, a: Arm, b: Arm) -> Table:
        """Each image under one arm with another of its class under the other, as ``between``."""
        if (a, b) not in self._shuffled:
            self._shuffled[a, b] = self._shuffle(a, b)
        return self._shuffled[a, b]

    @cached_property
    def _shuffled(self) -> dict[tuple[Arm, Arm], Table]:
        return {}

    def _shuffle(self, a: Arm, b: Arm) -> Table:
        tables = []
        for couple in self._couples(a, b):
            one, two = (self._maps(cell, TRUE) for cell in couple)
            use, groups = one.usable & two.usable, self.atlas.plan.groups
            tables.append(
                shuffled_pairing(one.maps, two.maps, self.atlas.labels, use, groups=groups)
            )
        return mean_table(tables, len(self.atlas.positions))

    @cached_property
    def _compared(self) -> _Compared:
        return _Compared(self)

    @cached_property
    def _loaded(self) -> dict[tuple[Cell, str], MapsOf]:
        return {}

    def _maps(self, cell: Cell, target: str) -> MapsOf:
        if (cell, target) not in self._loaded:
            self._loaded[cell, target] = self.atlas.maps(cell, self.name, target)
        return self._loaded[cell, target]

    def _couples(self, a: Arm, b: Arm) -> list[tuple[Cell, Cell]]:
        """The networks to compare: of different seeds where there are two, else of the same."""
        one, two = self.atlas.cells(a), self.atlas.cells(b)
        if len(one) > 1 and len(two) > 1:
            return [(one[0], two[1]), (one[1], two[0])]
        apart = [(x, y) for x in one for y in two if x.seed != y.seed]
        return apart or [(one[0], two[0])]

    def _answered(self, one: Cell, two: Cell, answers: str) -> Bools:
        """(M,) the images that both, one or none of the two networks get right."""
        hits = self.atlas.right(one).astype(int) + self.atlas.right(two)
        wanted = {"both right": 2, "one right": 1, "both wrong": 0}.get(answers)
        return np.asarray(hits == wanted) if wanted is not None else np.ones(len(hits), dtype=bool)

    def _row(self, a: Arm, b: Arm, target: Target, answers: Answered) -> Similarity:
        table = self.between(a, b, target, answers)
        images = int(np.isfinite(table["rmse"]).sum())
        row = Similarity(
            arm_a=a,
            arm_b=b,
            seeds=tuple(sorted({cell.seed for pair in self._couples(a, b) for cell in pair})),
            attribution=self.name,
            target=target,
            answers=answers,
            images=images,
            left_out=len(self.atlas.positions) - images,
            **means(table).model_dump(),
        )
        if (target, answers) != (TRUE, "all"):
            return row
        calibrated, verdict = self._calibrated(a, b, table)
        judged = {"nulls": self._nulls(a, b), "calibrated": calibrated, "verdict": verdict}
        return row.model_copy(update=judged)

    def _nulls(self, a: Arm, b: Arm) -> Nulls:
        count = len(self.atlas.positions)
        ceilings = [self.ceilings[arm] for arm in (a, b) if arm in self.ceilings]
        return Nulls(
            floor=means(self.floor),
            shuffled=means(self.shuffled(a, b)),
            edges=means(mean_table([self.on_edges[a], self.on_edges[b]], count)),
            ceiling=means(mean_table(ceilings, count)) if len(ceilings) == 2 else None,
        )

    def _calibrated(self, a: Arm, b: Arm, table: Table) -> tuple[Calibrated, Verdict]:
        """Where the pair lies between its strongest null and two seeds of one arm."""
        from headstart.stats.calibration import calibrate, strongest_null

        nulls = {"untrained": self.floor[PRIMARY], "shuffled": self.shuffled(a, b)[PRIMARY]}
        if not np.isfinite(nulls["shuffled"]).any():  # one image a class has no partner
            del nulls["shuffled"]
        null, floor = strongest_null(nulls)
        both = a in self.ceilings and b in self.ceilings
        own = (self.ceilings[a][PRIMARY], self.ceilings[b][PRIMARY]) if both else None
        scaled = calibrate(table[PRIMARY], floor, own, plan=self.atlas.plan)
        limits = Interval(scaled.value, scaled.low, scaled.high)
        numbers = {"images": scaled.n, "null": null, **interval(limits).model_dump()}
        return Calibrated.model_validate(numbers), scaled.verdict

    def sanity(self) -> Sanity:
        """Whether this attribution tells a trained network from an untrained one; means of arms."""
        from headstart.stats.calibration import sanity

        count, untrained = len(self.atlas.positions), self.atlas.untrained
        to_random, across = [], []
        for arm, ceiling in self.ceilings.items():
            trained = self.atlas.cells(arm)
            tables = [self._compared[trained[i], untrained[1 - i], TRUE] for i in (0, 1)]
            to_random.append(mean_table(tables, count)[PRIMARY])
            across.append(ceiling[PRIMARY])
        seeds = mean_over(across, count) if across else None
        check = sanity(mean_over(to_random, count), seeds, self.atlas.plan)
        return Sanity(
            attribution=self.name,
            difference=known(check.difference),
            low=known(check.low),
            high=known(check.high),
            images=check.n,
            passed=check.passed,
            complexity=interval(self._complexity()),
        )

    def _complexity(self) -> Interval:
        """How much more complex maps become when all weights are random (eMPRT), over the arms."""
        from headstart.stats.focus import means as with_limits

        null = self._maps(self.atlas.untrained[0], TRUE)
        rises = []
        for arm in self.atlas.arms:
            own = self._maps(self.atlas.cells(arm)[0], TRUE)
            use = own.usable & null.usable
            rises.append(np.where(use, emprt(own.maps, null.maps), np.nan))
        column = mean_over(rises, len(self.atlas.positions))
        return with_limits({"emprt": column}, plan=self.atlas.plan)["emprt"]


class _Compared(dict[tuple[Cell, Cell, str], Table]):
    """Tables of measures of two networks under one target; each is made when it is asked for."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs

    def __missing__(self, key: tuple[Cell, Cell, str]) -> Table:
        one, two, target = key
        self[key] = _measured(self.pairs._maps(one, target), self.pairs._maps(two, target))
        return self[key]


def mean_table(tables: Sequence[Table], count: int) -> Table:
    """Means of some tables, image by image, over those that know the image."""
    return {name: mean_over([table[name] for table in tables], count) for name in MEASURES}


def mean_over(columns: Sequence[Doubles], count: int) -> Doubles:
    """(M,) means of some columns (M,), NaN left out; NaN where no column knows the image."""
    if not columns:
        return np.full(count, np.nan)
    table = np.stack(columns)
    finite = np.isfinite(table)
    sums, sizes = np.where(finite, table, 0).sum(axis=0), finite.sum(axis=0)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)


def means(table: Table) -> Measures:
    """The mean of each measure over the images that have it; None where none does."""
    known_values = {name: values[np.isfinite(values)] for name, values in table.items()}
    return Measures(
        **{name: float(some.mean()) if len(some) else None for name, some in known_values.items()}
    )


def interval(limits: Interval) -> results.Interval:
    """A value and its 95 % limits as the results hold them: None where not known."""
    value, low, high = (known(float(part)) for part in limits)
    return results.Interval(value=value, low=low, high=high)


def known(value: float) -> float | None:
    """None for what no image could tell."""
    return value if isfinite(value) else None


def _measured(a: MapsOf, b: MapsOf) -> Table:
    return compare_images(a.maps, b.maps, a.usable & b.usable)


def _only(table: Table, use: Bools) -> Table:
    """The table with NaN for the images that are not asked for."""
    return {name: np.where(use, values, np.nan) for name, values in table.items()}
