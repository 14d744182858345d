"""What a study has to do, from its settings and the numbers of its images alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headstart.arms import PROTOCOLS, Origin, is_pretrained
from headstart.config import Study, StudyError
from headstart.cost import steps_of, trials_of
from headstart.data.batches import Order
from headstart.data.hamming import Bands
from headstart.data.near import REVIEW_DISTANCE
from headstart.data.scan import find_labeled, find_unlabeled
from headstart.pipeline import Task, cells_of, tasks_of
from headstart.runtime.run import Cell
from headstart.stages.classify import base_steps
from headstart.stages.pretrain import PROBE

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Sizes:
    """Numbers of images: without a label, and with one by the part they play."""

    unlabelled: int
    train: int
    validation: int
    test: int
    classes: int

    @property
    def labelled(self) -> int:
        """All with a label."""
        return self.train + self.validation + self.test

    @property
    def all(self) -> int:
        """All images."""
        return self.unlabelled + self.labelled

    def pool(self, study: Study) -> int:
        """Images that are pretrained on."""
        return self.unlabelled + (self.train if study.data.train_joins_pool else 0)

    def budget(self, fraction: float) -> tuple[int, int]:
        """Labels of a share to train on and to choose with, as ``label_budget`` cuts them where all
        classes are of one size.
        """
        train = max(1, round(fraction * self.train / self.classes))
        validation = max(1, round(fraction * self.validation / self.classes))
        return self.classes * train, self.classes * min(validation, max(1, train // 3))


def sizes_of(study: Study, unlabelled: int | None, labelled: int | None, classes: int) -> Sizes:
    """The numbers given, else those of the files at the study's locations, which are not opened.

    Raises:
        StudyError: neither a number nor a location; a location with nothing in it.
    """
    if unlabelled is None:
        place = study.data.unlabeled
        unlabelled = len(find_unlabeled(place)) if place else 0
    if labelled is None:
        return _found(study, unlabelled)
    if labelled < 3 * classes:
        raise StudyError(
            f"--labelled-images {labelled}: {classes} classes need at least {3 * classes}, one of "
            "each for train, validation and test"
        )
    return _cut(study, unlabelled, labelled, classes)


def _found(study: Study, unlabelled: int) -> Sizes:
    if study.data.labeled is None:
        raise StudyError(
            "--labelled-images: how many images have a label? Give their number, or a study file "
            "or --labeled with their folder"
        )
    files = find_labeled(study.data.labeled)
    classes = len({file.label for file in files})
    given = {part: sum(file.split == part for file in files) for part in PARTS}
    if all(given.values()):
        train, validation, test = (given[part] for part in PARTS)
        return Sizes(unlabelled, train, validation, test, classes)
    return _cut(study, unlabelled, len(files), classes)


def _cut(study: Study, unlabelled: int, labelled: int, classes: int) -> Sizes:
    _, validation, test = (round(share * labelled) for share in study.data.split)
    return Sizes(unlabelled, labelled - validation - test, validation, test, classes)


@dataclass(frozen=True)
class Labelled:
    """End-to-end training of an encoder's arms on labels: its ``steps``, the ``images`` in them,
    and images of validation ``judged`` in between.
    """

    steps: int = 0
    images: int = 0
    judged: int = 0

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(
            self.steps + other.steps, self.images + other.images, self.judged + other.judged
        )


@dataclass(frozen=True)
class Work:
    """What one encoder and its classifiers take.

    ``steps`` of pretraining with ``batch`` images each, and images ``looked_at`` for collapse;
    ``labelled`` training at the least and at the most; ``judged`` images that a network is asked
    about besides; ``heads`` that are linear, and labelled images ``solved`` summed over them;
    ``arms`` that are scored; ``networks`` whose weights are kept.
    """

    method: str
    steps: int
    batch: int
    looked_at: int
    labelled: tuple[Labelled, Labelled]
    judged: int
    heads: int
    solved: int
    arms: int
    networks: int

    @property
    def kind(self) -> str:
        """The method itself, by its name in the registry."""
        return Origin.parse(self.method).method


def work_of(study: Study, sizes: Sizes) -> list[Work]:
    """The work of each encoder of a study, in the order in which a run makes them."""
    return [_work(study, sizes, task) for task in tasks_of(study)]


def _work(study: Study, sizes: Sizes, task: Task) -> Work:
    settings, pool = study.pretrain, sizes.pool(study)
    order = Order(pool, settings.batch_size, task.seed, settings.drop_last)
    pretrained = is_pretrained(task.method)
    steps = order.steps_per_epoch * settings.epochs if pretrained else 0
    # Before the first step and after the last, half a look each.
    looks = settings.epochs / settings.check_epochs + 1 if pretrained else 0
    cells = list(cells_of(study, task.method, task.seed))
    trained = [_trained(study, sizes, cell) for cell in cells if PROTOCOLS[cell.protocol].trained]
    linear = [sizes.budget(cell.fraction)[0] for cell in cells if cell.protocol == "linear"]
    asked = sum(sizes.test + sizes.budget(c.fraction)[1] for c in cells if _has_network(c))
    return Work(
        method=task.method,
        steps=steps,
        batch=min(settings.batch_size, pool),
        looked_at=round(looks * (min(PROBE, pool) + min(PROBE, sizes.train))),
        labelled=(
            sum((least for least, _ in trained), Labelled()),
            sum((most for _, most in trained), Labelled()),
        ),
        judged=(sizes.labelled if cells else 0) + asked,
        heads=len(linear),
        solved=sum(linear),
        arms=len(cells),
        networks=pretrained + len(trained),
    )


def _has_network(cell: Cell) -> bool:
    return PROTOCOLS[cell.protocol].network


def _trained(study: Study, sizes: Sizes, cell: Cell) -> tuple[Labelled, Labelled]:
    """The training of an arm end to end, at the least and at the most."""
    settings = study.classify.finetune
    train, validation = sizes.budget(cell.fraction)
    order = Order(train, settings.batch_size, cell.seed, drop_last=False)
    pool = sizes.pool(study) if cell.protocol == "matched" else None
    base = base_steps(study, order, pool)
    ends = zip(steps_of(settings), trials_of(settings), strict=True)
    least, most = (
        Labelled(n * base, n * order.images(base), trials * settings.epochs * validation)
        for n, trials in ends
    )
    return least, most


def near_searches(study: Study, sizes: Sizes) -> Iterator[float]:
    """Core-seconds of each search for near-copies; pictures and mirror images are two."""
    if not study.data.near_duplicates:
        return
    reach = max(study.data.near_distance, REVIEW_DISTANCE)
    guarded = sizes.validation + sizes.test
    for queries, base in ((sizes.labelled, sizes.labelled), (sizes.unlabelled, guarded)):
        if queries and base:
            yield 2 * Bands.cheapest(queries, base, reach).seconds(queries, base, reach)
