"""What the site shows otherwise than GitHub: links, commands in a line, and the settings as tables.

MkDocs calls ``on_page_markdown`` for every page before it renders it, and ``on_page_content``
after. Links in ``docs/`` are written for GitHub, where every file of the repository can be opened.
In the site those that lead to no page and no picture of it go to the repository instead, and a link
that is named like its file gets the page's title; ``mkdocs build --strict`` then complains of the
links that lead nowhere.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s#:]+)((?:#[^)\s]*)?)\)")
CODE = re.compile(r"(?<!<pre>)<code>([^<]*)</code>")
# Characters that a table has room for on a phone, and on a wider screen.
NARROW, WIDE = 16, 40
SETTINGS = "<!-- settings -->"


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """A page as the site renders it."""
    shown = {file.src_uri for file in files if file.inclusion.is_included()}
    here = page.file.src_uri
    text = LINK.sub(lambda link: _link(link, here, shown), markdown)
    return text.replace(SETTINGS, settings()) if SETTINGS in text else text


def on_page_content(html: str, **_: Any) -> str:
    """Words of a command stay whole: a browser would break ``--out`` after its hyphens."""
    return CODE.sub(lambda code: f"<code>{_kept_whole(code[1])}</code>", html)


def _kept_whole(code: str) -> str:
    return re.sub(r"[^ ]{2,}", lambda word: _word(word[0]), code)


def _word(word: str) -> str:
    if len(word) > WIDE:
        return word
    kind = "word" if len(word) <= NARROW else "long-word"
    return f'<span class="{kind}">{word}</span>'


def _link(link: re.Match[str], page: str, shown: set[str]) -> str:
    name, target, anchor = link.groups()
    inside = normpath(f"{dirname(page)}/{target}".lstrip("/"))
    path = ROOT / "docs" / inside
    if inside in shown:
        name = _title(path) if name.endswith(".md") else name
        return f"[{name}]({target}{anchor})"
    if not path.exists():
        return link[0]
    kind = "tree" if path.is_dir() else "blob"
    place = path.resolve().relative_to(ROOT).as_posix()
    return f"[{name}]({_repository()}/{kind}/main/{place}{anchor})"


def _title(path: Path) -> str:
    return path.read_text(encoding="utf8").partition("\n")[0].removeprefix("# ")


@cache
def _repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    source: str = project["urls"]["Source"]
    return source


def settings() -> str:
    """Every setting and every method's recipe, as tables under a heading for each group."""
    from headstart.config import settings_table
    from headstart.recipes import recipe_table

    study = _grouped(settings_table(), ("default", "meaning"), depth=1)
    recipes = _grouped(recipe_table(), ("`small`", "`paper`"), depth=2)
    return f"## The study\n\n{study}\n## The methods\n\n{recipes}"


def _grouped(rows: Iterable[tuple[str, str, str]], columns: tuple[str, str], depth: int) -> str:
    """Rows as one table for each group; a group is the first ``depth`` parts of a dotted name."""
    groups: dict[str, list[str]] = {}
    for name, one, other in rows:
        parts = name.split(".")
        group = ".".join(parts[:depth]) if len(parts) > depth else "the study itself"
        cells = [f"`{name}`", f"`{one}`", other if columns[1] == "meaning" else f"`{other}`"]
        groups.setdefault(group, []).append(_row(cells))
    head = f"{_row(['setting', *columns])}\n|---|---|---|\n"
    return "\n".join(f"### {group}\n\n{head}" + "\n".join(t) + "\n" for group, t in groups.items())


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
