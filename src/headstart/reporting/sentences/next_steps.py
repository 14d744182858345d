"""What to do next: what would settle what this run left open, and what it would cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headstart.reporting import tables, words
from headstart.reporting.sentences.differences import FIRM_SEEDS
from headstart.results import Comparison, Results

MOST = 3
_SETTING = re.compile(r"set (classify\.[a-z_.]+=\d+)")


@dataclass(frozen=True)
class Step:
    """What to do, what it buys and costs, and the words to add to the command."""

    what: str
    why: str
    command: str = ""


def next_steps(results: Results, entries: Sequence[Comparison]) -> list[Step]:
    """At most three steps, the one that settles most first."""
    return [
        *_train_longer(results, entries),
        *_more_images(results, entries),
        *_more_seeds(results, entries),
        *_more_amounts(results),
    ][:MOST]


def _train_longer(results: Results, entries: Sequence[Comparison]) -> Iterator[Step]:
    late = [row for row in results.gates if row.gate == "G10" and row.result == "FAIL"]
    if not late or all(entry.verdict != "no verdict" for entry in entries):
        return
    settings = dict.fromkeys(s for row in late for s in _SETTING.findall(row.reason))
    spent = _seconds(results, {f"{(row.arm or '').replace('/', '-')}-seed" for row in late})
    took = f" Training them took {words.seconds(spent)} of computing; expect as much again."
    cost = took * (spent > 0)
    yield Step(
        "Train longer",
        f"The arms that had not finished learning get a verdict once they have.{cost}",
        " ".join(f"--set {setting}" for setting in settings),
    )


def _more_images(results: Results, entries: Sequence[Comparison]) -> Iterator[Step]:
    open_rows = [row for row in entries if row.verdict == "can't tell"]
    needed = [n for row in open_rows if (n := row.images_needed or 0) > row.n]
    if not needed:
        return
    few, many = (_rounded(count) for count in (min(needed), max(needed)))
    count = many if few == many else f"{few} to {many}"
    here = words.count(max(row.n for row in open_rows))
    margin = f"{100 * tables.margin(results):g}"
    yield Step(
        "Label more test images",
        f"With about {count} of them ({here} now) a difference of {margin} points would show.",
    )


def _more_seeds(results: Results, entries: Sequence[Comparison]) -> Iterator[Step]:
    have = len(tables.seeds(results))
    if not entries or have >= FIRM_SEEDS:
        return
    wanted = 3 if have < 3 else FIRM_SEEDS
    rows = [row.seeds_needed for row in entries if row.verdict == "can't tell" and row.seeds_needed]
    buys = (
        "The answer then speaks of the methods, not only of these trained models."
        if have == 1
        else "Fewer than five seeds know little of the luck of training; the intervals say so."
    )
    if rows and have > 1:
        margin = f"{100 * tables.margin(results):g}"
        buys += f" About {max(rows)} seeds would show a difference of {margin} points."
    each = sum(results.provenance.seconds.values()) / max(1, have)
    cost = f" One seed took {words.seconds(each)} of computing here." if each > 0 else ""
    seeds = ",".join(str(seed) for seed in range(wanted))
    yield Step(f"Run {wanted} seeds", buys + cost, f"--seeds {seeds}")


def _more_amounts(results: Results) -> Iterator[Step]:
    if len(tables.fractions(results)) == 1 and results.comparisons:
        yield Step(
            "Try fewer labels",
            "With several amounts of labels the report says how many labels pretraining saves.",
            "--label-fractions 0.1,0.3,1.0",
        )


def _seconds(results: Results, arms: set[str]) -> float:
    """What training these arms took, all seeds and amounts of labels together."""
    times = results.provenance.seconds.items()
    return sum(s for key, s in times if any(key.startswith(f"classify/{arm}") for arm in arms))


def _rounded(count: int) -> str:
    """Two figures: more would claim too much."""
    digits = max(0, len(str(count)) - 2)
    return words.count(round(count, -digits))
