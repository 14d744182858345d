"""Commands that ask something of a finished run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.attributions import ATTRIBUTIONS
from headstart.commands.options import Device, RunFolder, layers_of

if TYPE_CHECKING:
    from headstart.layers import Layers


def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(help="A run folder; with --predictions, two or more CSV files."),
    ],
    predictions: Annotated[
        bool, typer.Option("--predictions", help="The paths are files of predictions.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="The file to compare with (default: the first).")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Smallest difference that matters, as a share.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.json.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print comparison.json instead of a table.")
    ] = False,
) -> None:
    """Compare stored predictions again, or those of any models, by image, with intervals.

    A file of predictions holds a row an image: id, label, and prediction or a score for each class
    as p:<class>; seed, group and label_fraction where there are any.
    """
    from json import dumps

    from headstart.stages.compare import compare_paths, write_comparison

    compared = compare_paths(paths, baseline, margin, are_files=predictions)
    if out is not None:
        write_comparison(compared, out)
    if json:
        print(dumps(compared.found.to_json(), indent=1))
        return
    from rich.console import Console

    from headstart.reporting.summary import comparison_lines, comparison_table

    console = Console(highlight=False)
    console.print(comparison_table(compared.found))
    for line in (*compared.notes, *comparison_lines(compared.found)):
        console.print(line, markup=False, soft_wrap=True)


def explain(  # noqa: PLR0913 - the signature is the command line
    folder: RunFolder,
    attributions: Annotated[
        str | None,
        typer.Option(help=f"Which of {', '.join(ATTRIBUTIONS)}; with commas between them."),
    ] = None,
    images: Annotated[int | None, typer.Option(help="How many test images to explain.")] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Where the object is: a folder of PNG masks, COCO .json, or boxes .csv."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="One picture of yours instead: all arms side by side.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="With --image: the class to explain (default: each arm's own answer)."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting of explain: explain.pictures=9.")
    ] = None,
    device: Device = None,
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: results.json, or maps.npz.")
    ] = False,
) -> None:
    """Ask where the networks of a finished run look; nothing is trained again."""
    from headstart.config import StudyError

    flags = {
        "attributions": attributions,
        "images": images,
        "masks": masks,
        "device": device,
    }
    layers = layers_of(set_, flags)
    if image is not None:
        _explain_image(folder, image, target, layers, json=json)
        return
    if target is not None:
        raise StudyError("--target: goes with --image; give a picture to explain")
    from headstart.finished import explain_run
    from headstart.terminal import Terminal

    terminal = Terminal()
    with terminal:
        outcome = explain_run(folder, layers, terminal, shlex.join(["headstart", *sys.argv[1:]]))
    from headstart.reporting.summary import explanation_lines

    for line in explanation_lines(outcome.results):
        terminal.line(line)
    terminal.line(f"Report: {outcome.report_path}")
    if json:
        print(outcome.results_path)


def _explain_image(
    folder: Path, image: Path, target: str | None, layers: Layers, *, json: bool
) -> None:
    from headstart.finished import explain_image
    from headstart.reporting.summary import answers_table
    from headstart.terminal import Terminal

    terminal = Terminal()
    with terminal:
        explained = explain_image(folder, image, target, layers, terminal)
    rows = [
        (arm.label, explained.classes[p], shares[p], explained.classes[t], shares[t])
        for arm, p, t, shares in zip(
            explained.arms,
            explained.predicted,
            explained.target,
            explained.probabilities,
            strict=True,
        )
    ]
    terminal.show(answers_table(rows))
    terminal.line(f"Maps side by side: {explained.sheet}")
    terminal.line(f"Arrays: {explained.arrays}")
    if json:
        print(explained.arrays)


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN [RUN]", help="A run folder, or two side by side.")
    ],
    out: Annotated[Path, typer.Option(help="With two runs: the page that shows both.")] = Path(
        "side-by-side.html"
    ),
) -> None:
    """Write a run's page again, also of an unfinished run; or show two runs side by side."""
    from headstart.config import StudyError
    from headstart.finished import report_run
    from headstart.reporting.answer import first_screen

    if len(folders) > 2:
        raise StudyError(f"report: {len(folders)} folders; give one run, or two to compare")
    if len(folders) == 2:
        _beside(folders[0], folders[1], out)
        return
    results = report_run(folders[0])
    typer.echo(first_screen(results)["headline"])
    typer.echo(f"Report: {folders[0] / 'report.html'}")


def _beside(one: Path, other: Path, out: Path) -> None:
    from headstart.config import StudyError
    from headstart.reporting.beside import write_beside
    from headstart.results import load_results

    if not out.resolve().parent.is_dir():
        raise StudyError(f"--out {out}: no folder {out.parent}")
    path = write_beside(load_results(one), load_results(other), out)
    typer.echo(f"Both runs: {path}")


def list_(
    root: Annotated[Path, typer.Argument(metavar="RUNS", help="The folder they lie in.")] = Path(
        "runs"
    ),
) -> None:
    """List the runs below a folder, the newest first, with what each found."""
    from rich.console import Console

    from headstart.finished import list_runs
    from headstart.reporting.summary import runs_table

    found = list_runs(root)
    if not found:
        typer.echo(f"No run below {root}.")
        return
    Console(highlight=False).print(
        runs_table([(str(r.folder), r.state, r.begun, r.said) for r in found])
    )


def tensorboard(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Print the command that shows a run's training curves in TensorBoard."""
    from headstart.config import StudyError

    logs = folder / "tensorboard"
    if not logs.is_dir():
        raise StudyError(f"{folder}: nothing was logged there; give the folder of a run")
    typer.echo(shlex.join(["tensorboard", "--logdir", str(logs)]))
