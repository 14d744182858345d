"""Two runs side by side: their answers, arm by arm, and the settings that differ.

No test is made between the runs: they may hold other images, other splits and other networks. What
differs is listed, so that a reader sees what else than one setting may be the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.files import write_bytes
from headstart.reporting import tables, words
from headstart.reporting.answer import first_screen
from headstart.reporting.sections.base import environment
from headstart.results import Results

_NO_CAUSE = ("data.cache", "engine")
"""Settings that say where things lie or where they run: no answer depends on them."""


@dataclass(frozen=True)
class Side:
    """What one run says of one arm: score and difference with intervals, as text, and verdict."""

    score: str
    difference: str
    verdict: str


@dataclass(frozen=True)
class Row:
    """One arm at one amount of labels, in both runs; None where a run does not have it."""

    arm: str
    labels: str
    sides: tuple[Side | None, Side | None]


def rows(first: Results, second: Results) -> list[Row]:
    """Every arm of either run, in the order of the tables."""
    found = [_sides(results) for results in (first, second)]
    return [
        Row(arm, fraction, (found[0].get((arm, fraction)), found[1].get((arm, fraction))))
        for arm, fraction in dict.fromkeys([*found[0], *found[1]])
    ]


def differences(first: Results, second: Results) -> list[tuple[str, str, str]]:
    """Settings and counts of images that differ: what, in the first run, in the second."""
    flat = [dict(_flat(results)) for results in (first, second)]
    names = [name for name in dict.fromkeys([*flat[0], *flat[1]]) if not name.startswith(_NO_CAUSE)]
    return [
        (name, flat[0].get(name, words.NONE), flat[1].get(name, words.NONE))
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    ]


def write_beside(first: Results, second: Results, path: Path) -> Path:
    """Write the page: one file that needs nothing but itself."""
    page = (
        environment()
        .get_template("beside.html")
        .render(
            titles=[result.title for result in (first, second)],
            screens=[first_screen(result) for result in (first, second)],
            rows=rows(first, second),
            differences=differences(first, second),
            version=first.provenance.headstart,
        )
    )
    write_bytes(path, page.encode())
    return path


def _sides(results: Results) -> dict[tuple[str, str], Side]:
    sides = {}
    for row in tables.summaries(results):
        entry = tables.comparison_of(results, row)
        interval = words.bracket(row.interval.get(row.metric))
        difference = verdict = ""
        if entry is not None:
            ends = words.points_bracket(entry.low, entry.high)
            difference = f"{words.points(entry.difference)} {ends}".strip()
            verdict = entry.verdict
        score = f"{words.percent(row.score)} {interval}".strip()
        sides[row.arm.label, words.fraction_name(row.fraction)] = Side(score, difference, verdict)
    return sides


def _flat(results: Results) -> Iterator[tuple[str, str]]:
    """Settings by dotted name, and the counts of the images."""
    yield from _leaves("", results.study)
    yield from _leaves("images", results.data.counts.model_dump())
    yield "classes", ", ".join(entry.name for entry in results.data.classes)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}".lstrip("."), inner)
    else:
        yield name, str(value)
