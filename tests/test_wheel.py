"""The package as it is handed out: what it holds, and that it runs away from the source tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
NAME = f"headstart-{PROJECT['version']}"


def command(*words: object, cwd: Path) -> str:
    """Run a command without the caller's ``PYTHONPATH``, which would show it the source tree."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=env | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it.

    Its dependencies are those of the environment that runs the tests, put behind its own packages
    on the path: installing them anew would download gigabytes. Python reads no ``.pth`` file in a
    folder that itself comes from one, so an editable install cannot stand in for the wheel.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    wheel = built / f"{NAME}-py3-none-any.whl"
    command(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", wheel),
        cwd=home,
    )
    site = next(home.glob("lib/python*/site-packages"))
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n", encoding="utf8")
    return home


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve unlabelled squares of noise, and six of each of two classes."""
    rng = np.random.default_rng(0)
    for folder, count in (("pool", 12), ("bags/round", 6), ("bags/square", 6)):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    return tmp_path


def test_the_wheel_runs_where_the_source_is_not(installed: Path, photos: Path) -> None:
    python, script = installed / "bin" / "python", installed / "bin" / "headstart"
    where = command(python, "-c", "import headstart; print(headstart.__file__)", cwd=photos)
    assert Path(where.strip()).is_relative_to(installed)
    folders = ("--unlabeled", "pool", "--labeled", "bags")
    small = ("--set", "engine.device=cpu", "--set", "engine.threads=1")
    asked = ("check", *folders, *small, "--out", "card", "--json")
    card = command(python, "-m", "headstart", *asked, cwd=photos).strip()
    counts = json.loads((photos / card).read_text(encoding="utf8"))["data"]["counts"]
    assert counts["pool"] - counts["pool_from_train"] == 12
    assert "presets" in command(script, "--help", cwd=photos)
    code = "from headstart.reporting import schema; print(len(schema()))"
    assert int(command(python, "-c", code, cwd=photos)) > 0


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        said = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        licence = wheel.read(f"{NAME}.dist-info/licenses/LICENSE").decode()
    package = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "headstart").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == package
    assert {"headstart/py.typed", "headstart/reporting/schema.json"} <= names
    assert {"html", "css", "md"} <= {
        n.rpartition(".")[2] for n in names if n.startswith("headstart/reporting/templates/")
    }
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf8")
    assert "License-Expression: Apache-2.0" in said


def test_the_source_distribution_holds_what_is_needed_and_no_more(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = [name.removeprefix(f"{NAME}/") for name in archive.getnames()]
    needed = {"LICENSE", "CITATION.cff", "README.md", "pyproject.toml", "Makefile"}
    assert needed | {"src/headstart/py.typed", "tests/test_wheel.py", "docs/study.md"} <= {*names}
    tops = {name.partition("/")[0] for name in names}
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {".ci", "benchmarks", "docs", "examples", "src", "tests"}
    assert not tops & {".git", ".venv", "runs", "dist", "build", "shared"}
    assert not [name for name in names if "cache" in name.split("/")[-2:-1]]
    assert not [name for name in names if name.endswith((".pyc", ".ckpt", ".safetensors"))]


def test_the_citation_names_the_version_that_is_built() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in PROJECT["authors"]]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
