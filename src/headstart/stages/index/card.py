"""check: facts and warnings about the images, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from headstart.files import write_bytes
from headstart.recipes import fit_to_pool, resolve_recipe
from headstart.reporting.sentences.images import about_images, about_pool, leaks
from headstart.results import Channels, ClassCounts, Counts, CrossingGroups, Data, NearDuplicates
from headstart.runtime.run import Dataset, Run
from headstart.store import write_json

SCHEMA = 1
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
    return DataCard(about, tuple(about_images(about)), tuple(leaks(about)))


def describe(run: Run, data: Dataset) -> Data:
    """The ``data`` block of ``results.json``."""
    info = data.entry.info
    settings = run.study.data
    counts = info["counts"]
    from_train = counts["train"] if settings.train_joins_pool else 0
    crossing = info["crossing"] or None
    described = Data(
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
    if data.bands is None:
        return described
    channels = Channels(
        count=data.bands.channels,
        value_range=data.bands.value_range,
        mean=data.normalisation.mean,
        std=data.normalisation.std,
    )
    return described.model_copy(update={"channels": channels})


def _pool_lines(run: Run, data: Dataset) -> list[str]:
    """What the size of the pool means for pretraining."""
    pool = len(data.pool(run.study.data.train_joins_pool))
    cuts = {m: fit_to_pool(resolve_recipe(run.study, m), pool)[1] for m in run.study.methods}
    return list(about_pool(pool, cuts))
