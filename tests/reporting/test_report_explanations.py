"""Where the networks look, as the page says it: nulls beside numbers, and nothing said twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import Knobs, build, draw_pictures, estimate, explained, typed

from headstart.arms import Arm
from headstart.reporting import explanations
from headstart.reporting.page import write_report
from headstart.reporting.summary import answers_table, explanation_lines

ONE, TWO = Knobs(seeds=1, pretrained=("simsiam",)), Knobs(seeds=2, pretrained=("simsiam",))


def test_one_seed_says_once_that_there_is_no_ceiling_and_shows_the_null() -> None:
    first, second = explanations.likeness(typed(build(ONE)))
    assert first["sentences"] == [explanations.NO_CEILING]
    view = explanations.explanations(typed(build(ONE)))
    assert view is not None
    assert [part["sentences"] for part in view["likeness"]] == [[explanations.NO_CEILING], []]
    assert not second["calibrated"]
    cell = first["rows"][0][1][0]
    assert (cell["value"], cell["ends"], cell["said"]) == ("0.41", "untrained 0.15", "")
    assert (
        sum(explanations.NO_CEILING in line for line in explanation_lines(typed(build(ONE)))) == 1
    )


def test_two_seeds_give_the_scale_and_the_words() -> None:
    results = build(TWO)
    part = explanations.likeness(typed(results))[0]
    assert part["calibrated"]
    cell = part["rows"][0][1][0]
    assert (cell["value"], cell["ends"], cell["said"]) == ("0.58", "[0.52, 0.66]", "same things")
    assert "calibrated similarity 0.58 [0.52, 0.66]" in part["sentences"][0]
    for row in results["attribution_similarity"]:
        if "verdict" in row:
            row["verdict"] = "different"
    told = explanations.likeness(typed(results))[0]["sentences"][0]
    assert "less alike than two seeds of one arm (calibrated similarity 0.58" in told


def test_a_cell_names_the_null_that_was_used_and_has_its_own_words() -> None:
    results = build(ONE)
    for row in results["attribution_similarity"]:
        if "calibrated" in row:
            row["calibrated"]["null"] = "shuffled"
            row["nulls"]["shuffled"] = {**row["nulls"]["shuffled"], "spearman": 0.33}
    assert explanations.likeness(typed(results))[0]["rows"][0][1][0]["ends"] == "shuffled 0.33"
    results = build(TWO)
    first, second = (
        row
        for row in results["attribution_similarity"]
        if "calibrated" in row and row["attribution"] == "saliency"
    )
    for verdict, words in [
        ("not_reproducible", "not reproducible"),
        ("no_ceiling", "no ceiling"),
        ("no_maps", "too few maps"),
        ("unclear", "can't tell"),
    ]:
        first["verdict"] = verdict
        first["calibrated"].update(value=None, low=None, high=None)
        cells = [
            cell
            for _, row in explanations.likeness(typed(results))[0]["rows"]
            for cell in row
            if cell
        ]
        said = {cell["said"]: cell for cell in cells}
        assert set(said) == {words}
        assert said[words]["value"] == "–"
        assert said[words]["ends"] == "raw 0.41, untrained 0.15"
    assert second["verdict"] == "same"


def test_networks_without_a_map_are_named_with_the_reason() -> None:
    results = build(ONE)
    networks = results["explanations"]["networks"]
    for network in networks:
        network["without_map"] = {"saliency": 0, "grad_cam": 0}
    assert explanations.explanations(typed(results))["lacking"] == []  # type: ignore[index]
    networks[0]["without_map"]["grad_cam"] = 4
    networks[1]["reasons"] = ["the network's scores are not finite"]
    first, second = (Arm.parse(network["arm"]).label for network in networks[:2])
    assert explanations.explanations(typed(results))["lacking"] == [  # type: ignore[index]
        f"Grad-CAM, 33 images, without a map: 4 for {first} (seed 0).",
        f"No map for {second} (seed 0): the network's scores are not finite.",
    ]


def test_the_seed_the_masks_and_the_worst_group_are_told(tmp_path: Path) -> None:
    results = {**build(Knobs(seeds=1, pretrained=())), "comparisons": []}
    page = write_report(typed(results), tmp_path).read_text(encoding="utf8")
    assert page.count("(seed 0): this holds for these models") == 2
    assert "fewer than 50 say little" in page
    assert "group 3, 9 images; at random 45.0\u00a0%, p 0.300" in page
    measured = explained(results).faithfulness
    sentences = explanations.faithfulness(measured)["sentences"]  # type: ignore[index]
    assert all(line.endswith("(seed 0).") for line in sentences)


def test_every_raw_measure_stands_beside_its_nulls() -> None:
    row = explanations.raw_table(typed(build(TWO)))[0]
    assert row["measures"][0] == ("0.41", "floor 0.15, shuffled 0.15, edges –, ceiling 0.60")
    assert row["seeds"] == "0 and 1"
    assert explanations.raw_table(typed(build(ONE)))[0]["measures"][0][1].endswith("ceiling –")


def test_the_split_has_a_cell_a_kind_of_answer() -> None:
    rows = explanations.split_table(typed(build(ONE)))
    assert {row["target"] for row in rows} == {"true class", "own prediction"}
    assert all(len(row["cells"]) == 4 for row in rows)


def test_the_gallery_puts_random_weights_last_marks_mistakes_and_says_where_no_map_is() -> None:
    results = build(Knobs(images=14))
    del results["explained"][0]["arms"][1]["maps"]["saliency"]
    second = {**results["explained"][0]["arms"][1], "seed": 1}
    results["explained"][0]["arms"].append(second)
    view = explanations.gallery(typed(results))
    assert view is not None
    assert view["columns"][-1] == "random weights, linear head"
    assert "supervised, seed 1" in view["columns"]
    assert (len(view["rows"]), view["more"]) == (14, 0)
    for row in view["rows"]:
        for cell in filter(None, row["cells"]):
            assert cell["right"] == (cell["predicted"] == row["true"])
            assert [name for name, _, _ in cell["maps"]] == ["saliency", "Integrated Gradients"]
    paths = [path for _, path, _ in view["rows"][0]["cells"][0]["maps"]]
    assert paths[0] is None
    assert paths[1] is not None
    assert view["rows"][1]["cells"][view["columns"].index("supervised, seed 1")] is None


def test_focus_is_one_sentence_a_verdict() -> None:
    results = build(ONE)
    given = {"supervised/supervised": "less", "moco/finetune": "no more"}
    for row in results["explanations"]["focus"]:
        row["verdict"] = given.get(row["arm"], row["verdict"])
    sentences = explanations.focus(explained(results).focus)[0]["sentences"]
    assert sentences == [
        "By saliency, these look at the object more than an untrained network: SimCLR, fine-tuned.",
        "By saliency, these look at the object less than an untrained network: supervised.",
        "By saliency, these look at the object no more than an untrained network, as far as these "
        "images can tell: MoCo v2, fine-tuned.",
    ]


@pytest.mark.parametrize("masks", ["exact", "boxes", None])
def test_masks_decide_what_the_page_may_say(masks: str | None, tmp_path: Path) -> None:
    results = {**build(Knobs(seeds=1, masks=masks, pretrained=())), "comparisons": []}
    draw_pictures(results, tmp_path)
    page = write_report(typed(results), tmp_path).read_text(encoding="utf8")
    text = (tmp_path / "report.md").read_text(encoding="utf8")
    assert ("Do they look at the object?" in page) == (masks is not None)
    assert ("BG-gap" in page) == (masks is not None)
    assert ("approximate masks, made of boxes" in page) == (masks == "boxes")
    assert page.count("an approximate mask") == (4 if masks == "boxes" else 0)
    assert ("A proxy without masks" in page) == (masks is None)
    assert ("Whether they look at the object was not measured" in text) == (masks is None)
    assert "None" not in page.partition('id="maps"')[2].partition('id="limits"')[0]


def test_nothing_measured_is_a_dash_and_never_none(tmp_path: Path) -> None:
    results = {**build(Knobs(seeds=1, pretrained=())), "comparisons": []}
    found = results["explanations"]
    nothing = dict.fromkeys(("value", "low", "high"))
    for row in found["focus"]:
        row.update(dict.fromkeys(("rma", "lift", "area", "pointing", "rra", "auc"), nothing))
        row.update(centre_lift=None, untrained_lift=None, against_untrained=nothing)
    for row in found["faithfulness"]:
        row.update(deletion=nothing, insertion=nothing)
    for row in found["background"]:
        row.update(follows=None, expected=None, skill=estimate(0.1), worst_group=None)
    page = write_report(typed(results), tmp_path).read_text(encoding="utf8")
    assert "None" not in page
    assert explanations.focus(explained(results).focus)[0]["all"][0]["lift"] == ("–", "")


def test_nothing_explained_has_no_part_on_the_page() -> None:
    results = build(ONE)
    results.update(explanations=None, explained=[], attribution_similarity=[])
    assert explanations.explanations(typed(results)) is None
    assert explanation_lines(typed(results)) == [
        "Nothing was explained: explain.images or explain.attributions is empty."
    ]


def test_answers_to_one_picture_are_a_table() -> None:
    table = answers_table([("SimCLR, fine-tuned", "hobo", 0.61, "zaino", 0.2)])
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["SimCLR, fine-tuned", "hobo", "61.0\u00a0%", "zaino", "20.0\u00a0%"]
