"""What the terminal shows when a run ends: the verdict in sentences and one table of arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.reporting import explanations, tables, words
from headstart.results import Comparisons, Results

if TYPE_CHECKING:
    from rich.table import Table


def answer_lines(results: Results) -> list[str]:
    """The answer in a few lines, the headline first; every single sentence is in the report."""
    from headstart.reporting.answer import first_screen

    first = first_screen(results)
    lines = [first["headline"], *first["deck"], first["frozen"]]
    return [line for line in lines if line]


def summary_table(results: Results) -> Table:
    """The arms with the mean over seeds, in per cent; it fits into 80 columns.

    Of an arm without a score the row says what became of it; ``lost_lines`` say why.
    """
    from rich import box
    from rich.table import Table

    metric = words.capital(words.METRICS[tables.primary_metric(results)])
    title = f"{metric} on the test images, per cent, with 95 % intervals"
    table = Table(box=box.SIMPLE_HEAD, title=_plain(title), padding=(0, 1, 0, 0))
    table.add_column("arm", max_width=27)
    table.add_column("labels", justify="right")
    table.add_column("score", justify="right")
    table.add_column("against supervised", justify="right")
    for row in tables.summaries(results):
        table.add_row(*(_plain(cell) for cell in _cells(results, row)))
    return table


def lost_lines(results: Results) -> list[str]:
    """Why arms have no score, one line a reason with all the arms that it is true of."""
    why: dict[str, list[str]] = {}
    for row in tables.summaries(results):
        for lost in row.lost:
            reason = words.sentence(words.lost(lost.status, lost.reason))
            why.setdefault(reason, []).append(row.arm.label)
    return [
        f"Not judged: {words.listed(list(dict.fromkeys(arms)))}. {reason}"
        for reason, arms in why.items()
    ]


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


def validity_lines(results: Results) -> list[str]:
    """Which checks of the comparison fail, for which arms, and what to do next."""
    from headstart.reporting.answer import first_screen

    first = first_screen(results)
    steps = [
        f"Next: {step.what}. {step.why}" + f" {step.command}" * bool(step.command)
        for step in first["steps"]
    ]
    return [line for line in (first["validity"], *steps) if line]


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


def _cells(results: Results, row: tables.ArmSummary) -> tuple[str, ...]:
    entry = tables.comparison_of(results, row)
    difference = ""
    if entry is not None:
        ends = words.points_bracket(entry.low, entry.high)
        difference = f"{words.points(entry.difference)} {ends}".strip()
    score = words.percent(row.score).removesuffix("\u00a0%")
    score = f"{score} {words.bracket(row.interval.get(row.metric))}".strip()
    if not row.cells:
        score = row.lost[0].status
    return row.arm.label, words.count(row.labels), score, difference


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
