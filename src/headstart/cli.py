"""The command line: parses, calls, prints. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart import interrupt
from headstart.attributions import ATTRIBUTIONS
from headstart.faults import GO_ON, machine_fault
from headstart.methods import METHODS

if TYPE_CHECKING:
    from headstart.arms import Arm
    from headstart.config import Study
    from headstart.layers import Layers
    from headstart.stages.report import Outcome

app = typer.Typer(
    help="Does self-supervised pretraining give my classifier a head start? Two folders of images "
    "in, one honest report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# Options that more than one command has.
StudyFile = Annotated[
    Path | None, typer.Argument(help="A study file (YAML); flags and --set override it.")
]
Unlabeled = Annotated[
    Path | None,
    typer.Option(
        help="Unlabelled images: a folder tree, a .zip or .tar, a CSV or Parquet file, a saved "
        "Hugging Face data set, or WebDataset shards (name-{000..003}.tar)."
    ),
]
Labeled = Annotated[
    Path | None,
    typer.Option(
        help="Images with classes: class folders, with or without train/validation/test above "
        "them, or any other location that --unlabeled takes, with the labels in it."
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        help="Images that must stay in one part: a CSV file (id or file name, group), a regular "
        "expression with one group on the path, or 'folder'."
    ),
]
Backbone = Annotated[str | None, typer.Option(help="A timm or torchvision name, like resnet50.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of the images, pixels.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a pretraining step.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile (needs a C++ compiler).")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting: pretrain.epochs=200.")]


@app.command()
def run(  # noqa: PLR0913 - the signature is the command line
    study: StudyFile = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    out: Annotated[Path, typer.Option(help="The run folder; run again to resume.")] = Path(
        "runs/study"
    ),
    methods: Annotated[
        str | None,
        typer.Option(help=f"Which of {','.join(METHODS)} (default: those of the preset)."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Like 0,1,2: a seed changes everything random.")
    ] = None,
    label_fractions: Annotated[
        str | None, typer.Option(help="Like 0.1,1.0: shares of the labels to learn from.")
    ] = None,
    backbone: Backbone = None,
    image_size: ImageSize = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Weights to compare beside training from nothing: frozen, fine-tuned, and "
            "continued by every method. A file in timm's, torchvision's or Hugging Face's ResNet "
            "layout, or 'pretrained'; several with commas, or the flag again.",
        ),
    ] = None,
    batch_size: BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of pretraining.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="small (default) or paper: whose hyper-parameters.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help="quick, standard, paper; 'headstart presets' says what each costs."),
    ] = "standard",
    margin: Annotated[
        float | None, typer.Option(help="Smallest difference that matters, as a share.")
    ] = None,
    compute_matched: Annotated[
        bool | None,
        typer.Option(
            help="Whether to add a supervised arm that sees as many images as pretraining, which "
            "then is the baseline where it does better on validation.",
        ),
    ] = None,
    on_collapse: Annotated[str | None, typer.Option(help="stop or warn.")] = None,
    set_: Set = None,
    device: Device = None,
    compile_: Compile = False,
    executor: Annotated[
        str | None,
        typer.Option(help="serial (default), or processes: several encoders at once."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --executor processes: how many at once.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many pool images, and of each class: try before you pay."),
    ] = None,
    groups: Groups = None,
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: the path of results.json.")
    ] = False,
) -> int:
    """Compare self-supervised pretraining with supervised training on your images."""
    flags = {
        "unlabeled": unlabeled,
        "labeled": labeled,
        "limit": limit,
        "groups": groups,
        "methods": methods,
        "seeds": _numbers(seeds, "--seeds", int),
        "label_fractions": _numbers(label_fractions, "--label-fractions", float),
        "backbone": backbone,
        "image_size": image_size,
        "weights": ",".join(weights) if weights else None,
        "batch_size": batch_size,
        "epochs": epochs,
        "recipe": recipe,
        "on_collapse": on_collapse,
        "compute_matched": compute_matched,
        "margin": margin,
        "device": device,
        "compile": compile_ or None,
        "executor": executor,
        "workers": workers,
    }
    return _run(_study(preset, study, set_, flags), out, json=json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the images and the run go.")] = Path("runs/demo"),
    shortcut: Annotated[
        float, typer.Option(help="0 … 1: how far the background predicts the class.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the generated images.")] = 0,
    images_only: Annotated[
        bool, typer.Option("--images-only", help="Generate the bags, run nothing.")
    ] = False,
    set_: Set = None,
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: the path of results.json.")
    ] = False,
) -> int:
    """Generate nine classes of bags, run every arm on them, and write the report."""
    bags = out / "images"
    _draw_bags(bags, shortcut, seed)
    if images_only:
        typer.echo(bags)
        return 0
    flags = {
        "unlabeled": bags / "unlabeled",
        "labeled": bags / "labeled",
        "masks": bags,
    }
    code = _run(_study("demo", None, set_, flags), out / "bags", json=json)
    if shortcut == 0:
        cheat = shlex.join(["headstart", "demo", "--shortcut", "0.95", "--out", f"{out}-shortcut"])
        typer.echo(f"To see what a background that tells the class does: {cheat}", err=True)
    return code


@app.command()
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


@app.command()
def check(  # noqa: PLR0913 - the signature is the command line
    study: StudyFile = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    groups: Groups = None,
    out: Annotated[Path, typer.Option(help="Folder for check.json and lists.")] = Path(
        "runs/check"
    ),
    set_: Set = None,
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: the path of check.json.")
    ] = False,
) -> None:
    """Look at your images without training: counts, splits, copies, leaks, what a test can show."""
    from headstart.pipeline import check_study
    from headstart.reporting.card import card_table
    from headstart.terminal import Terminal

    flags = {"unlabeled": unlabeled, "labeled": labeled, "groups": groups}
    terminal = Terminal()
    with terminal:
        card, path = check_study(_study("standard", study, set_, flags), out, terminal)
    terminal.show(card_table(card.data))
    for line in card.lines:
        terminal.line(line)
    terminal.line(f"Data card: {path}")
    if json:
        print(path)


@app.command()
def explain(  # noqa: PLR0913 - the signature is the command line
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
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
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1.")] = None,
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
    layers = _layers(set_, flags)
    if image is not None:
        _explain_image(folder, image, target, layers, json=json)
        return
    if target is not None:
        raise StudyError("--target: goes with --image; give a picture to explain")
    from headstart.pipeline import explain_run
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
    from headstart.pipeline import explain_image
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


def _draw_bags(folder: Path, shortcut: float, seed: int) -> None:
    from headstart.config import StudyError
    from headstart.data.synthetic import demo_bags, generate
    from headstart.terminal import Terminal

    try:
        spec = demo_bags(shortcut, seed)
        with Terminal() as terminal:
            generate(folder, spec, lambda d, n: terminal.progress("drawing bags", d, n))
    except ValueError as error:
        raise StudyError(f"demo: {error}") from None


@app.command()
def bench(  # noqa: PLR0913 - the signature is the command line
    backbone: Backbone = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "simclr",
    data: Annotated[
        Path | None, typer.Option(help="Folder of images (default: bags drawn at photo size).")
    ] = None,
    peer: Annotated[
        str | None, typer.Option(help="lightly: its documented loop on the same files.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Segments of each, in turns.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder for images and their cache.")] = Path(
        "runs/bench"
    ),
    compile_: Compile = False,
    device: Device = None,
    set_: Set = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Time training on this machine: against the bare network, and against a peer."""
    from headstart.bench.run import Options
    from headstart.bench.run import bench as measure
    from headstart.bench.table import bench_table, limit
    from headstart.config import StudyError
    from headstart.store import write_json
    from headstart.terminal import Terminal

    flags = {
        "backbone": backbone,
        "image_size": image_size,
        "batch_size": batch_size,
        "compile": compile_ or None,
        "device": device,
    }
    study = _study("standard", None, set_, flags)
    if json is not None and not json.resolve().parent.is_dir():
        raise StudyError(f"--json {json}: no folder {json.parent}")  # before minutes of measuring
    terminal = Terminal()
    with terminal:
        results = measure(study, Options(method, data, peer, rounds), out, terminal)
    terminal.show(bench_table(results))
    terminal.line(limit(results))
    if json is not None:
        write_json(json, results)


@app.command()
def presets() -> None:
    """Say what each preset sets, and what it costs."""
    import inspect

    from headstart.config import PRESETS

    for name, preset in PRESETS.items():
        typer.echo(f"{name}: {inspect.getdoc(preset)}\n")


@app.command()
def settings() -> None:
    """List every setting of the study file: its default and meaning, and the methods' recipes."""
    from headstart.config import settings_table
    from headstart.recipes import recipe_table

    for name, default, meaning in settings_table():
        typer.echo(f"{name} = {default}" + (f"  # {meaning}" if meaning else ""))
    for name, small, paper in recipe_table():
        typer.echo(f"{name} = {small}" + (f"  # paper: {paper}" if paper != small else ""))


def main() -> None:
    """Run the command line and exit.

    0: done. 1: the machine failed (disk, memory), or no trained arm could be judged. 2: the user's
    mistake. 128 + n: signal n. Every end but a crash of our own is one line on stderr.
    """
    if len(sys.argv) < 2:
        app()  # prints the help
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # fetching weights sends no usage data
    try:
        with interrupt.listening():
            code = app(standalone_mode=False)
            sys.stdout.flush()
    except interrupt.Interrupted as end:
        _print_error(f"stopped by {end}; {GO_ON}")
        code = 128 + end.number
    except BrokenPipeError:  # whoever read the output has gone; Python is not to try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        code, line = _explain(error)
        if not line:
            raise
        _print_error(line)
    sys.exit(code)


def _print_error(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the exit code is not
        print(f"headstart: {line}", file=sys.stderr, flush=True)


def _explain(error: Exception) -> tuple[int, str | None]:
    """Exit code and line for a user's mistake or a machine's error; no line for a bug."""
    from headstart.config import StudyError

    usage_error: Any = typer.BadParameter.__bases__[0]  # of whichever click typer brings along
    if isinstance(error, StudyError):
        return 2, str(error)
    if isinstance(error, usage_error):
        line = " ".join(error.format_message().split())
        return 2, f"{line} (headstart --help lists what there is)"
    return 1, machine_fault(error)


def _run(study: Study, out: Path, *, json: bool) -> int:
    from headstart.pipeline import run_study
    from headstart.terminal import Terminal

    terminal = Terminal()
    command = shlex.join(["headstart", *sys.argv[1:]])
    with terminal:
        outcome = run_study(study, out, terminal, command)
    _print_outcome(outcome, terminal)
    if json:
        print(outcome.results_path)
    return _exit_code(outcome, terminal)


def _exit_code(outcome: Outcome, terminal: Any) -> int:
    """Name the arms that were lost; exit code 1 where none was trained to its end, else 0."""
    trained = [arm for arm in outcome.results.arms if _trained(arm.arm)]
    lost = [arm for arm in trained if arm.status != "ok"]
    names = dict.fromkeys(f"{arm.arm} (seed {arm.seed})" for arm in lost)
    if names:
        terminal.line(f"Warning: not judged, see the report for why: {', '.join(names)}")
    return int(bool(trained) and len(lost) == len(trained))


def _trained(arm: Arm) -> bool:
    """Whether training could go wrong: an encoder or a classifier was trained for it."""
    from headstart.arms import PROTOCOLS, is_pretrained

    return is_pretrained(arm.method) or PROTOCOLS[arm.protocol].trained


def _print_outcome(outcome: Outcome, terminal: Any) -> None:
    """The table of arms, the gates and verdicts, and where the report is."""
    from headstart.reporting.summary import gate_lines, summary_table, verdict_lines

    terminal.show(summary_table(outcome.results))
    for line in (*gate_lines(outcome.results), *verdict_lines(outcome.results)):
        terminal.line(line)
    terminal.line(f"Report: {outcome.report_path}")


def _study(
    preset: str, file: Path | None, assignments: list[str] | None, flags: dict[str, Any]
) -> Study:
    from headstart.layers import compose_study

    return compose_study(preset, file, _layers(assignments, flags))


def _layers(assignments: list[str] | None, flags: dict[str, Any]) -> Layers:
    from headstart.layers import assignment_layers, flag_layers

    return [*assignment_layers(assignments or []), *flag_layers(flags)]


def _numbers(text: str | None, flag: str, kind: type) -> list[Any] | None:
    from headstart.config import StudyError

    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise StudyError(f"{flag} {text}: write numbers with commas, like 0,1,2") from None
