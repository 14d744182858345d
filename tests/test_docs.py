"""The documents say what is: every setting, method and room is listed, every link holds.

What they tell to type is run by ``test_docs_blocks.py``.
"""

from __future__ import annotations

import re
import runpy
import subprocess
from itertools import pairwise

from headstart.attributions import ATTRIBUTIONS, is_signed
from headstart.config import PRESETS, settings_table
from headstart.layers import build_study, read_study_file
from headstart.methods import METHODS
from pages import DOCUMENTS, ROOT, anchors, links, text
from rooms import SOURCE

README = text("README.md")
STUDY = text("docs/study.md")


def test_study_md_lists_every_setting() -> None:
    for name, default, meaning in settings_table():
        line = f"{name} = {default}" + (f"  # {meaning}" if meaning else "")
        assert line in STUDY, "docs/study.md is not what `headstart settings` prints"


def test_the_table_of_attributions_has_all_of_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| (yes|no) \|", text("docs/explain.md"), re.MULTILINE)
    assert rows == [(name, "yes" if is_signed(name) else "no") for name in ATTRIBUTIONS]


def test_the_documents_name_every_method_and_room() -> None:
    listed = ", ".join(f"`{name}`" for name in METHODS)
    assert listed in text("docs/results.md")
    tree = README.partition("## The tree")[2].partition("## Develop")[0]
    assert f"one paper a file: {' '.join(METHODS)}, and supervised" in tree
    for method in METHODS.values():
        assert method.title in README.partition("## Try it")[0]
    rooms = {path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    for room in rooms - {"py.typed"}:
        assert re.search(rf"\b{re.escape(room)}", tree), f"README's tree lacks {room}"


def test_the_picture_shows_the_source_as_it_is() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "architecture.py"))["picture"]()
    shipped = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf8")
    assert shipped == drawn, "run `make picture`"


def test_shipped_study_files_are_valid() -> None:
    files = sorted(ROOT.glob("docs/**/*.yaml"))
    assert files
    for file in files:
        build_study([(str(file), read_study_file(file))])


def test_every_preset_says_what_it_costs() -> None:
    for preset in PRESETS.values():
        assert "Costs" in (preset.__doc__ or "")


def test_links_of_the_documents_lead_somewhere() -> None:
    """As GitHub shows them; of the site ``mkdocs build --strict`` holds it."""
    for page in DOCUMENTS:
        for path, anchor in links(page):
            target = (ROOT / page).parent / path if path else ROOT / page
            assert target.exists(), f"{page} links to {path}"
            if anchor:
                name = target.resolve().relative_to(ROOT).as_posix()
                assert anchor in anchors(name), f"{page} links to {path}#{anchor}"


def test_lists_are_lists_in_the_site_too() -> None:
    """GitHub is lenient: the site needs an empty line before a list, and four spaces a level."""
    for page in DOCUMENTS:
        lines = re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL).splitlines()
        for above, line in pairwise(lines):
            item = re.match(r"( *)(?:-|\d+\.) ", line)
            if item:
                assert len(item[1]) % 4 == 0, f"{page}: {line}"
                within = re.match(r" *(?:-|\d+\.) |  ", above)
                assert not above or within, f"{page}: no empty line before {line}"


def test_the_project_speaks_only_of_itself() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in files:
        if (
            name.endswith((".py", ".md", ".toml", ".yaml", ".html"))
            and name != "tests/test_docs.py"
        ):
            text = (ROOT / name).read_text(encoding="utf8")
            assert f"{ROOT.parent}/" not in text, f"{name} holds a path of one machine"
