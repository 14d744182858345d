"""The validity strip, the label curves in sentences, and method against method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_results import Knobs, build, compared, typed

from headstart.reporting import validity
from headstart.reporting.page import write_report
from headstart.reporting.summary import comparison_lines, comparison_table, validity_lines
from headstart.results import Results

ONE = Knobs(seeds=1, images=0, pretrained=(), collapsed=None)


def gate(number: str, result: str, arm: str | None = None, reason: str = "why") -> dict[str, Any]:
    return {"gate": number, "name": "a name", "arm": arm, "result": result, "reason": reason}


def with_gates(rows: list[dict[str, Any]]) -> Results:
    return typed({**build(ONE), "gates": rows})


def test_all_pass_is_one_line() -> None:
    rows = [gate(f"G{i}", "PASS", arm) for i in range(1, 10) for arm in ("a", "b")]
    assert validity.summary(with_gates(rows)) == "9 gates: all pass"
    assert validity_lines(with_gates(rows))[0] == "All 9 checks of the comparison pass."
    assert not any("checks" in line for line in validity_lines(with_gates([])))


def test_a_gate_counts_as_its_worst_row() -> None:
    rows = [gate("G1", "PASS"), gate("G2", "PASS", "a"), gate("G2", "FAIL", "b")]
    rows += [gate("G3", "NOT RUN", "a"), gate("G3", "PASS", "b"), gate("G2", "NOT RUN", "c")]
    assert validity.summary(with_gates(rows)) == "3 gates: 1 pass, 1 fail, 1 not run"


def test_failures_of_one_reason_share_a_line() -> None:
    rows = [gate("G8", "FAIL", "simclr/linear"), gate("G8", "FAIL", "byol"), gate("G9", "PASS")]
    rows += [gate("G1", "FAIL", None, "copies in the pool")]
    assert validity.failures(with_gates(rows)) == [
        "G8 (a name) fails for SimCLR, linear head and BYOL: Why.",
        "G1 (a name) fails for the whole study: Copies in the pool.",
    ]


def test_the_strip_shows_failures_and_folds_the_rest(tmp_path: Path) -> None:
    results = build(ONE)
    page = write_report(typed(results), tmp_path).read_text(encoding="utf8")
    assert "Checks that fail" not in page
    assert "<summary>4 gates: 3 pass, 1 not run</summary>" in page
    results["gates"].append(gate("G4", "FAIL", "simclr", "weights: <b>a</b> here"))
    page = write_report(typed(results), tmp_path).read_text(encoding="utf8")
    first = page.partition("<nav")[0]
    assert "3 of 5 checks of the comparison pass. 1 check could not be run." in first
    assert "“A name” fails for SimCLR." in first
    assert "G4 (a name) fails for SimCLR" in page
    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert "5 gates: 3 pass, 1 fail, 1 not run" in (tmp_path / "report.md").read_text(
        encoding="utf8"
    )


def test_older_results_without_any_of_it_still_make_a_page(tmp_path: Path) -> None:
    results = build(ONE)
    for key in ("gates", "method_pairs", "area_differences", "label_saving"):
        del results[key]
    for arm in results["arms"]:
        del arm["compute"]
    assert write_report(typed(results), tmp_path).exists()


def test_label_curves_name_the_smallest_budget_and_keep_the_rest_in_the_table() -> None:
    results = build(Knobs(seeds=5, fractions=(0.1, 0.3, 1.0)))
    view = validity.label_curves(typed(results))
    assert view is not None
    assert view["sentences"] == [
        "Over all label counts.",
        "With 10 % of your labels SimCLR saves roughly 3.9×.",
    ]
    first, second = view["savings"]
    assert (first["needed"], first["ends"]) == ("540", "[380, –]")
    assert first["factor"] == f"{540.4 / results['label_saving'][0]['labels']:.1f}×"
    assert (second["needed"], second["factor"]) == ("more than measured", "–")
    assert validity.label_curves(typed(build(ONE))) is None


def test_pairs_stand_in_a_triangle() -> None:
    results = build(ONE)
    (part,) = validity.method_pairs(typed(results))
    assert part["title"] == "fine-tuned, all labels"
    assert part["columns"] == ["SimCLR", "BYOL"]
    names = [(name, [bool(cell) for cell in cells]) for name, cells in part["rows"]]
    assert names == [("MoCo v2", [True, True]), ("SimCLR", [False, True])]


def test_compute_stands_in_the_table_of_arms(tmp_path: Path) -> None:
    page = write_report(typed(build(ONE)), tmp_path).read_text(encoding="utf8")
    assert "images seen, pretraining" in page
    assert "35\u202f840" in page


def test_the_terminal_of_compare_lists_rows_and_sentences() -> None:
    results = build(Knobs(seeds=5, fractions=(0.1, 1.0)))
    table = comparison_table(compared(results))
    assert table.row_count == len(results["comparisons"]) + len(results["method_pairs"])
    lines = comparison_lines(compared(results))
    assert lines[0].startswith("10 % of the labels: ".replace("10 %", "10\u00a0%"))
    assert lines[-1] == "With 10 % of your labels SimCLR saves roughly 3.9×."
