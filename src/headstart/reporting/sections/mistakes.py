"""The commonest confusions of every arm, with pictures of the images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.arms import Arm
from headstart.reporting import tables, words
from headstart.reporting.inline import Finish, picture_uri
from headstart.reporting.sections.base import fragment, section
from headstart.results import Confusion, Results, ShownImages

if TYPE_CHECKING:
    from markupsafe import Markup

ROOM = 250_000  # letters of data addresses; what finds no room is told in words alone
FINISH = Finish(72, 70)


@section("Mistakes", "What was taken for what")
def mistakes(results: Results, run: Path) -> Markup | None:
    """A part an arm, the best arm of each kind first; None where no answer was wrong."""
    shown = results.shown
    if shown is None or not shown.confusions:
        return None
    by_arm: dict[Arm, list[Confusion]] = defaultdict(list)
    for row in shown.confusions:
        by_arm[row.arm].append(row)
    first = [row.arm for row in tables.best_arms(results) if row.arm in by_arm]
    order = dict.fromkeys([*first, *sorted(by_arm, key=lambda arm: arm.rank)])
    pictures = _pictures(shown, [row for arm in order for row in by_arm[arm]], run)
    arms = [(arm.label, [_row(shown, row, pictures) for row in by_arm[arm]]) for arm in order]
    several = len(tables.seeds(results)) > 1
    return fragment("mistakes", results, run, arms=arms, opened=len(first), several=several)


def _pictures(shown: ShownImages, rows: list[Confusion], run: Path) -> dict[int, str | None]:
    """Data addresses by image, as far as there is room; one image stands under several arms."""
    found: dict[int, str | None] = {}
    room = ROOM
    for number in (number for row in rows for number in row.shown):
        if number not in found:
            found[number] = picture_uri(run, shown.images[number].photo, FINISH)
        room -= len(found[number] or "")
        if room < 0:
            break
    return found


def _row(shown: ShownImages, row: Confusion, pictures: dict[int, str | None]) -> dict[str, Any]:
    return {
        "true": row.true,
        "predicted": row.predicted,
        "count": words.count(row.count),
        "of": words.count(row.of),
        "share": words.percent(row.count / max(1, row.of)),
        "pictures": [
            (pictures[number], shown.images[number].photo)
            for number in row.shown
            if number in pictures
        ],
    }
