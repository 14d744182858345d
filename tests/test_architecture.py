"""Who may know of whom, read from the source itself: the modules point one way."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rooms import FLOOR, ONLY, SOURCE, dotted, imported, modules, ours, room

every = pytest.mark.parametrize("path", modules(), ids=lambda path: dotted(path) or "headstart")


@every
def test_imports_point_downward(path: Path) -> None:
    own = room(f"headstart.{dotted(path)}")
    if own not in FLOOR:
        pytest.skip("the package itself")
    upward = {other for other in ours(path) if FLOOR[other] >= FLOOR[own]}
    assert not upward, f"{dotted(path)} imports {sorted(upward)}"


@pytest.mark.parametrize("path", sorted((SOURCE / "stages").rglob("*.py")), ids=dotted)
def test_a_verb_knows_no_other_verb(path: Path) -> None:
    """What two verbs share stands in ``runtime``; the pipeline hands on the rest."""
    own = dotted(path).split(".")[1:2]
    others = {name.split(".")[2] for name in imported(path) if name.startswith("headstart.stages.")}
    assert others <= set(own), f"{dotted(path)} imports {sorted(others - set(own))}"


@every
def test_what_lies_in_a_verbs_folder_is_for_that_verb_alone(path: Path) -> None:
    own = dotted(path).split(".")[:2]
    for name in imported(path):
        parts = name.split(".")[1:]
        inside = parts[:1] == ["stages"] and len(parts) > 2 and is_module(parts)
        assert not inside or parts[:2] == own, f"{dotted(path)} imports {name}"


def is_module(parts: list[str]) -> bool:
    return (SOURCE.joinpath(*parts)).with_suffix(".py").is_file()


@every
def test_each_heavy_library_is_known_to_one_room(path: Path) -> None:
    own = room(f"headstart.{dotted(path)}")
    for library, owner in ONLY.items():
        tops = {name.split(".")[0] for name in imported(path)}
        knows = library in tops or f"{library}_fabric" in tops or f"pytorch_{library}" in tops
        assert not knows or own == owner, f"{dotted(path)} imports {library}"


@pytest.mark.parametrize("path", sorted((SOURCE / "methods").glob("*.py")), ids=lambda p: p.stem)
def test_a_method_sees_no_disks_labels_or_loggers(path: Path) -> None:
    assert ours(path) <= {"nn", "config", "types", "extensions", "registry", "ranks"}
    names = {name.split(".")[0] for name in imported(path)}
    assert not names & {"logging", "os", "pathlib", "io", "tensorboard", "rich", "PIL", "warnings"}
    text = path.read_text(encoding="utf8")
    assert ".cuda(" not in text
    words = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert not words & {"label", "labels", "print", "open"}


@every
def test_every_room_has_a_floor(path: Path) -> None:
    """A new module at the top says in ``FLOORS`` where it stands."""
    assert room(f"headstart.{dotted(path)}") in FLOOR.keys() | {"", "__main__"}


@pytest.mark.parametrize(
    "module",
    [
        "headstart",
        "headstart.config",
        "headstart.layers",
        "headstart.arms",
        "headstart.attributions",
        "headstart.data.scan",
        "headstart.data.sources",
        "headstart.executors.processes",
        "headstart.executors.worker",
        "headstart.plugins",
        "headstart.reporting.sections",
    ],
)
def test_a_light_import_brings_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "timm", "lightning", "captum", "altair", "sklearn", "scipy", "torchvision"}
    assert not heavy & set(done.stdout.split())


def test_importing_headstart_costs_little_more_than_python_itself() -> None:
    """Medians of runs in turns, so that a busy machine slows both alike."""
    seconds: dict[str, list[float]] = {"pass": [], "import headstart": [], "import torch": []}
    for _ in range(7):
        for code, taken in seconds.items():
            if code == "import torch" and len(taken) >= 3:
                continue
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken.append(time.perf_counter() - begun)
    bare, ours, heavy = (statistics.median(taken) for taken in seconds.values())
    assert ours - bare < max(0.3, 0.1 * (heavy - bare))


def test_the_reader_of_imports_sees_every_spelling(tmp_path: Path) -> None:
    """A check that cannot fail is none."""
    folder = SOURCE / "nn"
    text = """
import torch, lightning.fabric as f
from captum.attr import Saliency
if TYPE_CHECKING:
    from headstart.cli import main
def inside():
    from headstart import stages
    from ..stages import pretrain
    from . import heads
"""

    class Written(type(folder)):  # type: ignore[misc]
        def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
            return text

    path = Written(folder / "made_up.py")
    found = set(imported(path))
    assert {"torch", "lightning.fabric", "captum.attr", "headstart.stages"} <= found
    assert {"headstart.stages.pretrain", "headstart.nn.heads"} <= found
    assert ours(path) == {"stages"}
