"""check: facts and warnings about the images, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.arms import method_title
from headstart.files import write_bytes
from headstart.recipes import fit_to_pool, resolve_recipe
from headstart.reporting import words
from headstart.results import ClassCounts, Counts, CrossingGroups, Data, NearDuplicates
from headstart.runtime.run import Dataset, Run
from headstart.stats.power import planned_statement
from headstart.store import write_json

SCHEMA = 1
FEW, WANTED = 20, 30  # test images of a class: below the first its recall says next to nothing
UNEVEN = 3.0  # largest class over smallest, from which on it is worth a line
SMALL_POOL = 1000
LISTS = ("quarantine.csv", "removed.csv", "near_duplicates.csv")


@dataclass(frozen=True)
class DataCard:
    """Facts about the images: ``data`` as in ``results.json``, and sentences about it.

    ``warnings`` are those of the lines that may make a score look better than it is.
    """

    data: Data
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def write_card(run: Run, data: Dataset) -> tuple[DataCard, Path]:
    """The card of a study as ``check.json``, with the lists that it speaks of beside it."""
    card = data_card(run, data)
    card = replace(card, lines=(*card.lines, *_pool_lines(run, data)))
    copy_lists(run, data)
    path = run.folder / "check.json"
    write_json(
        path,
        {
            "schema": SCHEMA,
            "data": card.data.model_dump(mode="json", exclude_unset=True),
            "lines": card.lines,
        },
    )
    return card, path


def copy_lists(run: Run, data: Dataset) -> None:
    """The lists of what was left out, and of near-copies, in the run's folder."""
    for name in LISTS:
        write_bytes(run.folder / name, (data.entry.folder / name).read_bytes())


def data_card(run: Run, data: Dataset) -> DataCard:
    """The images, their splits, and the sentences about them."""
    about = describe(run, data)
    warnings = leaks(about)
    lines = [
        *_removed(about.removed),
        *warnings,
        *_imbalance(about.classes),
        *_few_test_images(about.classes),
        planned_statement([c.test for c in about.classes]),
    ]
    return DataCard(about, tuple(lines), tuple(warnings))


def describe(run: Run, data: Dataset) -> Data:
    """The ``data`` block of ``results.json``."""
    info = data.entry.info
    settings = run.study.data
    counts = info["counts"]
    from_train = counts["train"] if settings.train_joins_pool else 0
    crossing = info["crossing"] or None
    return Data(
        unlabeled=str(settings.unlabeled) if settings.unlabeled else None,
        labeled=str(settings.labeled),
        counts=Counts(
            pool=counts["pool"] + from_train,
            pool_from_train=from_train,
            **{split: counts[split] for split in ("train", "validation", "test")},
        ),
        classes=tuple(ClassCounts.model_validate(one) for one in info["classes"]),
        split=info["split"],
        removed=info["removed"],
        near_duplicates=NearDuplicates.model_validate(info["near_duplicates"]),
        crossing_groups=crossing and CrossingGroups.model_validate(crossing),
        quarantine="quarantine.csv",
        detectable_difference=info["detectable_difference"],
    )


def _removed(removed: Mapping[str, int]) -> Iterator[str]:
    reasons = [
        f"{words.REMOVED.get(key, key.replace('_', ' '))} ({words.count(n)})"
        for key, n in removed.items()
        if n
    ]
    if reasons:
        yield f"Left out: {', '.join(reasons)}. removed.csv lists them."


def leaks(data: Data) -> list[str]:
    """What may make a score look better than it is; nothing is removed for it."""
    lines = []
    near, crossing = data.near_duplicates, data.crossing_groups
    if near and near.different_labels:
        pairs = words.plural(near.different_labels, "pair")
        lines.append(
            f"{pairs} of nearly identical images with different classes; near_duplicates.csv "
            "lists them"
        )
    if near and near.review:
        pairs = words.plural(near.review, "pair")
        lines.append(
            f"{pairs} of images in different parts look alike, but not enough to be taken for "
            "copies; near_duplicates.csv lists them"
        )
    if crossing and crossing.groups:
        where = [
            f"{words.count(images)} {name}"
            for images, name in (
                (crossing.test, "test"),
                (crossing.validation, "validation"),
                (crossing.train, "training"),
                (crossing.pool, "unlabelled"),
            )
            if images
        ]
        many = words.plural(crossing.groups, "group")
        lines.append(
            f"{many} of yours stand on more than one side ({words.listed(where)} images); scores "
            "on new groups may be lower"
        )
    return lines


def _imbalance(classes: Sequence[ClassCounts]) -> Iterator[str]:
    by_size = sorted(classes, key=lambda c: c.train)
    small, large = by_size[0], by_size[-1]
    if large.train >= UNEVEN * small.train:
        yield (
            f"Classes are uneven: '{large.name}' has {words.count(large.train)} training "
            f"images, '{small.name}' {words.count(small.train)}, "
            f"{large.train / small.train:.1f} to 1."
        )


def _few_test_images(classes: Sequence[ClassCounts]) -> Iterator[str]:
    few = [c.name for c in classes if c.test < FEW]
    some = [c.name for c in classes if FEW <= c.test < WANTED]
    if few:
        yield (
            f"Fewer than {FEW} test images in {_named(few)}: the rows of such a class say little."
        )
    if some:
        yield f"Fewer than {WANTED} test images in {_named(some)}: wide intervals a class."


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + ("…" if len(names) > 5 else "")
    return f"{words.plural(len(names), 'class', 'classes')} ({shown})"


def _pool_lines(run: Run, data: Dataset) -> Iterator[str]:
    """What the size of the pool means for pretraining."""
    pool = len(data.pool(run.study.data.train_joins_pool))
    if pool < SMALL_POOL:
        yield f"Only {words.count(pool)} images to pretrain on; thousands are useful."
    for method in run.study.methods:
        for line in fit_to_pool(resolve_recipe(run.study, method), pool)[1]:
            yield f"{method_title(method)}: {line}."
