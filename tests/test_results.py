"""The types of results.json: the schema is made from them, and they come back from a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.config import StudyError
from headstart.reporting import schema as stored_schema
from headstart.results import Results, load_results, schema
from headstart.stages.report import Outcome


def test_the_stored_schema_is_that_of_the_types() -> None:
    """``python -m headstart.results > src/headstart/reporting/schema.json`` writes it anew."""
    assert stored_schema() == json.loads(json.dumps(schema()))


def test_a_run_gives_its_results_back(finished: Outcome) -> None:
    for place in (finished.results_path, finished.results_path.parent):
        assert load_results(place) == finished.results


def test_the_long_table_has_a_row_for_every_classifier_and_metric(finished: Outcome) -> None:
    frame = finished.results.to_frame()
    assert len(frame) == 4 * len(finished.results.arms)
    row = frame[(frame.method == "simclr") & (frame.metric == "accuracy")].iloc[0]
    assert 0 <= row.low <= row.value <= row.high <= 1


def test_printed_and_in_a_notebook_every_comparison_is_said(finished: Outcome) -> None:
    results = finished.results
    for row in results.comparisons:
        assert row.sentence in str(results)
    assert results._repr_html_().count("<tr>") == 1 + len(results.comparisons)


def test_text_of_the_user_is_escaped_in_a_notebook(finished: Outcome) -> None:
    title = "<script>alert(1)</script>"
    html = Results.model_validate(finished.results.to_json() | {"title": title})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_what_is_no_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is this the folder of a finished run"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": 1}')
    with pytest.raises(StudyError, match="not the results of a run") as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)
