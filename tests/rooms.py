"""The rooms of the package, on which floor each stands, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "headstart"

# A module may import what stands on a lower floor, and what lies in its own package.
FLOORS = (
    {"files", "interrupt", "cores", "ranks"},
    {"types", "config"},
    {"extensions"},
    {"registry"},
    {"nn", "data"},
    {"methods", "attributions"},
    {"arms", "recipes", "stats"},
    {"layers", "results"},
    {"reporting"},
    {"engine", "store"},
    {"runtime"},
    {"stages", "executors", "trackers"},
    {"cost"},
    {"pipeline", "bench", "plugins", "export"},
    {"cluster", "terminal", "faults", "launcher", "finished", "features", "plan"},
    {"api"},
    {"commands"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The one place that may know each of these.
ONLY = {"lightning": "engine", "captum": "attributions", "ray": "executors"}
ONLY |= dict.fromkeys(("tensorboard", "mlflow", "wandb"), "trackers")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def dotted(path: Path) -> str:
    """``data/views.py`` is ``data.views``; a package's ``__init__`` is the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports when it runs, with names like ``headstart.data.views``."""
    package = ["headstart", *path.relative_to(SOURCE).parent.parts]
    tree = ast.parse(path.read_text(encoding="utf8"))
    for_types = {
        child
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for child in block.body
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    return name.removeprefix("headstart").removeprefix(".").split(".")[0]


def ours(path: Path) -> set[str]:
    """Rooms of the project that a file imports from, its own left out."""
    names = {room(name) for name in imported(path) if name.split(".")[0] == "headstart"}
    return (names & (FLOOR.keys() | {""})) - {room(f"headstart.{dotted(path)}"), ""}
