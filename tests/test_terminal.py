"""What a person sees: in a real terminal (tmux) at two widths, in a pipe, and on Ctrl-C."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import tiny_study

TMUX = shutil.which("tmux")
in_tmux = pytest.mark.skipif(TMUX is None, reason="there is no tmux on this machine")
HEADSTART = [sys.executable, "-m", "headstart"]
PATIENCE = 300.0


class Screen:
    """A tmux window of so many columns in which one command runs."""

    def __init__(self, folder: Path, columns: int, command: list[str]) -> None:
        self.tmux = [str(TMUX), "-L", folder.name, "-f", "/dev/null"]
        size = ["-x", str(columns), "-y", "60"]
        line = f"{shlex.join(command)}; echo ended with $?; sleep 600"
        subprocess.run([*self.tmux, "new-session", "-d", *size, line], check=True, cwd=folder)

    def shows(self) -> list[str]:
        """The lines as they stand on the screen, without the empty ones."""
        capture = [*self.tmux, "capture-pane", "-p", "-S", "-500"]
        text = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def until(self, found: Callable[[str], object]) -> list[str]:
        """What it shows as soon as the text on it is as asked for."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            lines = self.shows()
            if found("\n".join(lines)):
                return lines
            time.sleep(0.05)
        raise AssertionError("\n".join(self.shows()))

    def press(self, key: str) -> None:
        subprocess.run([*self.tmux, "send-keys", key], check=True)

    def close(self) -> None:
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Callable[[int, list[str]], Screen]]:
    opened = []

    def open_one(columns: int, command: list[str]) -> Screen:
        folder = tmp_path / f"{tmp_path.parent.name}-{columns}-{len(opened)}"
        folder.mkdir()
        opened.append(Screen(folder, columns, command))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def study(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small study."""
    changes = {"pretrain": {"epochs": 4, "batch_size": 32}, "label_fractions": [1.0]}
    asked = tiny_study.study(bags, only=["simclr"], **changes)
    file = tmp_path_factory.mktemp("study") / "study.yaml"
    file.write_text(yaml.safe_dump(asked.model_dump(mode="json")), encoding="utf8")
    return file


@pytest.fixture(scope="module")
def run(study: Path) -> list[str]:
    """The command that runs it; its folder holds the finished run after the first time."""
    return [*HEADSTART, "run", str(study), "--out", str(study.parent / "run")]


@pytest.fixture(scope="module")
def piped(run: list[str]) -> subprocess.CompletedProcess[str]:
    """The same run where nobody sits at a terminal."""
    return subprocess.run(run, capture_output=True, text=True, check=True)


@in_tmux
@pytest.mark.parametrize("columns", [80, 140])
def test_the_end_of_a_run_fits_the_terminal(
    columns: int, screen: Callable[[int, list[str]], Screen], run: list[str]
) -> None:
    lines = screen(columns, run).until(lambda text: "ended with" in text)
    assert lines[-1] == "ended with 0"
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    table = text[text.index("Balanced accuracy on the test images") : text.index("Report:")]
    rows = [line for line in table.splitlines() if re.search(r"\d\d\.\d \[", line)]
    named = ["always the largest class", "supervised", "random weights", "SimCLR, linear head"]
    for name in named:  # each arm is one row that no wrapping broke
        assert sum(name in row for row in rows) >= 1, table
    assert not re.search(r"eta|━", text)  # the bars are gone
    assert "Traceback" not in text


@in_tmux
def test_bars_with_an_eta_while_it_runs_and_what_ctrl_c_says(
    screen: Callable[[int, list[str]], Screen], study: Path, tmp_path: Path
) -> None:
    """What is kept, and how to go on."""
    window = screen(80, [*HEADSTART, "run", str(study), "--out", str(tmp_path / "run")])
    lines = window.until(lambda text: re.search(r"simclr.*━.*eta", text))
    window.press("C-c")
    assert any(line.startswith("encoders with their classifiers") for line in lines)
    assert max(map(len, lines)) <= 80
    lines = window.until(lambda text: "ended with" in text)
    assert lines[-1] == "ended with 130"
    said = " ".join(lines)
    assert "stopped by SIGINT" in said
    assert "same command" in said
    assert "Traceback" not in said
    assert "━" not in lines[-2]


def test_a_pipe_gets_few_plain_lines(piped: subprocess.CompletedProcess[str]) -> None:
    assert piped.stdout == ""
    assert "\x1b" not in piped.stderr
    assert "━" not in piped.stderr
    lines = piped.stderr.splitlines()
    assert len(lines) < 60
    assert len(set(lines)) >= len([line for line in lines if line.strip()]) - 2


@pytest.mark.slow
def test_no_color_is_kept_to(run: list[str]) -> None:
    forced = {**os.environ, "FORCE_COLOR": "1"}
    colours = re.compile(r"\x1b\[[\d;]*3[0-7]")
    done = subprocess.run(
        run, env={**forced, "NO_COLOR": "1"}, capture_output=True, text=True, check=True
    )
    assert not colours.search(done.stderr)


@pytest.mark.slow
def test_quiet_says_the_answer_and_no_more(
    run: list[str], piped: subprocess.CompletedProcess[str]
) -> None:
    loud = piped.stderr.splitlines()
    quiet = subprocess.run([*run, "--quiet"], capture_output=True, text=True, check=True)
    said = quiet.stderr.splitlines()
    assert said[-1].startswith("Report: ")
    assert set(said) <= set(loud)
    assert not any("reading images" in line for line in said)
