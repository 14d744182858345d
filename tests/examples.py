"""Code of the documents as modules: files that ``docs/extending.md`` shows, scripts of studies."""

from __future__ import annotations

import importlib.util
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


def study_script(name: str) -> types.ModuleType:
    """``docs/studies/<name>.py`` as a module."""
    path = PAGE.parent / "studies" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_study", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module
