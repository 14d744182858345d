"""Figures: drawn for every size of results, absent without data, deaf to what names say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_results import Knobs, build, typed

from headstart import arms
from headstart.methods import METHODS
from headstart.reporting import figures
from headstart.reporting.inline import inline_svg
from headstart.reporting.marks import Palette

FORTY = tuple(f"Klasse {i:02d} – ein ziemlich langer Name №{i}" for i in range(40))
EVIL = ("<script>alert(1)</script>", '"onload=', "]]>&amp;'", "datum.n", "日本語のかばん")
SIZES = {
    "one seed": Knobs(seeds=1),
    "five seeds, six fractions": Knobs(seeds=5, fractions=(0.01, 0.02, 0.05, 0.1, 0.25, 1.0)),
    "two classes": Knobs(classes=("a", "b"), seeds=1),
    "seventeen classes": Knobs(classes=FORTY[:17], seeds=1),
    "forty classes": Knobs(classes=FORTY, seeds=1, fractions=(0.1, 1.0)),
    "evil names": Knobs(classes=EVIL, seeds=1),
}


STOPPED = Knobs(seeds=2, pretrained=("simsiam",))


def texts(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(element.itertext()) for element in found]


@pytest.mark.parametrize("size", SIZES)
def test_every_figure_is_drawn_whole(size: str) -> None:
    results = build(replace(SIZES[size], pretrained=("simsiam",), shown=30))
    for name, draw in figures.FIGURES.items():
        chart = draw(typed(results))
        if name == "seeds" and SIZES[size].seeds == 1:
            assert chart is None
            continue
        if name == "other_matrices" and len(SIZES[size].classes) > figures.LARGEST_MATRIX:
            assert chart is None
            continue
        assert chart is not None
        chart.to_dict()  # held to Vega-Lite's schema
        svg = figures.svg(chart)
        root = ElementTree.fromstring(svg)
        assert 300 < float(root.attrib["width"]) < 1150
        assert "NaN" not in svg
        assert "undefined" not in svg
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "script" not in names
        assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)


def test_nothing_to_draw_draws_nothing() -> None:
    results = build(Knobs(seeds=1))
    for key in ("arms", "pretraining", "comparisons"):
        results[key] = []
    drawn = [draw(typed(results)) for draw in figures.FIGURES.values()]
    assert drawn == [None] * len(figures.FIGURES)


def test_lost_arms_and_missing_numbers_are_left_out() -> None:
    results = build(Knobs(seeds=1))
    for arm in results["arms"]:
        arm.update(status="failed", reason="x", metrics=None, confusion_matrix=None, per_class=None)
    for entry in results["comparisons"]:
        entry.update(difference=None, low=None, high=None)
    for run in results["pretraining"]:
        run["history"] = [dict.fromkeys(m, None) | {"step": 1, "epoch": 1} for m in run["history"]]
    assert {name for name, draw in figures.FIGURES.items() if draw(typed(results))} == set()


def test_the_seeds_figure_pairs_each_seed_with_its_own_baseline() -> None:
    results = build(Knobs(seeds=3))
    score = {
        (a["method"], a["protocol"], a["seed"]): a["metrics"]["balanced_accuracy"]
        for a in results["arms"]
        if a["metrics"]
    }
    spec = figures.seeds(typed(results)).to_dict()
    rows = [row for rows in spec["datasets"].values() for row in rows if "points" in row]
    assert len(rows) == 3 * 3  # MoCo v2, SimCLR and BYOL; SimSiam collapsed
    drawn = sorted(row["points"] for row in rows)
    gaps = [
        100 * (score[method, "finetune", seed] - score["supervised", "supervised", seed])
        for method in ("moco", "simclr", "byol")
        for seed in range(3)
    ]
    assert drawn == pytest.approx(sorted(gaps))


def arrows(results: dict) -> list[dict]:
    spec = figures.FIGURES["answer"](typed(results)).to_dict()
    return [row for rows in spec["datasets"].values() for row in rows if "needed" in row]


def test_an_arrow_of_saved_labels_is_drawn_only_for_a_better_arm() -> None:
    results = build(Knobs(seeds=3, fractions=(0.1, 0.3, 1.0)))
    for entry in results["comparisons"]:
        entry["verdict"] = "better" if entry["arm_a"] == "simclr/finetune" else "can't tell"
    first = results["label_saving"][0]
    (arrow,) = arrows(results)
    assert (arrow["labels"], arrow["needed"]) == (first["labels"], first["needed"])
    assert arrow["text"] == f"{first['needed'] / first['labels']:.1f}× fewer labels"
    for entry in results["comparisons"]:
        entry["verdict"] = "can't tell"
    assert arrows(results) == []


def test_points_without_a_verdict_are_hollow() -> None:
    results = build(Knobs(seeds=3, fractions=(0.1, 1.0)))
    for entry in results["comparisons"]:
        if entry["fraction"] == 1:
            entry["verdict"] = "no verdict"
    spec = figures.FIGURES["answer"](typed(results)).to_dict()
    hollow = [layer for layer in spec["layer"] if layer["mark"].get("fill") == "#FFFFFF"]
    rows = [row for layer in hollow for row in spec["datasets"][layer["data"]["name"]]]
    assert {row["name"] for row in rows} == {"MoCo v2", "SimCLR", "BYOL"}


def test_the_forest_plot_says_difference_interval_and_verdict_of_every_arm() -> None:
    results = build(Knobs(seeds=1, fractions=(0.1, 1.0)))
    entries = [e for e in results["comparisons"] if e["arm_b"] == "supervised/supervised"]
    for i, entry in enumerate(entries):
        entry.update(difference=i / 100, low=i / 100 - 0.03, high=i / 100 + 0.03)
    shown = texts(figures.svg(figures.differences(typed(results))))
    assert "10\u00a0% of the labels" in shown
    assert "all labels" in shown
    assert "+1.0 [−2.0, +4.0]" in shown
    assert sum(text in {e["verdict"] for e in entries} for text in shown) == len(entries)


def rectangles(spec: dict) -> list[dict]:
    """Data of every ``rect`` mark with the fields ``low`` and ``high``."""
    panel = spec["vconcat"][0]
    bands = [layer for layer in panel["layer"] if layer["mark"]["type"] == "rect"]
    return [spec["datasets"][band["data"]["name"]][0] for band in bands]


@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_the_margin_band_is_the_study_s(margin: float) -> None:
    results = build(Knobs(seeds=1))
    results["study"]["compare"]["margin"] = margin
    (band,) = rectangles(figures.differences(typed(results)).to_dict())
    assert (band["low"], band["high"]) == pytest.approx((-100 * margin, 100 * margin))


def test_without_a_margin_in_the_study_the_band_is_two_points() -> None:
    results = build(Knobs(seeds=1))
    results["study"] = {}
    (band,) = rectangles(figures.differences(typed(results)).to_dict())
    assert band["high"] == pytest.approx(2)


def test_confusion_matrices_print_counts_and_forty_classes_switch_to_the_biggest() -> None:
    results = build(Knobs(seeds=1))
    best = max(
        (a for a in results["arms"] if a["protocol"] == "finetune" and a["metrics"]),
        key=lambda a: a["metrics"]["balanced_accuracy"],
    )
    shown = texts(figures.svg(figures.confusion_matrices(typed(results))))
    for row in best["confusion_matrix"]:
        for n in filter(None, row):
            assert str(n) in shown
    forty = texts(figures.svg(figures.confusion_matrices(typed(build(SIZES["forty classes"])))))
    assert sum(" → " in text for text in forty) == figures.BIGGEST_CONFUSIONS + 1  # and the title


def test_guessing_is_drawn_at_one_over_the_classes() -> None:
    results = build(Knobs(seeds=1))
    assert "guessing, or always the largest class" in texts(
        figures.svg(figures.label_efficiency(typed(results)))
    )
    for arm in results["arms"]:
        if arm["method"] == "majority":
            arm["metrics"]["balanced_accuracy"] = 0.3
    shown = texts(figures.svg(figures.label_efficiency(typed(results))))
    assert {"guessing", "always the largest class"} <= set(shown)


def test_a_stopped_run_ends_in_a_cross() -> None:
    def crosses(collapsed: str | None) -> int:
        chart = figures.pretraining_health(typed(build(replace(STOPPED, collapsed=collapsed))))
        spec = chart.to_dict()
        marks = [
            spec["datasets"][layer["data"]["name"]]
            for panel in spec["concat"]
            for layer in panel["layer"]
            if layer["mark"].get("shape") == "cross"
        ]
        return sum(map(len, marks))

    assert crosses("simsiam") == 2 * len(figures.HEALTH)
    assert crosses(None) == 0


def test_long_histories_are_thinned_and_keep_their_end() -> None:
    results = build(Knobs(seeds=1, collapsed=None))
    run = results["pretraining"][0]
    run["history"] = [
        {"step": i, "epoch": i / 100, "loss": 5 - i / 1000, "knn": None} for i in range(3000)
    ]
    results["pretraining"] = [run]
    spec = figures.pretraining_health(typed(results)).to_dict()
    (curve,) = [rows for rows in spec["datasets"].values() if len(rows) > 1]
    assert len(curve) == figures.CURVE_POINTS
    assert curve[-1]["epoch"] == 29.99


def test_colours_and_shapes_are_one_to_a_method_everywhere() -> None:
    results = build(Knobs(seeds=1, fractions=(0.1, 1.0)))
    names = ["majority", "random", "supervised", "start", *METHODS]
    assert len({arms.colour(n, names) for n in names}) == len(names)
    assert len({arms.shape(n, names) for n in names}) == len(names)
    for name in ("label_efficiency", "differences"):
        text = json.dumps(figures.FIGURES[name](typed(results)).to_dict())
        for scale in re.findall(r'"domain": (\[[^]]*SimCLR[^]]*\]), "range": (\[[^]]*\])', text):
            drawn = dict(zip(*map(json.loads, scale), strict=True))
            assert drawn["SimCLR"] in (arms.colour("simclr", ()), arms.shape("simclr", ()))


def test_unknown_methods_get_colours_of_their_own() -> None:
    palette = Palette(("supervised", "dino", "vicreg", "simclr"))
    assert len({palette.colour(method) for method in palette.methods}) == 4
    assert len({palette.shape(method) for method in palette.methods}) == 4


def test_save_writes_all_formats_and_leaves_nothing_else(tmp_path: Path) -> None:
    chart = figures.differences(typed(build(Knobs(seeds=1))))
    svg = figures.save(chart, tmp_path / "figures", "differences")
    written = {path.name: path for path in (tmp_path / "figures").iterdir()}
    assert set(written) == {"differences.svg", "differences.png", "differences.pdf"}
    assert written["differences.pdf"].read_bytes().startswith(b"%PDF-")
    assert written["differences.svg"].read_text(encoding="utf-8") == svg
    from PIL import Image

    with Image.open(written["differences.png"]) as picture:
        width = float(ElementTree.fromstring(svg).attrib["width"])
        assert picture.format == "PNG"
        assert picture.width == pytest.approx(2 * width, abs=2)


def test_inline_svg_keeps_drawing_and_drops_everything_else() -> None:
    evil = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        ' width="100" height="50" viewBox="0 0 100 50" onload="alert(1)">'
        "<script>alert(2)</script><style>*{fill:url(http://x.test/a)}</style>"
        '<a href="http://x.test"><text>link</text></a>'
        '<image xlink:href="http://x.test/i.png"/><foreignObject><p>html</p></foreignObject>'
        '<defs><clipPath id="clip7"><rect width="9" height="9"/></clipPath></defs>'
        '<g clip-path="url(#clip7)" fill="url(http://x.test/f)" onclick="alert(3)">'
        "<text>&lt;b&gt; kept</text></g></svg>"
    )
    safe = str(inline_svg(evil, "demo", 'a "label" <b>'))
    for bad in ("alert", "script", "http", "onload", "onclick", "foreignObject", "href", "<b>"):
        assert bad not in safe
    assert "&lt;b&gt; kept" in safe
    assert 'id="demo-0"' in safe
    assert "url(#demo-0)" in safe


def test_inline_svg_names_ids_by_place_and_figure() -> None:
    results = build(Knobs(seeds=1))
    chart = figures.confusion_matrices(typed(results))
    first, second = (str(inline_svg(figures.svg(chart), "one", "x")) for _ in range(2))
    assert first == second
    other = str(inline_svg(figures.svg(chart), "two", "x"))
    assert not set(re.findall(r'id="([^"]+)"', first)) & set(re.findall(r'id="([^"]+)"', other))
    for reference in re.findall(r"url\(#([^)]+)\)", first):
        assert f'id="{reference}"' in first
