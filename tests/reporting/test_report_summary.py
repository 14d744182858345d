"""What the terminal shows."""

from __future__ import annotations

import io
import subprocess
import sys

from made_results import Knobs, build, typed
from rich.console import Console

from headstart.reporting.answer import first_screen
from headstart.reporting.summary import answer_lines, lost_lines, summary_table


def printed(results: dict, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(summary_table(typed(results)))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_arm_has_its_row_and_lost_ones_say_why_once() -> None:
    results = build(Knobs(seeds=2))
    text = printed(results)
    for name in ("always the largest class", "random weights, linear head", "SimCLR, fine-tuned"):
        assert name in text
    assert len([line for line in text.splitlines() if "collapsed" in line]) == 2
    lines = lost_lines(typed(results))
    assert len(lines) == 1
    assert lines[0].startswith("Not judged: SimSiam, fine-tuned and SimSiam, linear head. ")
    assert "pretraining collapsed at epoch 4: std ratio 0.03 on three checks" in lines[0].lower()


def test_the_table_fits_into_80_columns_a_row_each() -> None:
    results = build(Knobs(seeds=2))
    lines = printed(results).splitlines()
    assert max(map(len, lines)) <= 80
    assert printed(results, 140).split() == printed(results).split()
    rows = len({(a["method"], a["protocol"], a["label_fraction"]) for a in results["arms"]})
    assert len([line for line in lines if line.strip()]) == rows + 3  # title, head, rule


def test_scores_and_differences_are_the_results() -> None:
    results = build(Knobs(seeds=1))
    entry = next(e for e in results["comparisons"] if e["arm_a"] == "simclr/finetune")
    entry.update(difference=0.0412, low=0.012, high=0.07)
    line = next(line for line in printed(results).splitlines() if "SimCLR, fine-tuned" in line)
    assert "+4.1 [+1.2, +7.0]" in line
    score = next(
        a for a in results["arms"] if (a["method"], a["protocol"]) == ("simclr", "finetune")
    )
    assert f"{100 * score['metrics']['balanced_accuracy']:.1f} [" in line


def test_markup_in_names_is_printed_not_obeyed() -> None:
    results = build(Knobs(seeds=1))
    for arm in results["arms"]:
        if arm["method"] == "byol":
            arm["method"] = "[red]mine\\"
        if arm["reason"]:
            arm["reason"] = "collapsed in [bold]x[/bold]"
    assert "[red]mine\\" in printed(results)
    assert any("[bold]x[/bold]" in line for line in lost_lines(typed(results)))


def test_the_answer_begins_with_the_headline_of_the_page() -> None:
    results = build(Knobs(seeds=2))
    for entry in results["comparisons"]:
        entry["verdict"] = "better" if entry["arm_a"].startswith("simclr") else "worse"
    first = first_screen(typed(results))
    lines = answer_lines(typed(results))
    assert lines[0] == first["headline"]
    assert first["frozen"] in lines
    assert len(lines) == len(set(lines))


def test_no_comparison_is_said() -> None:
    results = build(Knobs(seeds=1, collapsed=None))
    results.update(comparisons=[], arms=[], pretraining=[])
    assert answer_lines(typed(results))[0].startswith("No answer")
    assert printed(results)


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, headstart.reporting.page, headstart.reporting.summary;"
        "heavy = {'altair', 'vl_convert', 'jinja2', 'torch', 'numpy', 'PIL', 'rich', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
