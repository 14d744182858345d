"""The answer as a person would say it: one headline, and under it what it leaves out.

A headline says what was decided, gains and losses alike, and no more than the verdicts do. Where
nothing was decided it says why not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headstart.arms import BASELINES, Arm, method_title
from headstart.reporting import tables, words
from headstart.reporting.sentences import names
from headstart.results import Comparison, LabelSaving, Results
from headstart.stats.verdict import Verdict

ORDER: tuple[Verdict, ...] = (
    "better",
    "worse",
    "no difference that matters",
    "can't tell",
    "neither learned",
    "no verdict",
)
SHORT: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "no difference that matters": "no difference that matters",
    "can't tell": "too close to call",
    "neither learned": "neither model learned",
    "no verdict": "no verdict",
}
UNFINISHED = "G10"
LEAST_SAVING = 1.4
MOST_ABOVE = 2
MOST_BELOW = 2
_OURS = ("the", "starting", "all", *names.SMALL)


@dataclass(frozen=True)
class Said:
    """A headline, and the sentences under it."""

    title: str
    deck: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """Comparisons of one verdict: some methods, each at the same amounts of labels."""

    arms: tuple[Arm, ...]
    fractions: tuple[float, ...]
    rows: tuple[Comparison, ...]


def headline(results: Results, entries: Sequence[Comparison]) -> Said:
    """The answer of one protocol's comparisons with supervised training."""
    missing = tuple(
        f"{method_title(method)} was not compared: {reason.rstrip('.')}."
        for method, reason in tables.never_compared(results)
    )
    if not entries:
        return Said("No answer: no arm was compared with supervised training", missing)
    groups = {v: [e for e in entries if e.verdict == v] for v in ORDER}
    told = {v: _sentences(results, v, rows, len(entries)) for v, rows in groups.items() if rows}
    decided = [line for v in ("better", "worse") for line in told.pop(v, [])]
    if groups["worse"] and not groups["better"]:
        decided[0] = f"No head start shown. {decided[0]}"
    if decided:
        title, later = _title(decided, groups)
        rest = [*later, *(line for lines in told.values() for line in lines)]
        return Said(title, tuple(_stops(rest)) + missing)
    if len(told) == 1:
        first, *more = next(iter(told.values()))
        return Said(first, tuple(_stops(more)) + missing)
    fractions = tables.fractions(results)
    short = ", ".join(_short(v, groups[v], fractions) for v in told)
    deck = [line for lines in told.values() for line in lines]
    return Said(words.capital(short), tuple(_stops(deck)) + missing)


def so_far(results: Results, said: Said) -> Said:
    """The same of a run that has not come to its end: that comes first."""
    deck = (
        "What stands on this page may still change. Do not end a run because of it: an answer "
        "that is looked at until it pleases is too often wrong. The run's own command goes on "
        "where it stopped.",
        f"So far: {said.title.rstrip('.')}.",
        *said.deck,
    )
    return Said(f"Not finished: {results.progress}", deck)


def frozen(entries: Sequence[Comparison]) -> str:
    """What became of the other protocols, counted; empty where there are none."""
    counts = {v: sum(e.verdict == v for e in entries) for v in ORDER}
    said = [f"{SHORT[v]} in {names.how_many(n, 'comparison')}" for v, n in counts.items() if n]
    return f"Frozen, under a linear head or k-NN: {words.listed(said)}." if said else ""


def saved(row: LabelSaving) -> str:
    """``about 4 of 5 labels``; empty for a saving too small or too unsure to be said."""
    if row.needed is None or not row.quotable or row.low is None or row.low <= row.labels:
        return ""
    factor = row.needed / row.labels
    if factor < LEAST_SAVING:
        return ""
    if factor < 1.75:
        return "about a third of the labels"
    whole = round(factor)
    return "about half of the labels" if whole == 2 else f"about {whole - 1} of {whole} labels"


def firm_savings(results: Results, protocol: str) -> list[LabelSaving]:
    """Savings of arms that were better with these labels; of each arm that with the fewest."""
    better = {
        (row.arm_a, row.fraction)
        for row in tables.against_supervised(results)
        if row.verdict == "better" and row.arm_a.protocol == protocol
    }
    first: dict[Arm, LabelSaving] = {}
    for row in sorted(results.label_saving, key=lambda row: row.labels):
        if (row.arm_a, row.fraction) in better:
            first.setdefault(row.arm_a, row)
    return list(first.values())


def where(fractions: Sequence[float], known: Sequence[float]) -> str:
    """``with 10 % and 33 % of the labels``; empty where the study has one amount only."""
    if len(known) <= 1:
        return ""
    if set(fractions) == set(known):
        return "at every amount of labels"
    part = [words.percent(f, "{:.3g}") for f in sorted(fractions) if f < 1]
    said = [f"with {words.listed(part)} of the labels"] * bool(part)
    said += ["with all labels"] * (max(fractions) >= 1)
    return words.listed(said)


def why_none(results: Results, rows: Iterable[Comparison]) -> str:
    """Why there is no verdict, in a clause."""
    reasons = dict.fromkeys(why for row in rows for why in _reasons(row))
    unfinished = list(dict.fromkeys(a for row in rows for a in _unfinished(results, row)))
    if unfinished:
        one = max((row.seeds for row in rows), default=1)
        who = words.listed([_trained(arm, one) for arm in unfinished])
        told = f"{who} had not finished learning when training was stopped"
        return "; ".join([told, *reasons])
    return "; ".join(reasons) or "the comparison is not valid"


def _sentences(
    results: Results, verdict: Verdict, rows: Sequence[Comparison], total: int
) -> list[str]:
    """A sentence a part; one for all where a verdict that decides nothing has many parts."""
    parts = _fold(rows)
    if len(parts) > 1 and verdict not in ("better", "worse"):
        parts = [_Part((), (), tuple(rows))]
    other = len(rows) < total
    return [_SAY[verdict](results, part, other) for part in parts]


def _title(
    decided: Sequence[str], groups: Mapping[Verdict, Sequence[Comparison]]
) -> tuple[str, Sequence[str]]:
    """At most two sentences, and what stands under them; losses are never left out above."""
    better, worse = len(groups["better"]), len(groups["worse"])
    if len(decided) <= MOST_ABOVE:
        return ". ".join(decided), ()
    lost = f"Worse in {names.how_many(worse, 'other comparison')}" if better and worse else ""
    later = decided[1:]
    if len(later) > MOST_BELOW:
        counts = {"better": better, "worse": worse}
        said = [f"{word} in {names.how_many(n, 'comparison')}" for word, n in counts.items() if n]
        later = [f"In all, pretraining was {words.listed(said)}"]
    return ". ".join(filter(None, [decided[0], lost])), later


def _fold(rows: Sequence[Comparison]) -> list[_Part]:
    """Methods with the verdict at the same amounts of labels share a part."""
    by_arm: dict[Arm, list[Comparison]] = defaultdict(list)
    for row in rows:
        by_arm[row.arm_a].append(row)
    parts: dict[tuple[float, ...], list[Arm]] = defaultdict(list)
    for arm, own in by_arm.items():
        parts[tuple(sorted(row.fraction for row in own))].append(arm)
    return [
        _Part(tuple(arms), fractions, tuple(row for arm in arms for row in by_arm[arm]))
        for fractions, arms in sorted(parts.items(), key=lambda part: -len(part[0]))
    ]


def _better(results: Results, part: _Part, _: bool) -> str:
    verb = "beat" if _plural(part) else "beats"
    small = all(row.high is not None and row.high < tables.margin(results) for row in part.rows)
    size = f", less than the {100 * tables.margin(results):g} that matter" if small else ""
    told = f"{_decided(results, part, verb)}: {_gains(part.rows)} points{size}"
    clauses = [
        (row, text)
        for row in firm_savings(results, part.arms[0].protocol)
        if row.arm_a in part.arms and (text := saved(row))
    ]
    if not clauses:
        return told
    row, text = clauses[0]
    who = "it" if len(part.arms) == 1 else method_title(row.arm_a.method)
    return f"{told}; {who} saves {text}"


def _worse(results: Results, part: _Part, _: bool) -> str:
    verb = "do worse than" if _plural(part) else "does worse than"
    return f"{_decided(results, part, verb)}: {_gains(part.rows)} points"


def _decided(results: Results, part: _Part, verb: str) -> str:
    seeds = max(row.seeds for row in part.rows)
    place = where(part.fractions, tables.fractions(results))
    who = _begin(names.subject(part.arms, seeds, _rivals(results, part)))
    return f"{who} {verb} {names.baseline(seeds)} {place}".rstrip()


def _same(results: Results, part: _Part, other: bool) -> str:
    margin = f"{100 * tables.margin(results):g} points"
    who, place = _who(results, part, other)
    if not part.arms:
        return f"{who} show no difference that matters: less than {margin} either way"
    verb = "make" if _plural(part) else "makes"
    return f"{place}{who} {verb} no difference that matters: less than {margin} either way"


def _close(results: Results, part: _Part, other: bool) -> str:
    rows = part.rows
    low, high = _ends(rows)
    images = words.plural(max(row.n for row in rows), "test image")
    gain = "each gain" if len(rows) > 1 else "the gain"
    size = f"{gain} could be anything from {low} to {high} points"
    if not other:
        return f"Too close to call with {images}: {size}"
    who, place = _who(results, part, other)
    verb = "are" if _plural(part) else "is"
    return f"{place}{who} {verb} too close to call: {size}"


def _neither(results: Results, part: _Part, other: bool) -> str:
    seeds = max(row.seeds for row in part.rows)
    place = where(part.fractions, tables.fractions(results)) if other and part.arms else ""
    said = f"Neither pretraining nor {names.baseline(seeds)} learned the task {place}".rstrip()
    return f"{said}: no score is better than guessing"


def _none(results: Results, part: _Part, other: bool) -> str:
    place = where(part.fractions, tables.fractions(results)) if part.arms else ""
    if other and not part.arms:
        place = f"in the other {names.how_many(len(part.rows), 'comparison')}"
    start = f"There is no verdict {place}" if other else f"No verdict {place}"
    return f"{start.rstrip()}: {why_none(results, part.rows)}"


_SAY = {
    "better": _better,
    "worse": _worse,
    "no difference that matters": _same,
    "can't tell": _close,
    "neither learned": _neither,
    "no verdict": _none,
}


def _who(results: Results, part: _Part, other: bool) -> tuple[str, str]:
    """Who, and before it where, for a sentence that begins with the place."""
    if not part.arms:
        rest = "other " * other
        return f"The {rest}{names.how_many(len(part.rows), 'comparison')}", ""
    place = where(part.fractions, tables.fractions(results))
    seeds = max(row.seeds for row in part.rows)
    who = names.subject(part.arms, seeds, _rivals(results, part))
    return (who, f"{words.capital(place)} ") if place else (_begin(who), "")


def _short(verdict: Verdict, rows: Sequence[Comparison], known: Sequence[float]) -> str:
    parts = _fold(rows)
    places = {where(part.fractions, known) for part in parts}
    whole = {(row.fraction) for row in rows}
    among = f"for {words.listed([method_title(a.method) for part in parts for a in part.arms])}"
    if len(places) > 1 or places == {""}:
        return f"{SHORT[verdict]} {among if len(known) <= 1 else where(sorted(whole), known)}"
    return f"{SHORT[verdict]} {places.pop()}"


def _reasons(row: Comparison) -> list[str]:
    """Reasons but for training that had not ended, in plain words."""
    if row.lost is not None:
        arm, ended = row.lost.arm, "collapsed" if row.lost.status == "collapsed" else "failed"
        if arm in BASELINES:
            return [f"{names.arm(arm, 2)} {ended}"]
        if row.lost.reason.startswith("training"):
            return [f"training of {names.arm(arm, 2)} {ended}"]
        return [f"{method_title(arm.method)} pretraining {ended}"]
    if not row.reasons:
        return []
    return [
        f"a check of the comparison failed ({reason.rstrip('.')})"
        for reason in row.reasons
        if f"({UNFINISHED}" not in reason
    ]


def _unfinished(results: Results, row: Comparison) -> list[Arm]:
    failed = {
        Arm.parse(gate.arm)
        for gate in results.gates
        if gate.gate == UNFINISHED
        and gate.result == "FAIL"
        and gate.arm is not None
        and gate.fraction in (None, row.fraction)
    }
    asked = any(f"({UNFINISHED}" in reason for reason in row.reasons)
    return [arm for arm in (row.arm_b, row.arm_a) if asked and arm in failed]


def _trained(arm: Arm, seeds: int) -> str:
    if arm in BASELINES:
        return names.arm(arm, 2) if seeds != 1 else names.baseline(1)
    return names.subject([arm], seeds)


def _gains(rows: Sequence[Comparison]) -> str:
    """``+4.1``, or ``+4.1 to +17``: smallest first, as measured."""
    known = sorted((row.difference for row in rows if row.difference is not None), key=abs)
    whole = any(abs(value) >= 0.0995 for value in known)
    ends = dict.fromkeys(words.points(value, whole=whole) for value in (known[:1] + known[-1:]))
    return " to ".join(ends) or words.NONE


def _ends(rows: Sequence[Comparison]) -> tuple[str, str]:
    lows = [row.low for row in rows if row.low is not None]
    highs = [row.high for row in rows if row.high is not None]
    return words.points(min(lows, default=None)), words.points(max(highs, default=None))


def _plural(part: _Part) -> bool:
    """Whether the subject of the sentence is more than one thing."""
    return len(part.arms) > 1 or (not part.arms and len(part.rows) > 1)


def _rivals(results: Results, part: _Part) -> int:
    """How many methods were compared in the same way."""
    rows = tables.against_supervised(results)
    return len({row.arm_a for row in rows if row.arm_a.protocol == part.arms[0].protocol})


def _stops(lines: Iterable[str]) -> list[str]:
    return [line.rstrip(".") + "." for line in lines]


def _begin(text: str) -> str:
    """The beginning of a sentence: our words get a capital, a method keeps its own spelling."""
    return words.capital(text) if text.split()[0] in _OURS else text
