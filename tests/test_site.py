"""The documentation as a site: it builds without a complaint, and fetches nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

import headstart
from headstart.config import settings_table
from headstart.recipes import recipe_table
from pages import ROOT

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")),
    reason="mkdocs is not installed: pip install 'headstart[docs]'",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link or an anchor that leads nowhere fails."""
    folder = tmp_path_factory.mktemp("site")
    # A process of its own: what mkdocs warns of its own future is none of our tests' business.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text(encoding="utf8")


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    found = set(re.findall(r'<h3 id="([\w.]+)"', page(site, "reference/python")))
    homes = {
        f"headstart.{home}.{name}" for home, names in headstart._HOMES.items() for name in names
    }
    assert {name.rpartition(".")[2] for name in homes} == set(headstart.__all__)
    assert {f"headstart.{name}" for name in headstart.__all__} <= found


def test_every_setting_is_in_the_reference(site: Path) -> None:
    shown = re.sub("</?span[^>]*>", "", page(site, "reference/settings"))
    for name, *_ in (*settings_table(), *recipe_table()):
        assert f"<code>{name}</code>" in shown


def test_words_of_a_command_are_kept_whole(site: Path) -> None:
    assert '<code><span class="word">headstart</span> <span class="word">presets</span>' in page(
        site, "howto"
    )


def test_a_link_named_like_its_file_gets_the_title_of_its_page(site: Path) -> None:
    assert ">A walk through the report</a>" in page(site, "howto")
    for file in site.rglob("*.html"):
        assert not re.findall(r">[\w./-]+\.md</a>", file.read_text(encoding="utf8")), file


def test_only_pages_and_pictures_are_in_the_site(site: Path) -> None:
    assert not [p for p in site.rglob("*") if p.suffix in (".py", ".ipynb", ".yaml")]


def test_links_out_of_the_site_lead_to_files_of_the_repository(site: Path) -> None:
    """What the hook made of links to the source."""
    linked = set()
    for file in site.rglob("*.html"):
        linked |= set(
            re.findall(
                r'href="https://github.com/headstart-project/headstart/(?:blob|tree)/main/([^"#]+)',
                file.read_text(encoding="utf8"),
            )
        )
    assert "README.md" in linked
    assert not [path for path in linked if not (ROOT / path).exists()]


def test_no_page_names_a_script_style_or_picture_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf8")
        tags = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*>", html)
        linked = re.compile(r'rel="?(canonical|prev|next)\b')  # named for the reader, not loaded
        loaded = [
            target
            for tag in tags
            if not linked.search(tag)
            for target in re.findall(r'(?:src|href)="?([^" >]+)', tag)
        ]
        assert loaded
        assert not [target for target in loaded if re.match(r"(https?:)?//", target)]


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is said of each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_a_browser_asks_no_other_host(served: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    asked: list[str] = []
    broken: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: broken.append(str(error)))
        tab.on("response", lambda r: broken.append(r.url) if r.status >= 400 else None)
        for name in ("", "tutorial/", "reference/python/", "architecture/"):
            tab.goto(f"{served}/{name}", wait_until="networkidle")
        tab.keyboard.press("/")  # the theme's key for the search
        tab.keyboard.type("verdict")
        tab.wait_for_selector(".md-search-result__link", timeout=10_000)
        browser.close()
    assert len(asked) > 8
    assert not [url for url in asked if not url.startswith((served, "data:", "blob:"))]
    assert broken == []
