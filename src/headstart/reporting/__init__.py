"""The report: figures, one page, and the short table for the terminal.

Everything here reads the plain dict of ``results.json`` and nothing else; ``schema.json`` beside
this file says exactly what that dict holds.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``results.json``."""
    text = (resources.files(__name__) / "schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
