"""What to say of the images of a study, and what to know before believing a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headstart.arms import method_title
from headstart.reporting import words
from headstart.reporting.channels import about_channels
from headstart.results import ClassCounts, Data
from headstart.stats.power import planned_statement

FEW, WANTED = 20, 30  # test images of a class: below the first its recall says next to nothing
UNEVEN = 3.0  # largest class over smallest, from which on it is worth a line
SMALL_POOL = 1000
FEW_LABELS = 5  # training images of a class


def about_images(data: Data) -> Iterator[str]:
    """The lines of the data card."""
    yield from about_channels(data.channels)
    yield from _removed(data.removed)
    yield from leaks(data)
    yield from _imbalance(data.classes)
    yield from _few_test_images(data.classes)
    yield planned_statement([c.test for c in data.classes])


def about_pool(pool: int, cuts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What the number of images to pretrain on means; ``cuts`` by method: settings it changed."""
    if pool < SMALL_POOL:
        yield f"Only {words.count(pool)} images to pretrain on; thousands are useful."
    for method, lines in cuts.items():
        yield from (f"{method_title(method)}: {line}." for line in lines)


def cautions(data: Data, smallest_fraction: float) -> Iterator[str]:
    """What a reader of the report must know before believing a number."""
    small = [c.name for c in data.classes if c.test < FEW]
    if small:
        yield (
            f"fewer than {FEW} test images in {len(small)} classes ({', '.join(small[:5])}"
            f"{'…' if len(small) > 5 else ''}): their rows say little"
        )
    if min(c.train for c in data.classes) * smallest_fraction < FEW_LABELS:
        yield "fewer than 5 labelled training images in some class at the smallest budget"
    if data.removed.get("unreadable"):
        count = data.removed["unreadable"]
        yield f"{count} files could not be read; quarantine.csv lists them with the reason"


def about_further_weights(names: Sequence[str]) -> Iterator[str]:
    """What is not known of weights from elsewhere."""
    if names:
        yield (
            f"{words.listed(names)}: weights from elsewhere. What they were trained on is not "
            "known here: perhaps on labels, perhaps on your test images, which would flatter them. "
            "Their own training is not in the computing costs of this report"
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
