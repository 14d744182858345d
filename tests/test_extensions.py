"""Parts of installed packages: found by their entry points, imported when used, refused in a line.

The example package is installed into a folder of its own, and run by the command line from there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_study
from headstart import extensions
from headstart.attributions import ATTRIBUTIONS, title
from headstart.commands.parts import part_lines
from headstart.config import StudyError
from headstart.data.cache import identity
from headstart.data.scan import find_unlabeled
from headstart.data.sources import SOURCES
from headstart.extensions import Group
from headstart.methods import METHODS
from headstart.recipes import recipe_table, resolve_recipe
from headstart.registry import Registry
from headstart.stages.pretrain.job import Job
from headstart.trackers import TRACKERS
from headstart.trackers.tracking import tracking

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "headstart-example"
OPEN = {
    "methods": METHODS,
    "attributions": ATTRIBUTIONS,
    "sources": SOURCES,
    "trackers": TRACKERS,
}

Install = Callable[..., None]


def forget() -> None:
    """Look for installed packages anew."""
    extensions._installed.cache_clear()
    for registry in OPEN.values():
        registry.__dict__.pop("_found", None)
        registry._loaded.clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Packages made up on the spot: a module, and metadata with entry points."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def made(package: str, group: str, points: dict[str, str], module: str = "") -> None:
        name = package.replace("-", "_")
        (folder / f"{name}.py").write_text(module, encoding="utf8")
        sys.modules.pop(name, None)  # of another test
        about = folder / f"{name}-1.2.dist-info"
        about.mkdir()
        about.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf8"
        )
        lines = "\n".join(f"{part} = {place}" for part, place in points.items())
        about.joinpath("entry_points.txt").write_text(f"[{group}]\n{lines}\n", encoding="utf8")
        forget()

    yield made
    monkeypatch.undo()
    forget()


def test_a_part_is_listed_without_its_package_being_imported(install: Install) -> None:
    install("good", "headstart.attributions", {"flat": "good:flat"}, "def flat(case): 'Flat.'")
    assert list(ATTRIBUTIONS)[-1] == "flat"
    assert "good" not in sys.modules
    assert ATTRIBUTIONS["flat"] is sys.modules["good"].flat
    assert ATTRIBUTIONS.made_by("flat") == {"extension": "good 1.2"}
    assert ATTRIBUTIONS.made_by("saliency") == {}
    assert "  flat: Flat. [good 1.2]" in part_lines()


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("1 +", "SyntaxError"),
        ("", "AttributeError"),
        ("raise SystemError('not today')", "SystemError: not today"),
        ("Mine = 3", "has no 'title'"),
    ],
)
def test_a_broken_package_is_one_line_for_whoever_uses_it(
    install: Install, module: str, why: str
) -> None:
    install("broken", "headstart.methods", {"mine": "broken:Mine"}, module)
    with pytest.raises(StudyError, match=re.escape(why)) as told:
        tiny_study.study(methods={"mine": {}})
    assert "method 'mine' of the package broken 1.2" in str(told.value)
    assert "\n" not in str(told.value)
    assert tiny_study.study(only=["simclr"]).methods.keys() == {"simclr"}
    assert {name.split(".")[1] for name, _, _ in recipe_table()} == set(METHODS) - {"mine"}
    assert any(why in line and line.endswith("[broken 1.2]") for line in part_lines())


def test_the_version_is_in_the_keys_of_what_a_part_computes(
    install: Install, tmp_path: Path
) -> None:
    module = "from headstart.methods.simsiam import SimSiam as Mine"
    install("good", "headstart.methods", {"mine": "good:Mine"}, module)
    run = tiny_study.open_run(tiny_study.study(only=["simsiam"]), tmp_path / "run")
    data = tiny_study.made_data(run, 8)
    keys = {
        name: Job(run, data, name, 0, resolve_recipe(run.study, "simsiam"), data.pool(True))
        for name in ("mine", "simsiam")
    }
    assert keys["mine"].settings()["extension"] == "good 1.2"
    assert "extension" not in keys["simsiam"].settings()


def test_the_version_of_a_source_is_in_the_key_of_its_images(install: Install, bags: Path) -> None:
    place = bags / "unlabeled"
    plain = find_unlabeled(place)
    module = "from headstart.data.sources.folder import Folder as Mine"
    install("good", "headstart.sources", {"mine": "good:Mine"}, module)
    read = find_unlabeled(place)
    assert {file.reader for file in read} == {"good 1.2"}
    assert [file.id for file in read] == [file.id for file in plain]
    assert identity(read) != identity(plain)


TRACKER = """
class Mine:
    def __init__(self, tracked):
        self.place, self.known = "here", False
    def curves(self, points): print("curves", *[point.step for point in points])
    def answer(self, answer): pass
    def close(self, ending): print(ending)
"""


def test_a_package_may_bring_a_tracker(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("good", "headstart.trackers", {"mine": "good:Mine"}, TRACKER)
    tell = tiny_study.Spoken()
    with tracking(tiny_study.study(engine={"track": "mine"}), tmp_path, tell) as told:
        told.curve("pretrain/x", 7, {"loss": 1.0})
    assert tell.lines == ["--track mine: here"]
    assert capsys.readouterr().out == "curves 7\nfinished\n"


def test_a_broken_attribution_leaves_a_name_to_print(install: Install) -> None:
    install("broken", "headstart.attributions", {"mine_too": "broken:mine"})
    assert title("mine_too") == "mine too"


def test_a_broken_source_is_named_where_it_may_be_missed(install: Install, tmp_path: Path) -> None:
    install("broken", "headstart.sources", {"mine": "broken:Mine"})
    file = tmp_path / "photos.mine"
    file.write_bytes(b"mine")
    with pytest.raises(StudyError, match=r"photos.mine: no source reads it.*package broken 1.2"):
        find_unlabeled(file)


@pytest.mark.parametrize(
    ("name", "why"),
    [("simclr", "the name is taken"), ("random", "the name is taken"), ("a/b", "a name has")],
)
def test_a_name_that_cannot_be_given_is_refused(install: Install, name: str, why: str) -> None:
    install("greedy", "headstart.methods", {name: "greedy:Mine"}, "Mine = 1")
    assert [refused.extension.name for refused in METHODS.refused] == [name]
    assert METHODS["simclr"].title == "SimCLR"
    assert METHODS.get("random") is None
    assert any(line.startswith(f"  {name}: not taken, as {why}") for line in part_lines())
    assert "greedy" not in sys.modules


def test_of_two_packages_with_one_name_neither_gets_it(install: Install) -> None:
    install("one", "headstart.methods", {"mine": "one:Mine"})
    install("two", "headstart.methods", {"mine": "two:Mine"})
    assert "mine" not in METHODS
    assert [refused.why for refused in METHODS.refused] == [
        "two 1.2 brings one of the same name",
        "one 1.2 brings one of the same name",
    ]


def test_a_name_of_a_package_cannot_be_registered_again(install: Install) -> None:
    install("good", "headstart.methods", {"mine": "good:Mine"})
    for name in ("mine", "random"):
        with pytest.raises(ValueError, match=f"already a method called '{name}'"):
            METHODS.register(name)(object)


def test_a_closed_registry_asks_for_nothing(install: Install) -> None:
    install("good", "headstart.parts", {"mine": "good:Mine"}, "Mine = 1")
    assert list(Registry("part", {"one": 1})) == ["one"]
    assert list(Registry("part", {"one": 1}, Group("headstart.parts", ()))) == ["one", "mine"]


# --- the example ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package in it, built and installed without a network."""
    folder = tmp_path_factory.mktemp("example")
    alone = ("--no-deps", "--no-build-isolation", "--no-index", "--target", folder / "site")
    command("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *alone, EXAMPLE)
    return folder / "site"


def command(*words: object, paths: tuple[Path, ...] = ()) -> str:
    """A Python of its own, which finds ``headstart`` and whatever lies in ``paths``."""
    found = os.pathsep.join(map(str, (*paths, ROOT / "src")))
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_example(site: Path, bags: Path, home: Path) -> dict[str, Any]:
    """A tiny study of the example's parts alone; what ``results.json`` holds."""
    small = {**tiny_study.settings(bags), "methods": {"spectral": {"dim": 32}}}
    small["classify"]["protocols"] = ["linear"]
    small["explain"] |= {"attributions": ["gradient_times_input"], "faithfulness_images": 0}
    (home / "study.yaml").write_text(json.dumps(small), encoding="utf8")
    ran = ("-m", "headstart", "run", home / "study.yaml", "--seeds", "0", "--out", home / "run")
    results = command(*ran, "--json", paths=(site,)).strip()
    found: dict[str, Any] = json.loads(Path(results).read_text(encoding="utf8"))
    return found


def test_the_example_runs_by_the_command_line(site: Path, bags: Path, tmp_path: Path) -> None:
    listed = command("-m", "headstart", "methods", paths=(site,))
    assert listed.count("[headstart-example 0.1.0]") == 2
    results = run_example(site, bags, tmp_path)
    assert [(row["method"], row["status"]) for row in results["pretraining"]] == [
        ("spectral", "ok")
    ]
    assert {row["attribution"] for row in results["attribution_similarity"]} == {
        "gradient_times_input"
    }
    assert results["provenance"]["versions"]["headstart-example"] == "0.1.0"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert "Spectral" in page
    assert "Gradient × input" in page


@pytest.mark.slow
def test_another_version_of_a_package_computes_anew(site: Path, bags: Path, tmp_path: Path) -> None:
    """Twice the same version finds everything; another one only what is not the package's."""
    again = shutil.copytree(site, tmp_path / "site")
    made = {}
    for version in ("0.1.0", "0.1.0", "0.2.0"):
        about = next(again.glob("headstart_example-*.dist-info"))
        text = (about / "METADATA").read_text(encoding="utf8")
        changed = re.sub("Version: 0.*", f"Version: {version}", text)
        (about / "METADATA").write_text(changed, encoding="utf8")
        about.rename(again / f"headstart_example-{version}.dist-info")
        run_example(again, bags, tmp_path)
        folders = {path.parent.name for path in (tmp_path / "run").glob("*/*/done.json")}
        made.setdefault(version, []).append(folders)
    assert made["0.1.0"][0] == made["0.1.0"][1]
    new = made["0.2.0"][0] - made["0.1.0"][0]
    old = made["0.1.0"][0]
    assert {name.rpartition("-")[0] for name in new} & {"spectral-seed0"}
    assert not [name for name in new if name.startswith("start")]
    assert {name for name in old if name.startswith("spectral-seed0-")}


def test_the_examples_loss_is_the_papers(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against sums written out, pair by pair."""
    monkeypatch.syspath_prepend(str(site))
    from headstart_example import Spectral, spectral

    z1, z2 = np.random.default_rng(0).normal(size=(2, 5, 3))
    together = [sum(z1[i, d] * z2[i, d] for d in range(3)) for i in range(5)]
    apart = [
        sum(z1[i, d] * z2[j, d] for d in range(3)) ** 2
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    expected = -2 * sum(together) / 5 + sum(apart) / 20
    assert spectral(torch.tensor(z1), torch.tensor(z2)).item() == pytest.approx(expected, rel=1e-9)
    method = Spectral(tiny_study.small_encoder(), 10, dim=4, radius=0.7)
    shortened = method._within(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
    assert shortened.norm(dim=1).tolist() == pytest.approx([0.7, 0.5])
    constant = torch.full((6, 2), 0.7 / 2**0.5)
    assert spectral(constant, constant).item() == pytest.approx(method.loss_floor(6), abs=1e-6)
