"""What the terminal shows."""

from __future__ import annotations

import io
import subprocess
import sys

from made_results import Knobs, build, typed
from rich.console import Console

from headstart.reporting.summary import summary_table, verdict_lines


def printed(results: dict) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(summary_table(typed(results)))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_arm_has_its_row_and_lost_ones_say_why() -> None:
    results = build(Knobs(seeds=2))
    text = printed(results)
    for name in ("always the largest class", "random weights, linear head", "SimCLR, fine-tuned"):
        assert name in text
    assert text.count("pretraining collapsed at epoch 4: std ratio 0.03 on three checks") == 2


def test_scores_and_differences_are_the_results() -> None:
    results = build(Knobs(seeds=1))
    entry = next(e for e in results["comparisons"] if e["arm_a"] == "simclr/finetune")
    entry.update(difference=0.0412, low=0.012, high=0.07)
    line = next(line for line in printed(results).splitlines() if "SimCLR, fine-tuned" in line)
    assert "+4.1 [+1.2, +7.0]" in line
    score = next(
        a for a in results["arms"] if (a["method"], a["protocol"]) == ("simclr", "finetune")
    )
    assert f"{100 * score['metrics']['balanced_accuracy']:.1f}\u00a0%" in line


def test_markup_in_names_is_printed_not_obeyed() -> None:
    results = build(Knobs(seeds=1))
    for arm in results["arms"]:
        if arm["method"] == "byol":
            arm["method"] = "[red]mine\\"
        if arm["reason"]:
            arm["reason"] = "collapsed in [bold]x[/bold]"
    text = printed(results)
    assert "[red]mine\\" in text
    assert "[bold]x[/bold]" in text


def test_verdict_lines_group_the_sentences_of_fine_tuned_arms() -> None:
    results = build(Knobs(seeds=2))
    for entry in results["comparisons"]:
        entry["verdict"] = "better" if entry["arm_a"].startswith("simclr") else "worse"
    lines = verdict_lines(typed(results))
    assert lines.index("What helped:") < lines.index("What did not help:")
    assert "What can't be told:" not in lines
    shown, rest = 0, 0
    for entry in results["comparisons"]:
        found = any(entry["sentence"][1:] in line for line in lines)
        against = entry["arm_b"] == "supervised/supervised"
        main = entry["arm_a"].endswith("/finetune")
        assert found == (against and main)
        shown, rest = shown + found, rest + (against and not main)
    assert shown
    assert f"Linear heads and k-NN: {rest} more sentences are in the report." in lines
    assert lines[-1].startswith("SimSiam was not compared")


def test_no_comparison_is_said() -> None:
    results = build(Knobs(seeds=1, collapsed=None))
    results.update(comparisons=[], arms=[], pretraining=[])
    assert verdict_lines(typed(results)) == ["No arm was compared with supervised training."]
    assert printed(results)


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, headstart.reporting.page, headstart.reporting.summary;"
        "heavy = {'altair', 'vl_convert', 'jinja2', 'torch', 'numpy', 'PIL', 'rich', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
