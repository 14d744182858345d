"""Text that came from users, made safe where it is written: none of it can become markup or run.

HTML is escaped by the templates themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": r"\ensuremath{-}",
    "×": r"\ensuremath{\times}",
    "κ": r"\ensuremath{\kappa}",
    "[": "{[}",  # after a line's end it would be an argument
    "]": "{]}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "\u00a0": "~",
    "\u202f": r"\,",
} | {mark: "\\" + mark for mark in "&%$#_{}"}


def markdown(value: Any) -> Any:
    """Text that Markdown shows as it is: no emphasis, table cell, link or tag can come of it."""
    if not isinstance(value, str) or hasattr(value, "__html__"):  # marked safe in the template
        return value
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_|":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.replace("](", "]\\(").splitlines())


def latex(text: str) -> str:
    """Text that LaTeX prints as it is: no command, no comment and no new column can come of it."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.splitlines()))


def cell(value: str | float | None) -> str | float | None:
    """A cell of a CSV file; a text that a spreadsheet would compute gets an apostrophe in front."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) and not _number(value):
        return "'" + value
    return value


def csv_row(values: Iterable[str]) -> list[str]:
    """The cells of a row of texts."""
    return [str(cell(value)) for value in values]


def plain(value: str) -> str:
    """The text that ``cell`` was given."""
    return value[1:] if value.startswith("'") and cell(value[1:]) == value else value


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
