"""What ``headstart doctor`` says of libraries that are there, missing or too old."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headstart.cli import app
from headstart.commands import doctor
from headstart.commands.doctor import needed_libraries, usable_memory

STATED = [
    "numpy>=2.0",
    "torch>=99",
    "no-such-library>=1",
    'tomli>=1; python_version < "3"',
    'scikit-learn>=1.6; extra == "sklearn"',
    'another-one; extra == "odd"',
    'pytest>=8; extra == "test"',
    'headstart[sklearn]; extra == "all"',
]


def test_libraries_are_there_too_old_or_missing() -> None:
    needed, extras = needed_libraries(STATED)
    assert [library.name for library in needed] == ["numpy", "torch", "no-such-library"]
    assert [library.fits for library in needed] == [True, False, False]
    assert "(needs >=99)" in str(needed[1])
    assert str(needed[2]) == "no-such-library is missing"
    assert set(extras) == {"sklearn", "odd"}
    assert extras["sklearn"][0].fits
    assert not extras["odd"][0].fits


def test_what_is_missing_ends_with_one_line_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: STATED)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "no-such-library is missing: pip install" in done.stderr
    assert "another-one is missing: pip install -U 'headstart[odd]'" in done.stdout
    assert "cores" not in done.stdout  # torch is too old to be asked


def test_a_sound_installation_says_what_a_study_would_use(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["doctor", "--device", "cpu", "--out", str(tmp_path / "a" / "b")]
    )
    assert done.exit_code == 0, done.output
    for word in ("needed: ", "device: cpu", "precision: ", "cores: ", "memory: ", "disk: "):
        assert word in done.stdout
    assert str(tmp_path) in done.stdout


def test_a_container_s_memory_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    whole = usable_memory(tmp_path / "none")
    assert whole > 2**20
    limit.write_text("max\n")
    assert usable_memory(limit) == whole
    limit.write_text("1048576\n")
    assert usable_memory(limit) == 2**20


@pytest.mark.parametrize(("asked", "said"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmp_s_threads_sleep_unless_the_user_wants_them_to_spin(
    asked: str | None, said: str
) -> None:
    """GNU's OpenMP prints its settings when torch loads it."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": asked} if asked else {})
    done = subprocess.run(
        [sys.executable, "-m", "headstart", "doctor", "--device", "cpu"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    if not lines:
        pytest.skip("torch here has another OpenMP")
    assert all(said in line for line in lines)


_SET = """
import os, sys
from headstart.cli import main
assert "numpy" not in sys.modules, "it would have read the environment before"
sys.argv = ["headstart", "--version"]
try:
    main()
except SystemExit:
    print("OPENBLAS_NUM_THREADS", os.environ["OPENBLAS_NUM_THREADS"])
"""


@pytest.mark.parametrize(("asked", "said"), [(None, "1"), ("3", "3")])
def test_numpy_has_one_thread_unless_the_user_wants_more(asked: str | None, said: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": asked} if asked else {}
    done = subprocess.run(
        [sys.executable, "-c", _SET], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"OPENBLAS_NUM_THREADS {said}"
