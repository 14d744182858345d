"""docs/export.md says what is: its commands and its Python run, its tables have every format."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from headstart import cli
from headstart.export.check import TOLERANCE
from headstart.export.formats import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf8")
COMMANDS = re.findall(r"^headstart .+$", PAGE, re.MULTILINE)


@pytest.fixture
def home(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, as the page has it."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "bags").symlink_to(runs["test_resnet"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(
    command: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = shlex.split(command)
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code in (0, None), err
    assert out == f"{words[-1]}/export.json\n"
    assert "differ from headstart's own by" in err
    assert (home / words[-1] / "README.md").is_file()


def test_the_python_runs(home: Path, bags: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    paths = sorted((bags / "labeled" / "train").rglob("*.jpg"))
    names = {"paths": paths, "classes": [path.parent.name for path in paths]}
    exec(code, names)
    assert names["model"].score(paths, names["classes"]) > 1 / 9  # type: ignore[attr-defined]


def test_every_format_is_in_both_tables() -> None:
    first = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    (measured,) = re.findall(r"^\| backbone \| (.*) \|$", PAGE, re.MULTILINE)
    assert first == list(FORMATS)
    assert measured.replace("`", "").split(" | ") == list(FORMATS)


def test_what_was_measured_is_within_the_tolerance() -> None:
    table = PAGE.partition("| backbone |")[2].partition("## In scikit-learn")[0]
    rows = [line.split("|")[2:-1] for line in table.splitlines() if line.startswith("| ")]
    numbers = [n.strip() for row in rows for cell in row for n in cell.split("/")]
    assert len(numbers) > 30
    assert all(n == "–" or float(n) <= TOLERANCE for n in numbers)
