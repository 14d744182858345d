"""The notebooks run from their first cell to their last, one after the other in one folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pages import ROOT

FOLDER = ROOT / "docs" / "notebooks"
# The second takes the run that the first one made.
NOTEBOOKS = ("first_study.ipynb", "finished_run.ipynb")
RUN = """
import sys
import nbformat
from nbclient import NotebookClient

for path in sys.argv[1:]:
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3").execute()
    nbformat.write(book, path.rpartition("/")[2])
"""


def test_all_are_run() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*NOTEBOOKS}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_they_are_kept_without_what_they_printed(name: str) -> None:
    for cell in json.loads((FOLDER / name).read_text(encoding="utf8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_their_links_lead_somewhere(name: str) -> None:
    cells = json.loads((FOLDER / name).read_text(encoding="utf8"))["cells"]
    said = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)", said)
    assert links
    assert not [link for link in links if not (FOLDER / link).exists()]


@pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None,
    reason="nbclient and ipykernel are not installed",
)
def test_they_run(tmp_path: Path) -> None:
    # In a process of its own, for the same reason as mkdocs: its warnings are not ours.
    paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", RUN, *(str(FOLDER / name) for name in NOTEBOOKS)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = {name: printed(tmp_path / name) for name in NOTEBOOKS}
    assert "SimCLR, fine-tuned against supervised" in said["first_study.ipynb"]
    assert "image/png" in said["finished_run.ipynb"]
    for text in said.values():  # tqdm, in a library that we use, misses its widgets
        assert set(re.findall(r"\w*Warning", text)) <= {"TqdmWarning"}


def printed(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    return json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)
