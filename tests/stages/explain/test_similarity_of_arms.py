"""How alike two arms' maps are: beside nulls, across seeds, split by who was right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_atlas import atlas, blobs, cell, noise, open_data, untrained

from headstart.attributions.similarity import compare_images
from headstart.reporting.sentences import sentence, with_sentences
from headstart.stages.explain.similarity import compare_maps, mean_over
from headstart.types import Floats, Ints

COUNT = 24
A, B = "supervised/supervised", "simclr/finetune"


def rows_of(
    folder: Path, maps: dict[tuple[str, int], Floats], wrong: dict[Any, Ints] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    run, data = open_data(folder, held_out=COUNT // 3)
    given = {cell(*about): values for about, values in maps.items()} | untrained(COUNT)
    found = compare_maps(atlas(run, data, given, wrong))
    rows, sanity = (
        [row.model_dump(mode="json", exclude_unset=True) for row in with_sentences(some)]
        for some in (found.rows, found.sanity)
    )
    json.dumps([rows, sanity], allow_nan=False)
    return rows, sanity


def seen(own: int, shared: int, share: float) -> Floats:
    """Blobs of which a share is common, and the rest at places of their own."""
    return (share * blobs(COUNT, shared) + (1 - share) * blobs(COUNT, own)).astype(np.float32)


def main(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = [r for r in rows if (r["target"], r["answers"]) == ("true class", "all")]
    return row


def test_two_arms_that_look_alike_and_two_that_do_not(tmp_path: Path) -> None:
    def arms(first: int, second: int) -> dict[tuple[str, int], Floats]:
        told = {(A, 0): first, (A, 1): first, (B, 0): second, (B, 1): second}
        return {about: seen(i, base, 0.8) for i, (about, base) in enumerate(told.items())}

    alike = main(rows_of(tmp_path / "same", arms(100, 100))[0])
    apart = main(rows_of(tmp_path / "different", arms(100, 101))[0])
    assert alike["verdict"] == "same"
    assert alike["calibrated"]["low"] > 0.5
    assert alike["sentence"].endswith("look at the same things")
    assert apart["verdict"] == "different"
    assert apart["calibrated"]["high"] < alike["calibrated"]["low"]
    for row in (alike, apart):
        assert row["nulls"]["ceiling"]["spearman"] > 0.5
        assert abs(row["nulls"]["floor"]["spearman"]) < 0.1
        assert row["nulls"]["shuffled"]["spearman"] < row["nulls"]["ceiling"]["spearman"] - 0.2


def test_with_two_seeds_arms_are_compared_across_them(tmp_path: Path) -> None:
    """Arms of one seed share their start; here they share their maps, and that must not count."""
    maps = {(arm, seed): blobs(COUNT, seed) for arm in (A, B) for seed in (0, 1)}
    row = main(rows_of(tmp_path, maps)[0])
    assert row["seeds"] == [0, 1]
    assert row["spearman"] < 0.5
    expected = compare_images(maps[A, 0], maps[B, 1])["spearman"]
    assert row["spearman"] == pytest.approx(expected.mean(), abs=1e-9)


def test_an_arm_that_lost_a_seed_is_compared_across_seeds_too(tmp_path: Path) -> None:
    maps = {(A, 0): blobs(COUNT, 0), (A, 1): blobs(COUNT, 1), (B, 1): blobs(COUNT, 1)}
    row = main(rows_of(tmp_path, maps)[0])
    assert row["spearman"] < 0.5  # with seed 0 of the other arm, not with its own seed's twin
    assert row["seeds"] == [0, 1]
    assert row["verdict"] == "no_ceiling"


def test_a_second_seed_without_a_single_map_is_no_ceiling(tmp_path: Path) -> None:
    maps = {(arm, seed): seen(i, 50, 0.8) for i, arm in enumerate((A, B)) for seed in (0, 1)}
    maps[B, 1] = np.zeros_like(maps[B, 0])
    row = main(rows_of(tmp_path, maps)[0])
    assert row["verdict"] == "no_ceiling"
    assert row["images"] == COUNT  # the couple that has maps is compared all the same


def test_the_shuffled_null_is_of_the_couples_that_are_compared(tmp_path: Path) -> None:
    """One couple shares what all its images show, the other does not: the null is their mean."""
    common = np.repeat(blobs(1, 7), COUNT, axis=0) + 0.01 * noise(COUNT, 1)
    maps = {(A, 0): common, (A, 1): noise(COUNT, 2), (B, 0): noise(COUNT, 3), (B, 1): common}
    row = main(rows_of(tmp_path, maps)[0])
    assert row["nulls"]["shuffled"]["spearman"] == pytest.approx(0.5, abs=0.1)


def test_one_seed_has_no_ceiling_and_says_so(tmp_path: Path) -> None:
    rows, sanity = rows_of(tmp_path, {(A, 0): blobs(COUNT, 1), (B, 0): blobs(COUNT, 1)})
    row = main(rows)
    assert row["verdict"] == "no_ceiling"
    assert "second seed" in row["sentence"]
    assert row["nulls"]["ceiling"] is None
    nothing = dict.fromkeys(("value", "low", "high"))
    assert row["calibrated"] == {**nothing, "images": COUNT, "null": "shuffled"}
    assert row["spearman"] == pytest.approx(1)
    assert [one["passed"] for one in sanity] == [None]


def test_rows_are_split_by_who_was_right_and_by_whose_class(tmp_path: Path) -> None:
    wrong = {cell(A, 0): np.arange(0, 10), cell(B, 0): np.arange(6, 12)}
    base = blobs(COUNT, 1)
    rows, _ = rows_of(tmp_path, {(A, 0): base, (B, 0): base}, wrong)
    found = {(r["target"], r["answers"]): r for r in rows}
    assert {answers: found["true class", answers]["images"] for _, answers in found} == {
        "all": COUNT,
        "both right": 12,
        "one right": 8,
        "both wrong": 4,
    }
    # The own maps of a wrong answer are the negative: alike where both are wrong, else opposite.
    assert found["own prediction", "both wrong"]["pearson"] == pytest.approx(1)
    assert found["own prediction", "both right"]["pearson"] == pytest.approx(1)
    assert found["own prediction", "one right"]["pearson"] == pytest.approx(-1)
    assert found["true class", "one right"]["pearson"] == pytest.approx(1)
    assert all("nulls" not in r for key, r in found.items() if key != ("true class", "all"))


def test_an_image_without_a_map_is_left_out_and_none_at_all_is_said(tmp_path: Path) -> None:
    gone = blobs(COUNT, 1)
    gone[:5] = 0
    row = main(rows_of(tmp_path / "some", {(A, 0): gone, (B, 0): blobs(COUNT, 1)})[0])
    assert (row["images"], row["left_out"]) == (COUNT - 5, 5)
    nothing = np.zeros_like(gone)
    maps = {(arm, seed): nothing for arm in (A, B) for seed in (0, 1)}
    row = main(rows_of(tmp_path / "none", maps)[0])
    assert (row["images"], row["left_out"]) == (0, COUNT)
    assert row["verdict"] == "no_maps"
    assert row["spearman"] is None


def test_a_method_that_shows_the_picture_fails_its_check(tmp_path: Path) -> None:
    """Sabotage: maps that are the same whatever was learned, in trained and untrained networks."""
    run, data = open_data(tmp_path, held_out=COUNT // 3)
    shown = blobs(COUNT, 3)
    given = {cell(arm, s): shown + 0.01 * noise(COUNT, s) for arm in (A, B) for s in (0, 1)}
    given |= {c: shown + 0.01 * n for c, n in untrained(COUNT).items()}
    (row,) = compare_maps(atlas(run, data, given)).sanity
    assert row.passed is False
    assert "insensitive" in str(sentence(row))


def test_found_again_and_made_anew_when_a_map_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.stages.explain import similarity

    maps = {(A, 0): blobs(COUNT, 1), (B, 0): blobs(COUNT, 2)}
    first = rows_of(tmp_path, maps)
    asked: list[int] = []
    real = similarity.compare_images
    monkeypatch.setattr(
        similarity, "compare_images", lambda *given: asked.append(1) or real(*given)
    )
    assert rows_of(tmp_path, maps) == first
    assert asked == []
    monkeypatch.setattr("made_atlas.MADE", "anew")  # maps of another key
    again = rows_of(tmp_path, {**maps, (B, 0): blobs(COUNT, 3)})
    assert asked
    assert main(again[0])["spearman"] != main(first[0])["spearman"]


def test_means_over_columns_leave_out_what_is_not_known() -> None:
    a, b = np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])
    np.testing.assert_array_equal(mean_over([a, b], 3), [2.0, 5.0, np.nan])
    np.testing.assert_array_equal(mean_over([], 2), [np.nan, np.nan])
