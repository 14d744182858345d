"""The complete files that ``docs/extending.md`` shows, taken from the page and run."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
FILES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text(encoding="utf8"), re.S))


def imported(name: str) -> types.ModuleType:
    """A file of the page as a module; what it registers is registered."""
    module = types.ModuleType(f"extending_{name}")
    sys.modules[module.__name__] = module
    exec(compile(FILES[name], f"{PAGE.name}: {name}.py", "exec"), module.__dict__)
    return module
