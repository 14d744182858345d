"""The page as a browser shows it: whole, silent, readable by everybody, and nothing overflows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_results import Knobs, build, draw_pictures, typed

from headstart.arms import Arm
from headstart.reporting import words
from headstart.reporting.page import write_report
from headstart.reporting.tables import summaries

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

LONG = "eine außerordentlich lange Bezeichnung für eine kleine Tasche"
HOSTILE = ("<img src=x onerror=alert(1)>", "حقيبة يد صغيرة", "=1+1|`*_", LONG[:60])
ONE_AND_A_HUNDRED = (*HOSTILE, *(f"class {i:02d} of many" for i in range(97)))
WIDTHS = (390, 768, 1280)


def _whole() -> dict[str, Any]:
    """Several seeds and amounts of labels, masks, and a method that collapsed."""
    return build(
        Knobs(seeds=2, fractions=(0.1, 1.0), images=6, pretrained=("moco", "simsiam"), shown=45)
    )


def _many() -> dict[str, Any]:
    """101 classes with hostile names, one seed, no masks, and names no better elsewhere."""
    results = build(
        Knobs(seeds=1, classes=ONE_AND_A_HUNDRED, masks=None, per_class=20, images=4, shown=202)
    )
    results["title"] = HOSTILE[0] + LONG
    results["pretraining"] = results["pretraining"][:1]
    for rows in (results["arms"], results["comparisons"]):
        for row in rows:
            for key in ("method", "arm_a"):
                if str(row.get(key, "")).startswith("byol"):
                    row[key] = row[key].replace("byol", LONG[:60].replace(" ", "_"))
    return results


def _two() -> dict[str, Any]:
    """Two classes, two arms, nothing explained, no pretraining watched, no gates."""
    results = build(Knobs(seeds=1, classes=("a", "b"), images=0, pretrained=(), collapsed=None))
    kept = ("supervised/supervised", "simclr/finetune")
    results["arms"] = [a for a in results["arms"] if f"{a['method']}/{a['protocol']}" in kept]
    results["comparisons"] = [c for c in results["comparisons"] if c["arm_a"] == kept[1]]
    results.update(method_pairs=[], gates=[], attribution_similarity=[], explanations=None)
    return results


def _right_to_left() -> dict[str, Any]:
    """Two classes with names that run from right to left, and thirteen arms."""
    results = build(Knobs(seeds=1, classes=("حقيبة يد صغيرة", "תיק גב"), images=2, shown=12))
    results["arms"] = [a for a in results["arms"] if a["status"] == "ok"]
    return results


def _nothing() -> dict[str, Any]:
    """A run of which no classifier is finished."""
    results = build(Knobs(seeds=1, images=0, pretrained=(), collapsed=None))
    measured = ("metrics", "intervals", "confusion_matrix", "per_class", "chance", "compute")
    for arm in results["arms"]:
        arm |= dict.fromkeys(measured) | {"confidence": None, "chosen": {}}
        arm |= {"status": "unfinished", "reason": "not computed yet"}
    results["shown"] = {"images": [], "confusions": [], "maps": []}
    gone = ("comparisons", "method_pairs", "gates", "attribution_similarity")
    gone += ("area_differences", "label_saving")
    return results | {key: [] for key in gone} | {"explanations": None}


MADE = {
    "whole": _whole,
    "many": _many,
    "two": _two,
    "right to left": _right_to_left,
    "nothing": _nothing,
}


@dataclass(frozen=True)
class Written:
    results: dict[str, Any]
    path: Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    found = {}
    for name, make in MADE.items():
        run = tmp_path_factory.mktemp(name)
        results = make()
        draw_pictures(results, run)
        found[name] = Written(results, write_report(typed(results), run))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(params=MADE)
def report(request: pytest.FixtureRequest, written: dict[str, Written]) -> Written:
    return written[request.param]


def opened(browser: Any, report: Written, **context: Any) -> Any:
    """The page, which must neither complain nor ask for anything but itself."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **context)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            page.complaints.append(request.url[:99])
            if request.url != report.path.as_uri() and not request.url.startswith("data:")
            else None
        ),
    )
    page.goto(report.path.as_uri())
    return page


def unfold(page: Any) -> None:
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def test_nothing_is_asked_for_complained_of_or_left_undrawn(browser: Any, report: Written) -> None:
    page = opened(browser, report)
    unfold(page)
    assert page.complaints == []
    figures = page.locator("figure .chart:visible svg")
    drawn = {path.stem for path in report.path.parent.glob("figures/*.svg")}
    shown = len(drawn - {"answer_narrow"})
    assert figures.count() == shown
    for i in range(shown):
        box = figures.nth(i).bounding_box()
        assert box["width"] > 150
        assert box["height"] > 60
    broken = "[...document.images].filter(one => !one.complete || !one.naturalWidth).length"
    assert page.evaluate(broken) == 0
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, report: Written, scheme: str) -> None:
    page = opened(browser, report, color_scheme=scheme)
    unfold(page)
    asked = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    inside = {"exclude": [["svg *"]]}  # a drawing is one picture with one text
    found = axe.Axe().run(page, inside, asked)["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser: Any, report: Written, width: int) -> None:
    page = opened(browser, report)
    page.set_viewport_size({"width": width, "height": 800})
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        unfold(page)
    # The first screen's picture needs no scrolling of its own either.
    chart = page.locator(".front .chart:visible")
    assert not chart.count() or chart.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    page.close()


def test_the_first_screen_holds_headline_picture_checks_scope_and_next_steps(
    browser: Any, written: dict[str, Written]
) -> None:
    page = opened(browser, written["whole"])
    for selector in ("h1", ".front svg >> nth=0", ".facts .fails", ".facts ol"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= 900, selector
    page.close()


def test_tooltips_say_the_numbers_of_the_results(browser: Any, written: dict[str, Written]) -> None:
    page = opened(browser, written["whole"])
    marks = page.locator("#answer .chart.wide [data-told]")
    told = {marks.nth(i).get_attribute("data-told") for i in range(marks.count())}
    rows = [
        row
        for row in summaries(typed(written["whole"].results))
        if row.score is not None
        and str(row.arm) in ("supervised/supervised", "random/linear", "simclr/finetune")
    ]
    assert len(rows) == 6
    for row in rows:
        ends = words.bracket(row.interval["balanced_accuracy"])
        score = f"{words.percent(row.mean['balanced_accuracy'])} {ends}"
        assert f"{row.arm.label}, {words.plural(row.labels, 'label')}: {score}" in told
        spoken = page.locator("#answer .chart.wide svg").get_attribute("aria-label")
        assert f"{row.arm.label}, {words.plural(row.labels, 'label')}: {score}" in spoken
    marks.last.hover()
    assert page.locator(".tip").inner_text() == marks.last.get_attribute("data-told")
    page.close()


def test_the_gallery_is_filtered_and_switched_from_the_keyboard(
    browser: Any, written: dict[str, Written]
) -> None:
    page = opened(browser, written["whole"])
    gallery = page.locator("[data-gallery]")
    rows = gallery.locator("tbody tr:visible")
    images = written["whole"].results["explained"]
    assert rows.count() == len(images) == 6
    maps = gallery.locator("tbody tr >> nth=0 >> [data-map]:visible img")
    assert maps.count() == 4
    assert all("saliency" in str(maps.nth(i).get_attribute("alt")) for i in range(4))
    gallery.locator(".roll").focus()
    page.keyboard.press("2")
    assert "Integrated Gradients" in str(maps.first.get_attribute("alt"))
    gallery.locator("[name=class]").select_option(label="clutch")
    assert rows.count() == sum(image["true"] == "clutch" for image in images)
    assert f"{rows.count()} of 6 images" in gallery.locator("output").inner_text()
    gallery.locator("[name=class]").select_option(value="")
    trained = [[a for a in i["arms"] if a["arm"] != "random/linear"] for i in images]
    right = [
        all(a["predicted"] == i["true"] for a in t) for i, t in zip(images, trained, strict=True)
    ]
    gallery.locator("[name=answers]").select_option(value="right")
    assert rows.count() == sum(right)
    gallery.locator("[name=answers]").select_option(value="")
    agree = [len({a["predicted"] for a in t}) == 1 for t in trained]
    gallery.locator("[name=agree]").select_option(value="yes")
    assert rows.count() == sum(agree)
    page.close()


def test_the_gallery_shows_what_one_network_got_right(
    browser: Any, written: dict[str, Written]
) -> None:
    page = opened(browser, written["whole"])
    gallery = page.locator("[data-gallery]")
    rows = gallery.locator("tbody tr:visible")
    images = written["whole"].results["explained"]
    names = gallery.locator("thead th").all_inner_texts()[1:]
    assert len(names) == 4
    for name in names:
        gallery.locator("[name=network]").select_option(label=name)
        for answer, right in (("right", True), ("wrong", False)):
            gallery.locator("[name=answers]").select_option(value=answer)
            given = [
                arm["predicted"] == image["true"]
                for image in images
                for arm in image["arms"]
                if Arm.parse(arm["arm"]).label == name
            ]
            assert rows.count() == given.count(right)
    gallery.locator("[name=network]").select_option(value="")
    gallery.locator("[name=answers]").select_option(value="some")
    mixed = rows.count()
    gallery.locator("[name=network]").select_option(label=names[0])  # has one answer an image
    assert gallery.locator("[name=answers]").input_value() == ""
    assert rows.count() == 6 > mixed
    page.close()


def test_a_mark_of_the_map_shows_its_own_image(browser: Any, written: dict[str, Written]) -> None:
    page = opened(browser, written["whole"])
    marks = page.locator("#feature_maps [data-told]")
    shown = written["whole"].results["shown"]
    assert marks.count() == 45 * 4
    for place in (0, 21, 44):
        mark = marks.nth(place)
        told = f"{shown['images'][place]['true']}, image {place + 1}"
        assert mark.get_attribute("data-told") == told
        mark.dispatch_event("pointerover")
        assert page.locator(".tip").inner_text() == told
        picture = page.locator(".tip img")
        assert picture.evaluate("one => one.complete && one.naturalWidth") == 20 * 48
        x, y = picture.evaluate("one => getComputedStyle(one).objectPosition").split()
        assert (float(x[:-2]), float(y[:-2])) == (-(place % 20) * 48, -(place // 20) * 48)
    page.locator("#answer .chart.wide [data-told]").last.hover()
    assert page.locator(".tip img").count() == 0
    named = page.locator("[data-told^='Title'], [data-told^='Subtitle']")
    assert named.count() == 0  # what is written needs no tooltip
    assert page.complaints == []
    page.close()


def test_confusions_stand_beside_pictures_of_their_images(
    browser: Any, written: dict[str, Written]
) -> None:
    page = opened(browser, written["whole"])
    rows = written["whole"].results["shown"]["confusions"]
    parts = page.locator("details.mistakes")
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    assert sorted(parts.locator("summary").all_inner_texts()) == sorted(
        Arm.parse(arm).label for arm in arms
    )
    assert parts.locator("li").count() == len(rows)
    pictures = parts.locator("img")
    assert pictures.count() == sum(len(row["shown"]) for row in rows)
    said = f"{rows[0]['count']} of {rows[0]['of']} answers"
    assert said in " ".join(parts.locator("li").all_text_contents())
    page.close()


def test_96_images_of_6_networks_stay_below_4_mb(tmp_path: Path) -> None:
    """Of pictures that hardly shrink, with as many classes as a matrix may have."""
    import numpy as np
    from PIL import Image

    classes = tuple(f"class {i:02d} of twenty" for i in range(20))
    results = build(
        Knobs(seeds=1, images=96, shown=400, classes=classes, collapsed=None, per_class=20)
    )
    for image in results["explained"]:
        for arm in ("moco/linear", "simclr/linear"):
            drawn = {**image["arms"][1], "arm": arm}
            drawn["maps"] = {
                name: path.replace("supervised", arm.replace("/", "-"))
                for name, path in drawn["maps"].items()
            }
            image["arms"].append(drawn)
    draw_pictures(results, tmp_path)
    rng = np.random.default_rng(0)
    for picture in (tmp_path / "explain").rglob("*.png"):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(picture)
    page = write_report(typed(results), tmp_path)
    assert len(results["explained"]) * len(results["explained"][0]["arms"]) == 96 * 6
    assert 2_000_000 < page.stat().st_size < 4_000_000


def test_print_opens_everything_and_cuts_nothing(browser: Any, report: Written) -> None:
    page = opened(browser, report)
    page.set_viewport_size({"width": 690, "height": 900})  # A4 within its margins
    page.emulate_media(media="print")
    closed = page.locator("details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    first = page.locator("[data-gallery] [data-map='1']")
    assert page.locator("[data-gallery] [data-map]:visible").count() == first.count()
    note = page.locator("[data-gallery] .paper")
    assert note.count() == 0 or "Printed: saliency. The screen has 2" in note.inner_text()
    left_out = page.locator("details[data-screen]")
    for i in range(left_out.count()):
        assert "(not printed:" in left_out.nth(i).inner_text()
        assert left_out.nth(i).locator("table:visible, pre:visible").count() == 0
    wide = """[...document.querySelectorAll('table, svg, pre')]
        .filter(one => one.getClientRects().length && one.getBoundingClientRect().right > 691)
        .map(one => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(wide) == []
    headings = page.locator("h2")
    assert page.locator("h2:visible").count() == headings.count()
    drawn = page.locator("figure .chart:not(.narrow) svg")
    heights = [drawn.nth(i).bounding_box()["height"] for i in range(drawn.count())]
    written = {path.stem for path in report.path.parent.glob("figures/*.svg")}
    assert len(heights) == len(written - {"answer_narrow"})
    assert all(60 < height < 1017 for height in heights)  # A4 within its margins
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed
    paper = page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") >= 2
    page.close()


def test_the_page_is_whole_without_its_script(browser: Any, written: dict[str, Written]) -> None:
    page = opened(browser, written["whole"], java_script_enabled=False)
    assert page.complaints == []
    gallery = page.locator("[data-gallery]")
    assert not gallery.locator("form").is_visible()
    assert gallery.locator("tbody tr >> nth=0 >> [data-map]:visible").count() == 4 * 2
    page.close()
