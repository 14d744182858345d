"""The data card for the terminal: one table of classes and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.reporting import words

if TYPE_CHECKING:
    from rich.table import Table

    from headstart.results import Data

PARTS = ("train", "validation", "test")


def card_table(data: Data) -> Table:
    """Images by class and part, with the pool on a row of its own."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    counts = data.counts
    table = Table(box=box.SIMPLE_HEAD, title=words.SPLITS[data.split], show_footer=True)
    table.add_column("class", footer="all")
    for part in PARTS:
        table.add_column(part, justify="right", footer=words.count(getattr(counts, part)))
    for one in data.classes:
        table.add_row(escape(one.name), *(words.count(getattr(one, part)) for part in PARTS))
    joined = counts.pool_from_train
    table.caption = f"{words.plural(counts.pool, 'image')} to pretrain on" + (
        f", {words.count(joined)} of them training images without their labels" if joined else ""
    )
    return table
