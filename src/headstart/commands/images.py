"""Commands that look at images without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.options import (
    CacheBudget,
    Channels,
    Groups,
    Labeled,
    Set,
    StudyFile,
    Unlabeled,
    study_of,
)


def check(  # noqa: PLR0913 - the signature is the command line
    study: StudyFile = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    groups: Groups = None,
    channels: Channels = None,
    cache_budget: CacheBudget = None,
    out: Annotated[Path, typer.Option(help="Folder for check.json and lists.")] = Path(
        "runs/check"
    ),
    set_: Set = None,
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: the path of check.json.")
    ] = False,
) -> None:
    """Look at your images without training: counts, splits, copies, leaks, what a test can show."""
    from headstart.pipeline import check_study
    from headstart.reporting.card import card_table
    from headstart.terminal import Terminal

    flags = {
        "unlabeled": unlabeled,
        "labeled": labeled,
        "groups": groups,
        "channels": channels,
        "cache_budget": cache_budget,
    }
    terminal = Terminal()
    with terminal:
        card, path = check_study(study_of("standard", study, set_, flags), out, terminal)
    terminal.show(card_table(card.data))
    for line in card.lines:
        terminal.line(line)
    terminal.line(f"Data card: {path}")
    if json:
        print(path)
