"""May the answer be believed, and what lies behind it: gates, label curves, method against method.

Nothing here knows HTML or Markdown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from headstart.arms import PROTOCOLS, Arm, method_label, method_title
from headstart.reporting import words
from headstart.results import AreaDifference, Comparison, LabelSaving, Results

Context = dict[str, Any]

ALL = "the whole study"


def gates(results: Results) -> Context | None:
    """The validity strip: what fails in full, everything else as rows to unfold."""
    rows = results.gates
    if not rows:
        return None
    return {
        "line": line(results),
        "summary": summary(results),
        "failures": failures(results),
        "failed": any(row.result == "FAIL" for row in rows),
        "rows": [
            {**row.model_dump(), "arm": name(row.arm), "reason": words.sentence(row.reason)}
            for row in rows
        ],
    }


def summary(results: Results) -> str:
    """``9 gates: all pass``, or how many of them do not."""
    worst: dict[str, str] = {}
    for row in results.gates:
        if row.result != "PASS" and worst.get(row.gate) != "FAIL":
            worst[row.gate] = row.result
        worst.setdefault(row.gate, "PASS")
    counts = {r: sum(found == r for found in worst.values()) for r in ("PASS", "FAIL", "NOT RUN")}
    if counts["PASS"] == len(worst):
        return f"{len(worst)} gates: all pass"
    parts = [f"{counts['PASS']} pass"]
    parts += [f"{counts['FAIL']} fail"] * bool(counts["FAIL"])
    parts += [f"{counts['NOT RUN']} not run"] * bool(counts["NOT RUN"])
    return f"{len(worst)} gates: {', '.join(parts)}"


def line(results: Results) -> str:
    """All gates in one line, with those that fail by name and the arms they fail for."""
    if not results.gates:
        return ""
    counts = {row.gate for row in results.gates}
    failed: dict[str, tuple[str, list[str]]] = {}
    for row in results.gates:
        if row.result == "FAIL":
            failed.setdefault(row.gate, (row.name, []))[1].append(name(row.arm))
    unrun = {r.gate for r in results.gates if r.result == "NOT RUN"} - failed.keys()
    passed = len(counts) - len(failed) - len(unrun)
    said = [
        f"All {passed} checks of the comparison pass"
        if passed == len(counts)
        else f"{passed} of {len(counts)} checks of the comparison pass"
    ]
    said += [f"{words.plural(len(unrun), 'check')} could not be run"] * bool(unrun)
    said += [
        f"“{words.capital(title)}” fails for {'; '.join(dict.fromkeys(arms))}"
        for title, arms in failed.values()
    ]
    return ". ".join(said) + "."


def failures(results: Results) -> list[str]:
    """One line for every reason of a gate that fails, with all the arms it concerns."""
    concerned: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in results.gates:
        if row.result == "FAIL":
            concerned[row.gate, row.name, row.reason].append(name(row.arm))
    return [
        f"{gate} ({title}) fails for {words.listed(arms)}: {words.sentence(reason)}"
        for (gate, title, reason), arms in concerned.items()
    ]


def label_curves(results: Results) -> Context | None:
    """What the label curves say as a whole: the area between two of them, and labels saved."""
    areas, savings = results.area_differences, results.label_saving
    if not areas and not savings:
        return None
    return {
        "sentences": [words.sentence(row.sentence) for row in areas]
        + [words.sentence(row.sentence) for row in _smallest(savings)],
        "areas": [
            {
                "arms": _against(row),
                "difference": words.points(row.difference),
                "ends": words.points_bracket(row.low, row.high),
                "p_holm": words.p_value(row.p_holm),
                "verdict": row.verdict,
            }
            for row in areas
        ],
        "savings": [
            {
                "arms": _against(row),
                "labels": words.count(row.labels),
                "needed": _labels(row.needed, row.censored),
                "ends": _ends(row),
                "factor": _factor(row),
            }
            for row in savings
        ],
    }


def method_pairs(results: Results) -> list[Context]:
    """One triangular table a protocol and label fraction: the row's method minus the column's."""
    parts: dict[tuple[float, str], list[Comparison]] = defaultdict(list)
    for row in results.method_pairs:
        parts[row.fraction, row.arm_a.protocol].append(row)
    return [
        {
            "title": f"{PROTOCOLS[protocol].title}, {words.fraction_name(fraction)}",
            **_triangle(rows),
        }
        for (fraction, protocol), rows in parts.items()
    ]


def name(arm: str | None) -> str:
    """The printed name of what a gate speaks of: a method, an arm, or everything."""
    if arm is None:
        return ALL
    return method_label(arm)


def _triangle(rows: Sequence[Comparison]) -> Context:
    arms = list(dict.fromkeys([r.arm_a for r in rows] + [r.arm_b for r in rows]))
    found = {(r.arm_a, r.arm_b): r for r in rows}
    return {
        "columns": [method_title(arm.method) for arm in arms[1:]],
        "rows": [
            (
                method_title(arm.method),
                [_pair(found.get((arm, other))) for other in arms[1:]],
            )
            for arm in arms[:-1]
        ],
    }


def _pair(row: Comparison | None) -> Context | None:
    if row is None:
        return None
    return {
        "verdict": row.verdict,
        "difference": words.points(row.difference),
        "ends": words.points_bracket(row.low, row.high),
        "p_holm": words.p_value(row.p_holm),
    }


def _smallest(savings: Sequence[LabelSaving]) -> list[LabelSaving]:
    """For each arm the saving at its smallest label count, where most is to be saved."""
    first: dict[Arm, LabelSaving] = {}
    for row in savings:
        known = first.setdefault(row.arm_a, row)
        if row.labels < known.labels:
            first[row.arm_a] = row
    return list(first.values())


def _against(row: AreaDifference | LabelSaving) -> str:
    return f"{row.arm_a.label} − {row.arm_b.label}"


def _labels(labels: float | None, censored: str | None) -> str:
    if labels is not None:
        return words.count(round(labels))
    return "fewer than measured" if censored == "below" else "more than measured"


def _ends(row: LabelSaving) -> str:
    low = words.NONE if row.low is None else words.count(round(row.low))
    high = words.NONE if row.high is None else words.count(round(row.high))
    return f"[{low}, {high}]"


def _factor(row: LabelSaving) -> str:
    """The saving as a number, only where it may be said as one."""
    if row.needed is None or not row.quotable:
        return words.NONE
    return f"{row.needed / row.labels:.1f}×"
