"""The page on the reference study is what its script prints of the published matrices."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from examples import study_script

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
sys.path.insert(0, str(Path(__file__).parent / "stats"))


@pytest.fixture(scope="module")
def paper() -> ModuleType:
    return study_script("paper")


def test_the_page_is_the_scripts_output(paper: ModuleType) -> None:
    assert paper.page() == (STUDIES / "paper.md").read_text(encoding="utf8")


def test_the_matrices_are_those_the_statistics_are_tested_on() -> None:
    from reference_study import CLASSES, MATRICES

    stored = json.loads((STUDIES / "paper_confusions.json").read_text(encoding="utf8"))
    assert stored["classes"] == list(CLASSES)
    assert stored["confusion_matrices"] == {name: M.tolist() for name, M in MATRICES.items()}


def test_discordant_bounds_hold_for_every_pairing(paper: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        y = rng.integers(0, 3, 40)
        a, b = (np.where(rng.random(40) < q, y, rng.integers(0, 3, 40)) for q in (0.7, 0.4))
        tables = [np.zeros((3, 3), int) for _ in range(2)]
        for table, said in zip(tables, (a, b), strict=True):
            np.add.at(table, (y, said), 1)
        least, most = paper.discordant(*tables)
        assert least <= int(((a == y) != (b == y)).sum()) <= most


def test_the_bound_on_p_is_the_worst_case(paper: ModuleType) -> None:
    """More discordant images at the same difference only raise McNemar's p."""
    page = paper.page()
    matrices = json.loads((STUDIES / "paper_confusions.json").read_text())["confusion_matrices"]
    A, B = (np.array(matrices[name]) for name in ("Supervised", "SimCLR 1500"))
    least, most = paper.discordant(A, B)
    gap = int(np.trace(A) - np.trace(B))
    counts = [n for n in range(least, most + 1) if (n + gap) % 2 == 0]
    p = [stats.binomtest((n + gap) // 2, n).pvalue for n in counts]
    assert (np.diff(p) >= 0).all()
    assert p[-1] == pytest.approx(2e-6, rel=0.2)
    assert "| SimCLR 1500 | +4.3 | 941 to 3,443 | [2.5, 6.1] | < 0.001 |" in page
