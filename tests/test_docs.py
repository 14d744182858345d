"""The documents say what is: every command of the README runs, every setting is listed."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from headstart.attributions import ATTRIBUTIONS, is_signed
from headstart.config import PRESETS, settings_table
from headstart.layers import build_study, read_study_file
from headstart.methods import METHODS
from rooms import SOURCE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
STUDY = (ROOT / "docs" / "study.md").read_text(encoding="utf8")
COMMANDS = re.findall(r"^(?:make|headstart) .+$", README, re.MULTILINE)

# Settings that no README command names: they make any study end within seconds.
SMALL = shlex.split(
    "--backbone test_resnet --image-size 32 --epochs 1 --batch-size 32 --device cpu "
    "--set classify.finetune.epochs=1 --set classify.finetune.min_steps=2 "
    "--set classify.finetune.lrs=[0.1] --set classify.finetune.weight_decays=[0.0001] "
    "--set classify.finetune.max_lengthening=1 --set classify.finetune.augmentations=[light] "
    "--set explain.images=2 --set explain.pictures=1 --set compare.replicates=100 "
    "--set engine.threads=1"
)
SMALL_EXPLAIN = shlex.split(
    "--images 2 --attributions saliency --device cpu --set explain.faithfulness_images=1"
)
SMALL_BENCH = shlex.split(
    "--backbone test_resnet --image-size 32 --batch-size 16 --rounds 2 --device cpu --data photos"
)


def test_the_readme_has_its_commands() -> None:
    assert "make demo" in COMMANDS
    assert sum(command.startswith("headstart run") for command in COMMANDS) >= 3


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_words_exist(command: str) -> None:
    words = command.split("#")[0].split()
    # -n prints what would be done: a word that does not exist fails.
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def home(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the reader's: photos/, bags/ and a study file."""
    home = tmp_path_factory.mktemp("reader")
    (home / "photos").symlink_to(bags / "unlabeled")
    (home / "bags").symlink_to(bags / "labeled")
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", STUDY, re.DOTALL)[0])
    example["seeds"], example["label_fractions"] = [0], [0.5, 1.0]
    (home / "study.yaml").write_text(yaml.safe_dump(example), encoding="utf8")
    return home


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("headstart")])
def test_readme_commands_run(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they stand, but for settings that make them small."""
    from headstart import cli

    words = shlex.split(command.split("#")[0])
    if words[1] == "run":
        words += SMALL if "--seeds" in words else [*SMALL, "--seeds", "0"]
    if words[1] == "explain":
        words += SMALL_EXPLAIN
    if words[1] == "plan":
        words += ["--backbone", "test_resnet", "--image-size", "32"]
    if words[1] == "bench":
        words += SMALL_BENCH
    monkeypatch.chdir(home)
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None), capsys.readouterr().err
    if words[1] == "run":
        assert (home / "runs").exists()


def test_study_md_lists_every_setting() -> None:
    for name, default, meaning in settings_table():
        line = f"{name} = {default}" + (f"  # {meaning}" if meaning else "")
        assert line in STUDY, "docs/study.md is not what `headstart settings` prints"


def test_the_table_of_attributions_has_all_of_them() -> None:
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| (yes|no) \|", page, re.MULTILINE)
    assert rows == [(name, "yes" if is_signed(name) else "no") for name in ATTRIBUTIONS]


def test_the_documents_name_every_method_and_room() -> None:
    listed = ", ".join(f"`{name}`" for name in METHODS)
    assert listed in (ROOT / "docs" / "results.md").read_text(encoding="utf8")
    tree = README.partition("## The tree")[2].partition("## Develop")[0]
    assert f"one paper a file: {' '.join(METHODS)}, and supervised" in tree
    for method in METHODS.values():
        assert method.title in README.partition("## Try it")[0]
    rooms = {path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    for room in rooms - {"py.typed"}:
        assert re.search(rf"\b{re.escape(room)}", tree), f"README's tree lacks {room}"


def test_the_picture_shows_the_source_as_it_is() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "architecture.py"))["picture"]()
    shipped = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf8")
    assert shipped == drawn, "run `make picture`"


def test_shipped_study_files_are_valid() -> None:
    files = sorted(ROOT.glob("docs/**/*.yaml"))
    assert files
    for file in files:
        build_study([(str(file), read_study_file(file))])


def test_every_preset_says_what_it_costs() -> None:
    for preset in PRESETS.values():
        assert "Costs" in (preset.__doc__ or "")


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_project_speaks_only_of_itself() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in files:
        if (
            name.endswith((".py", ".md", ".toml", ".yaml", ".html"))
            and name != "tests/test_docs.py"
        ):
            text = (ROOT / name).read_text(encoding="utf8")
            assert f"{ROOT.parent}/" not in text, f"{name} holds a path of one machine"
