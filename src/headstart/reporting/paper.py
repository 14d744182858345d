"""What a paper needs beside the report: tables as CSV and LaTeX, the methods, the references.

``FILES`` says what is written: a name below the run's folder and the function that makes it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.files import write_bytes
from headstart.reporting import tables, words
from headstart.reporting.safe import cell, latex
from headstart.results import Comparison, Metrics, Results

if TYPE_CHECKING:
    Row = dict[str, str | float | None]

ENDS = ("low", "high")


def write_for_paper(results: Results, run: Path) -> None:
    """Write every file of ``FILES``; one that has nothing to say is taken away."""
    for name, make in FILES.items():
        path = run / name
        text = make(results)
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())
        else:
            path.unlink(missing_ok=True)


def scores_csv(results: Results) -> str:
    """A row an arm and amount of labels: means over seeds, as shares."""
    return _csv([_score_row(row) for row in tables.summaries(results)])


def comparisons_csv(results: Results) -> str:
    """A row a comparison, as shares; those with supervised training first."""
    rows = [*tables.against_supervised(results), *tables.other_comparisons(results)]
    return _csv([_comparison_row(row) for row in (*rows, *results.method_pairs)])


def scores_tex(results: Results) -> str:
    """The scores in per cent with their intervals, for ``\\usepackage{booktabs}``."""
    summaries = tables.summaries(results)
    if not summaries:
        return ""
    metric = words.METRICS[tables.primary_metric(results)]
    head = ["Arm", "Labels", words.capital(metric), r"95\,\% interval", "Seeds"]
    body = [
        [
            latex(row.arm.label),
            latex(words.count(row.labels)),
            latex(_bare(words.percent(row.score))),
            latex(words.bracket(row.interval.get(row.metric))),
            str(len(row.cells)),
        ]
        for row in summaries
    ]
    caption = f"{words.capital(metric)} on the test images, in per cent."
    return _tex(latex(caption), "scores", "lrrrr", [head, *body])


def comparisons_tex(results: Results) -> str:
    """The differences to supervised training in points, for ``\\usepackage{booktabs}``."""
    rows = tables.against_supervised(results)
    if not rows:
        return ""
    head = ["Arm", "Labels", "Points", r"95\,\% interval", "$p$ (Holm)", "Verdict"]
    body = [
        [
            latex(row.arm_a.label),
            latex(words.fraction_name(row.fraction)),
            latex(words.points(row.difference)),
            latex(words.points_bracket(row.low, row.high)),
            latex(words.p_value(row.p_holm)),
            latex(row.verdict),
        ]
        for row in rows
    ]
    metric = words.METRICS[tables.primary_metric(results)]
    caption = f"Difference to supervised training, in points of {metric}."
    return _tex(latex(caption), "comparisons", "llrrrl", [head, *body])


def methods_md(results: Results) -> str:
    """The methods of the study in prose, with every setting and citations of Pandoc's kind."""
    from headstart.reporting.sentences import methods  # brings NumPy

    return methods.methods(results)


def references_bib(results: Results) -> str:
    """What the methods cite, as BibTeX."""
    from headstart.reporting.sentences import methods

    return "\n\n".join(methods.references(results)) + "\n"


FILES: Mapping[str, Callable[[Results], str]] = {
    "tables/scores.csv": scores_csv,
    "tables/scores.tex": scores_tex,
    "tables/comparisons.csv": comparisons_csv,
    "tables/comparisons.tex": comparisons_tex,
    "methods.md": methods_md,
    "references.bib": references_bib,
}


def _score_row(row: tables.ArmSummary) -> Row:
    made: Row = {
        "arm": row.arm.label,
        "method": row.arm.method,
        "protocol": row.arm.protocol,
        "label_fraction": row.fraction,
        "labels": row.labels,
        "seeds": len(row.cells),
        "seeds_lost": len(row.lost),
    }
    for metric in Metrics.model_fields:
        made[metric] = row.mean.get(metric)
        made |= zip(
            (f"{metric}_{end}" for end in ENDS),
            row.interval.get(metric, (None, None)),
            strict=True,
        )
    made["lowest_seed"] = min(row.scores, default=None)
    made["highest_seed"] = max(row.scores, default=None)
    return made


def _comparison_row(row: Comparison) -> Row:
    return {
        "arm_a": row.arm_a.label,
        "arm_b": row.arm_b.label,
        "metric": row.metric,
        "label_fraction": row.fraction,
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
        "p": row.p,
        "p_holm": row.p_holm,
        "seeds": row.seeds,
        "test_images": row.n,
        "verdict": row.verdict,
        "sentence": row.sentence,
    }


def _csv(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _tex(caption: str, name: str, columns: str, rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    lines: Iterator[str] = (" & ".join(row) + r" \\" for row in body)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:headstart-{name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _bare(percent: str) -> str:
    """Without its sign, which stands in the caption."""
    return percent.removesuffix("\u00a0%")
