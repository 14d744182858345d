"""Tables, methods and references for a paper: the results' numbers, and no name that can run."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from made_results import Knobs, build, typed

from headstart.reporting import paper, safe
from headstart.reporting.sentences import methods

ONE = Knobs(seeds=2, images=0, pretrained=())
HOSTILE = '=HYPERLINK("http://x")&%$#_{}~^\\input{/etc/passwd}[x]<b>|`*'


def test_every_file_is_written_and_one_with_nothing_to_say_goes_away(tmp_path: Path) -> None:
    paper.write_for_paper(typed(build(ONE)), tmp_path)
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(paper.FILES)
    empty = {**build(ONE), "comparisons": [], "method_pairs": []}
    paper.write_for_paper(typed(empty), tmp_path)
    assert not (tmp_path / "tables" / "comparisons.csv").exists()
    assert (tmp_path / "tables" / "scores.csv").exists()


def test_the_tables_hold_the_results() -> None:
    results = build(ONE)
    rows = list(csv.DictReader(paper.comparisons_csv(typed(results)).splitlines()))
    assert len(rows) == len(results["comparisons"]) + len(results["method_pairs"])
    known = {
        (typed(results).comparisons[i].arm_a.label, typed(results).comparisons[i].arm_b.label): e
        for i, e in enumerate(results["comparisons"])
    }
    for row in rows[: len(known)]:
        entry = known[row["arm_a"], row["arm_b"]]
        assert float(row["difference"]) == entry["difference"]
        assert float(row["p_holm"]) == entry["p_holm"]
    scores = list(csv.DictReader(paper.scores_csv(typed(results)).splitlines()))
    byol = next(r for r in scores if r["arm"] == "BYOL, fine-tuned")
    mean = [
        a["metrics"]["balanced_accuracy"]
        for a in results["arms"]
        if (a["method"], a["protocol"]) == ("byol", "finetune")
    ]
    assert float(byol["balanced_accuracy"]) == pytest.approx(sum(mean) / 2)
    assert f"{100 * sum(mean) / 2:.1f}" in paper.scores_tex(typed(results))


@pytest.mark.parametrize("start", ["=1+1", "+1+1", "-1+x", "@SUM(A1)", "\t=1", "  =1", "\r=1"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert str(safe.cell(start)).startswith("'")
    assert safe.plain(str(safe.cell(start))) == start
    assert safe.plain("'quoted'") == "'quoted'"
    assert safe.cell("-0.25") == "-0.25"
    assert safe.cell(-0.25) == -0.25
    assert safe.cell("SimCLR, fine-tuned") == "SimCLR, fine-tuned"


def test_hostile_names_stay_names() -> None:
    results = build(ONE)
    for arm in results["arms"]:
        if arm["method"] == "byol":
            arm["method"] = HOSTILE.replace("/", "-")
    results["study"][HOSTILE] = HOSTILE
    results["provenance"]["device"] = HOSTILE
    made = typed(results)
    rows = list(csv.reader(paper.scores_csv(made).splitlines()))
    assert all(not cell.startswith(safe.FORMULA) for row in rows[1:] for cell in row)
    tex = paper.scores_tex(made)
    assert "\\input" not in tex
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in tex.splitlines() if "&" in line}
    assert columns == {4}
    assert not re.search(r"\\\\\s*\n\s*\[", tex)
    text = methods.methods(made)
    assert "<b>" not in text
    assert "\\|\\`\\*" in text


def test_everything_that_is_cited_has_its_reference_and_nothing_else_has() -> None:
    made = typed(build(ONE))
    text = methods.methods(made)
    cited = set(re.findall(r"@([a-z]+\d{4}[a-z]+)", text))
    entries = methods.references(made)
    assert {entry.partition("{")[2].partition(",")[0] for entry in entries} == cited
    assert {"he2020momentum", "chen2020simple", "grill2020bootstrap"} <= cited
    assert all(entry.count("{") == entry.count("}") for entry in entries)


def test_every_setting_of_the_study_is_listed() -> None:
    text = methods.methods(typed(build(ONE)))
    assert "- encoder.backbone: resnet18" in text
    assert "- compare.margin: 0.02" in text
