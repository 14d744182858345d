"""What the terminal shows when a run ends: the verdict in sentences and one table of arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.arms import method_title
from headstart.reporting import explanations, tables, validity, words
from headstart.results import Comparison, Comparisons, Results

if TYPE_CHECKING:
    from rich.table import Table


def verdict_lines(results: Results) -> list[str]:
    """The verdict as plain lines, grouped: fine-tuned arms, or the frozen ones where none is.

    A group's name stands on its own line and ends in a colon; the sentences follow, indented. The
    sentences of the other arms are for the report: a terminal holds only so many.
    """
    parts = _parts(tables.against_supervised(results))
    lines = [line for part in parts[:1] for line in _grouped_lines(part)]
    if len(parts) > 1:
        lines.append(f"Linear heads and k-NN: {len(parts[1])} more sentences are in the report.")
    lines += [_missing_line(method, why) for method, why in tables.never_compared(results)]
    return lines or ["No arm was compared with supervised training."]


def summary_table(results: Results) -> Table:
    """The arms with the mean over seeds, in per cent; lost arms keep their row and say why."""
    from rich import box
    from rich.table import Table

    metric = tables.primary_metric(results)
    table = Table(box=box.SIMPLE_HEAD, title=_plain(f"{words.METRICS[metric]} on the test images"))
    table.add_column("arm")
    table.add_column("labels", justify="right")
    table.add_column(words.METRICS[metric], justify="right")
    table.add_column("against supervised, points", justify="right")
    table.add_column("")
    for row in tables.summaries(results):
        table.add_row(*(_plain(cell) for cell in _cells(results, row)))
    return table


def explanation_lines(results: Results) -> list[str]:
    """Where the networks look, as plain lines."""
    return explanations.lines(results)


def answers_table(rows: Sequence[tuple[str, str, float, str, float]]) -> Table:
    """Of one picture: each arm's answer with its probability, and those of the explained class."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("arm", "answer", "probability", "explained", "its probability"):
        table.add_column(title, justify="right" if "probability" in title else "left")
    for arm, answer, sure, target, share in rows:
        cells = (arm, answer, words.percent(sure), target, words.percent(share))
        table.add_row(*(_plain(cell) for cell in cells))
    return table


def runs_table(rows: Sequence[tuple[str, str, str, str]]) -> Table:
    """Runs as rows: folder, state, when it was begun, and what it found."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("run", "state", "begun", "answer"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    return table


def gate_lines(results: Results) -> list[str]:
    """The gates that fail, one line a reason, and one line that counts all of them."""
    if not results.gates:
        return []
    return [*validity.failures(results), validity.summary(results) + "."]


def comparison_table(compared: Comparisons) -> Table:
    """Every comparison as a row: the difference in points with its interval, and p (Holm)."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("comparison", "labels", "points", "p (Holm)", "seeds", "images", "verdict"):
        text = title in ("comparison", "labels", "verdict")
        table.add_column(title, justify="left" if text else "right")
    for entry in (*compared.comparisons, *compared.method_pairs):
        ends = words.points_bracket(entry.low, entry.high)
        cells = (
            f"{entry.arm_a.label} − {entry.arm_b.label}",
            words.fraction_name(entry.fraction),
            f"{words.points(entry.difference)} {ends}".strip(),
            words.p_value(entry.p_holm),
            words.count(entry.seeds),
            words.count(entry.n),
            entry.verdict,
        )
        table.add_row(*(_plain(cell) for cell in cells))
    return table


def comparison_lines(compared: Comparisons) -> list[str]:
    """The sentences of the comparisons with the baseline, of the areas and of labels saved."""
    named = len({entry.fraction for entry in compared.comparisons}) > 1
    lines = [
        f"{words.fraction_name(entry.fraction)}: {entry.sentence}" if named else str(entry.sentence)
        for entry in compared.comparisons
    ]
    lines += [row.sentence for row in compared.area_differences]
    return lines + [row.sentence for row in compared.label_saving]


def _parts(comparisons: list[Comparison]) -> list[list[Comparison]]:
    main = [entry for entry in comparisons if entry.arm_a.protocol == "finetune"]
    rest = [entry for entry in comparisons if entry.arm_a.protocol != "finetune"]
    return [part for part in (main, rest) if part]


def _grouped_lines(comparisons: list[Comparison]) -> list[str]:
    lines = []
    for group, entries in tables.grouped(comparisons).items():
        lines.append(f"{group}:")
        lines += [f"  {_where(entry)}: {words.sentence(entry.sentence)}" for entry in entries]
    return lines


def _where(entry: Comparison) -> str:
    return f"{entry.arm_a.label}, {words.fraction_name(entry.fraction)}"


def _missing_line(method: str, reason: str) -> str:
    return f"{method_title(method)} was not compared: {words.sentence(reason)}"


def _cells(results: Results, row: tables.ArmSummary) -> tuple[str, ...]:
    entry = tables.comparison_of(results, row)
    difference = ""
    if entry is not None:
        ends = words.points_bracket(entry.low, entry.high)
        difference = f"{words.points(entry.difference)} {ends}".strip()
    lost = row.lost[0] if row.lost else None
    note = words.lost(lost.status, lost.reason) if lost else ""
    if lost and row.cells:
        note = f"{len(row.lost)} of {len(row.lost) + len(row.cells)} seeds {note}"
    score = f"{words.percent(row.score)} {words.bracket(row.interval.get(row.metric))}".strip()
    return (
        row.arm.label,
        words.count(row.labels),
        score,
        difference,
        note,
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
