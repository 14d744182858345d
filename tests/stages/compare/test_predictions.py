"""Files of predictions: read whatever the form, joined by image, refused in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.config import StudyError
from headstart.stages.compare.families import Question
from headstart.stages.compare.predictions import (
    compare_files,
    compare_paths,
    compare_run,
    read_model,
    run_question,
    write_comparison,
)

ASKED = Question(replicates=200, scope="this dataset, these models")
CLASSES = ("bag", "hat", "shoe")


def table(folder: Path, name: str, header: list[str], rows: list[list[Any]]) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = folder / f"{name}.csv"
    path.write_text(text.getvalue(), encoding="utf8")
    return path


def model(
    folder: Path,
    name: str,
    accuracy: float = 0.7,
    *,
    seeds: tuple[int, ...] = (0,),
    n: int = 60,
    **columns: Any,
) -> Path:
    """A file of predictions on the images i0, i1 … of three classes; ``columns`` are constants."""
    rng = np.random.default_rng(round(accuracy * 1000))
    rows = []
    for seed in seeds:
        for i in range(n):
            label = i % 3
            said = label if rng.random() < accuracy else (label + rng.integers(1, 3)) % 3
            rows.append([f"i{i}", CLASSES[label], CLASSES[said], seed, *columns.values()])
    return table(folder, name, ["id", "label", "prediction", "seed", *columns], rows)


def refused(paths: list[Path], baseline: Path | None = None) -> str:
    with pytest.raises(StudyError) as caught:
        compare_files(paths, baseline, ASKED)
    line = str(caught.value)
    assert "\n" not in line
    assert any(str(path) in line for path in paths) or line.startswith("--predictions")
    return line


# --- what is read --------------------------------------------------------------------------------

name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_is_read(tmp_path: Path, data: st.DataObject) -> None:
    """Any names, any order of rows and columns, scores or answers: the same predictions."""
    classes = data.draw(st.lists(name, min_size=2, max_size=4, unique=True))
    ids = data.draw(st.lists(name, min_size=len(classes), max_size=12, unique=True))
    labels = {i: classes[k % len(classes)] for k, i in enumerate(ids)}
    said = {i: data.draw(st.sampled_from(classes)) for i in ids}
    form = data.draw(st.sampled_from(["prediction", "p:", "plain"]))
    columns = {"id": lambda i: i, "label": lambda i: labels[i]}
    if form == "prediction":
        columns["prediction"] = lambda i: said[i]
    else:
        if form == "plain" and {"id", "label", *(f"p:{c}" for c in classes)} & set(classes):
            return
        for c in classes:
            title = f"p:{c}" if form == "p:" else c
            if title != title.strip():
                return  # names of columns are stripped
            columns[title] = lambda i, c=c: 1.5 if said[i] == c else -0.5
    if form == "plain" and any(c.startswith("p:") or c in SPECIAL for c in classes):
        return
    if form == "p:" and any(c != c.strip() for c in classes):
        return
    header = data.draw(st.permutations(list(columns)))
    order = data.draw(st.permutations(ids))
    path = table(tmp_path, "made", header, [[columns[c](i) for c in header] for i in order])
    read = read_model(path)
    assert read.labels == labels
    assert read.answers == {(0, 1.0, 0): said}
    assert set(read.classes) == set(labels.values()) | (
        set() if form == "prediction" else {*classes}
    )


SPECIAL = ("prediction", "seed", "group", "label_fraction", "label_draw")


def fault_of(path: Path) -> str | None:
    """The line that a file is refused with; anything but a ``StudyError`` is a bug."""
    try:
        read_model(path)
    except StudyError as error:
        return str(error)
    return None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_give_a_line_or_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    line = fault_of(path)
    assert line is None or (str(path) in line and "\n" not in line)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text('id,label,prediction,seed,p:x\n"\r', max_size=120))
def test_anything_like_a_table_gives_a_line_or_a_model(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    path.write_text("id,label,prediction\n" + text, encoding="utf8", newline="")
    line = fault_of(path)
    assert line is None or (str(path) in line and "\n" not in line)


def test_a_byte_order_mark_and_spaces_in_the_header_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("\ufeffid, label ,prediction\r\na,x,x\r\nb,y,x\r\n\r\n".encode())
    assert read_model(path).answers == {(0, 1.0, 0): {"a": "x", "b": "x"}}


# --- what is compared ----------------------------------------------------------------------------


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    a, b = model(tmp_path, "a", 0.8, seeds=(0, 1)), model(tmp_path, "b", 0.6, seeds=(0, 1))
    whole = compare_files([b, a], None, ASKED).found.to_json()
    lines = a.read_text().splitlines()
    a.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert compare_files([b, a], None, ASKED).found.to_json() == whole
    row = whole["comparisons"][0]
    assert (row["arm_a"], row["arm_b"], row["seeds"], row["n"]) == ("a", "b", 2, 60)
    assert row["difference"] > 0
    assert "these models" in row["sentence"]
    assert "backbone" not in row["sentence"]


def test_the_baseline_is_the_first_file_or_the_one_named(tmp_path: Path) -> None:
    a, b, c = (model(tmp_path, x, s) for x, s in (("a", 0.8), ("b", 0.6), ("c", 0.7)))
    first = compare_files([a, b, c], None, ASKED).found.to_json()
    assert [(r["arm_a"], r["arm_b"]) for r in first["comparisons"]] == [("b", "a"), ("c", "a")]
    named = compare_files([a, b, c], b, ASKED).found.to_json()
    assert [(r["arm_a"], r["arm_b"]) for r in named["comparisons"]] == [("a", "b"), ("c", "b")]
    assert [(r["arm_a"], r["arm_b"]) for r in named["method_pairs"]] == [("a", "c")]
    assert named == compare_files([a, c], b, ASKED).found.to_json()
    ab, ba = first["comparisons"][0], named["comparisons"][0]
    assert ab["difference"] == pytest.approx(-ba["difference"])


def test_equal_names_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    a, b = model(tmp_path / "x", "test", 0.8), model(tmp_path / "y", "test", 0.6)
    row = compare_files([a, b], None, ASKED).found.to_json()["comparisons"][0]
    assert (row["arm_a"], row["arm_b"]) == (str(tmp_path / "y/test"), str(tmp_path / "x/test"))


def test_scores_decide_where_there_is_no_prediction(tmp_path: Path) -> None:
    rows = [[f"i{i}", CLASSES[i % 3], *np.eye(3)[(i + (i < 6)) % 3]] for i in range(60)]
    scored = table(tmp_path, "scored", ["id", "label", *CLASSES], rows)
    row = compare_files([model(tmp_path, "b"), scored], None, ASKED).found.to_json()["comparisons"][
        0
    ]
    assert row["difference"] > 0.1


def test_common_seeds_are_compared_and_said(tmp_path: Path) -> None:
    a, b = model(tmp_path, "a", 0.8, seeds=(0, 1, 2)), model(tmp_path, "b", 0.6, seeds=(1, 2, 3))
    compared = compare_files([a, b], None, ASKED)
    assert compared.found.to_json()["comparisons"][0]["seeds"] == 2
    assert compared.notes == (f"{b} has seeds 1, 2, 3, {a} 0, 1, 2: compared on 1, 2",)


def test_runs_without_a_common_seed_are_paired_in_order_and_said(tmp_path: Path) -> None:
    a, b = model(tmp_path, "a", 0.8, seeds=(0, 1)), model(tmp_path, "b", 0.6, seeds=(7, 8, 9))
    compared = compare_files([a, b], None, ASKED)
    assert compared.found.to_json()["comparisons"][0]["seeds"] == 2
    assert "share no seed" in compared.notes[0]
    assert "7 with 0, 8 with 1" in compared.notes[0]
    same = model(tmp_path, "b", 0.6, seeds=(0, 1))
    assert compare_files([a, same], None, ASKED).found.to_json() == compared.found.to_json()


def test_groups_are_resampled_together_whichever_file_has_them(tmp_path: Path) -> None:
    def rows(grouped: bool) -> list[list[Any]]:
        return [
            [f"i{i}", CLASSES[i // 20], CLASSES[(i // 20 + (i % 20 < 8)) % 3]]
            + [f"g{i // 4}"] * grouped
            for i in range(60)
        ]

    header = ["id", "label", "prediction"]
    plain = table(tmp_path, "plain", header, rows(grouped=False))
    known = table(tmp_path, "known", [*header, "group"], rows(grouped=True))
    base = model(tmp_path, "base", 0.9)
    relabelled = [[f"i{i}", CLASSES[i // 20], CLASSES[i // 20]] for i in range(60)]
    base = table(tmp_path, "base", header, relabelled)

    def width(path: Path) -> float:
        row = compare_files([base, path], None, ASKED).found.to_json()["comparisons"][0]
        return float(row["high"] - row["low"])

    assert width(known) > 1.5 * width(plain)


def cells(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf8").splitlines()))


def test_label_fractions_make_a_curve(tmp_path: Path) -> None:
    def curve(name: str, low: float, high: float) -> Path:
        few = cells(model(tmp_path, "few", low, label_fraction=0.1))
        many = cells(model(tmp_path, "many", high, label_fraction=1.0))
        return table(tmp_path, name, few[0], few[1:] + many[1:])

    a, b = curve("a", 0.4, 0.7), curve("b", 0.7, 0.9)
    found = compare_files([a, b], None, ASKED).found.to_json()
    assert [row["fraction"] for row in found["comparisons"]] == [0.1, 1.0]
    assert found["area_differences"][0]["fractions"] == [0.1, 1.0]
    assert found["label_saving"] == []  # nobody said how many labels that were
    whole = model(tmp_path, "whole", 0.9)
    assert [
        r["fraction"] for r in compare_files([a, whole], None, ASKED).found.to_json()["comparisons"]
    ] == [1.0]


def test_the_comparison_is_written_whole(tmp_path: Path) -> None:
    a, b = model(tmp_path, "a", 0.8), model(tmp_path, "b", 0.6)
    compared = compare_paths([a, b], None, 0.05, are_files=True)
    write_comparison(compared, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert stored == {"notes": [], **compared.found.to_json()}
    with pytest.raises(StudyError, match="--out"):
        write_comparison(compared, a)


# --- what is refused -----------------------------------------------------------------------------

GOOD = [[f"i{i}", CLASSES[i % 3], CLASSES[i % 3]] for i in range(6)]
HEADER = ["id", "label", "prediction"]


def change(row: int, column: int, value: str) -> list[list[Any]]:
    rows = [list(r) for r in GOOD]
    rows[row][column] = value
    return rows


FAULTS: dict[str, tuple[list[str], list[list[Any]], str]] = {
    "no id": (["name", *HEADER[1:]], GOOD, "column 'id' is missing; found name, label, prediction"),
    "no label": (["id", "y", "prediction"], GOOD, "column 'label' is missing"),
    "no answer": (["id", "label", "said"], GOOD, "column 'prediction' is missing, and no scores"),
    "no rows": (HEADER, [], "no rows below the header"),
    "an id twice": (HEADER, [*GOOD, GOOD[0]], "line 8: id 'i0' is there twice; a file holds one"),
    "an unknown class": (HEADER, change(2, 2, "bat"), "line 4: prediction 'bat' is none of the"),
    "a missing id": (HEADER, GOOD[:4], "2 ids of"),
    "an id more": (HEADER, [*GOOD, ["i6", "bag", "bag"]], "1 id of"),
    "another label": (HEADER, change(3, 1, "hat"), "id 'i3' has label 'hat', 'bag' in"),
    "other classes": (
        HEADER,
        [[i, label.upper(), said.upper()] for i, label, said in GOOD],
        "its labels are BAG, HAT, SHOE, those of",
    ),
    "a ragged row": (HEADER, [*GOOD[:5], ["i5", "shoe"]], "line 7: 2 values for 3 columns"),
    "a column twice": ([*HEADER, "id"], [[*r, "x"] for r in GOOD], "two columns are called 'id'"),
    "a score in words": (
        ["id", "label", "p:bag", "p:hat", "p:shoe"],
        [[r[0], r[1], 0.2, "high", 0.3] for r in GOOD],
        "line 2: p:hat is 'high', not a number",
    ),
    "a score that is none": (
        ["id", "label", "p:bag", "p:hat", "p:shoe"],
        [[r[0], r[1], "nan", 1, 0.3] for r in GOOD],
        "line 2: p:bag is 'nan', not a number",
    ),
    "a class without scores": (
        ["id", "label", "p:bag", "p:hat"],
        [[*r[:2], 0.2, 0.3] for r in GOOD],
        "class 'shoe' has no column of scores",
    ),
    "a seed in words": ([*HEADER, "seed"], [[*r, "one"] for r in GOOD], "seed is 'one'"),
    "a label fraction of 10": (
        [*HEADER, "label_fraction"],
        [[*r, 10] for r in GOOD],
        "label_fraction is 10, not in (0, 1]",
    ),
    "a label fraction of its own": (
        [*HEADER, "label_fraction"],
        [[*r, 0.1] for r in GOOD],
        "label_fraction 0.1 is not in",
    ),
    "a seed that lacks images": (
        [*HEADER, "seed"],
        [[*r, 0] for r in GOOD] + [[*r, 1] for r in GOOD[:4]],
        "seed 1 lacks 2 ids, like 'i4'",
    ),
    "an id of two labels": (
        [*HEADER, "seed"],
        [[*r, 0] for r in GOOD] + [[*r, 1] for r in change(0, 1, "hat")],
        "id 'i0' has label 'hat', and 'bag' before",
    ),
    "an id twice in a seed": (
        [*HEADER, "seed"],
        [[*r, 3] for r in [*GOOD, GOOD[1]]],
        "id 'i1' is there twice for seed 3",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_line(fault: str, tmp_path: Path) -> None:
    good = table(tmp_path, "good", HEADER, GOOD)
    header, rows, told = FAULTS[fault]
    line = refused([good, table(tmp_path, "bad", header, rows)])
    assert told in line


def test_a_file_that_is_no_text_missing_or_empty(tmp_path: Path) -> None:
    good, bad = table(tmp_path, "good", HEADER, GOOD), tmp_path / "bad.csv"
    assert "No such file" in refused([good, bad])
    bad.write_bytes(b"")
    assert "the file is empty" in refused([good, bad])
    bad.write_bytes("id,label,prediction\na,taé,x\n".encode("latin1"))
    assert "not UTF-8" in refused([good, bad])
    bad.write_text('id,label,prediction\na,"x,y\n')
    assert "not readable as CSV" in refused([good, bad])
    assert "Is a directory" in refused([good, tmp_path])


def test_one_file_is_none_to_compare(tmp_path: Path) -> None:
    good = table(tmp_path, "good", HEADER, GOOD)
    assert "two different files" in refused([good])
    assert "two different files" in refused([good, good])


def test_groups_must_agree(tmp_path: Path) -> None:
    one = table(tmp_path, "one", [*HEADER, "group"], [[*r, "g"] for r in GOOD])
    other = table(tmp_path, "other", [*HEADER, "group"], [[*r, "h"] for r in GOOD])
    assert "is in group 'h', 'g' in" in refused([one, other])


# --- a run of headstart --------------------------------------------------------------------------


def test_a_run_compared_again_gives_what_it_gave(finished: Any) -> None:
    folder = finished.results_path.parent
    again = compare_run(folder, run_question(folder)).found.to_json()
    for key in ("gates", "comparisons", "method_pairs", "area_differences", "label_saving"):
        assert again[key] == finished.results.to_json()[key], key
    assert compare_paths([folder], None, None, are_files=False).found.to_json() == again


def test_the_margin_decides_what_matters(tmp_path: Path) -> None:
    a, b = model(tmp_path, "a", 0.71, n=300), model(tmp_path, "b", 0.7, n=300)
    said = [
        compare_paths([a, b], None, margin, are_files=True).found.to_json()["comparisons"][0][
            "verdict"
        ]
        for margin in (0.001, 0.9)
    ]
    assert said == ["can't tell", "no difference that matters"]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for paths, told in (
        ([tmp_path / "none"], "there is no such folder"),
        ([tmp_path], "is this the folder of a finished run"),
        ([tmp_path, tmp_path], "one run folder is wanted"),
        ([table(tmp_path, "good", HEADER, GOOD)], "headstart compare --predictions"),
    ):
        with pytest.raises(StudyError, match=told):
            compare_paths(paths, None, None, are_files=False)
    with pytest.raises(StudyError, match="--margin 2"):
        compare_paths([tmp_path], None, 2.0, are_files=False)


# --- the command line ----------------------------------------------------------------------------


def test_the_command_prints_sentences_and_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    a, b = model(tmp_path, "a", 0.9), model(tmp_path, "b", 0.5)
    code = (
        "import sys; from headstart.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'lightning', 'timm'} & set(sys.modules)"
    )

    def headstart(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "compare", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = headstart("--predictions", str(b), str(a), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "This model (a) beats this model (b)" in done.stdout
    assert (tmp_path / "out" / "comparison.json").exists()
    asked = headstart("--predictions", str(b), str(a), "--json")
    assert json.loads(asked.stdout)["comparisons"][0]["verdict"] == "better"
    lost = headstart("--predictions", str(b), str(tmp_path / "none.csv"))
    assert lost.returncode == 2
    assert lost.stderr == f"headstart: {tmp_path}/none.csv: No such file or directory\n"


def test_names_that_a_spreadsheet_would_compute_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,label,prediction\n'=1+1.jpg,'@hobo,'@hobo\nb.jpg,zaino,'@hobo\n")
    found = read_model(path)
    assert found.labels == {"=1+1.jpg": "@hobo", "b.jpg": "zaino"}
    assert found.classes == ("@hobo", "zaino")
