"""The command line: parses, calls, prints. Heavy imports wait until a command needs them.

``run`` and ``demo`` stand here, the other commands in ``commands/``.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart import interrupt
from headstart.commands import doctor, export, images, machine, plan, runs, using
from headstart.commands.options import (
    ActivationCheckpointing,
    Backbone,
    BatchSize,
    CacheBudget,
    Channels,
    Compile,
    Device,
    Devices,
    Groups,
    ImageSize,
    Json,
    Labeled,
    Quiet,
    Set,
    StudyFile,
    Unlabeled,
    numbers,
    study_of,
)
from headstart.cores import THREADS
from headstart.faults import GO_ON, machine_fault
from headstart.methods import METHODS
from headstart.trackers import TRACKERS

if TYPE_CHECKING:
    from headstart.arms import Arm
    from headstart.config import Study
    from headstart.stages.report import Outcome
    from headstart.terminal import Terminal

app = typer.Typer(
    help="Does self-supervised pretraining give my classifier a head start? Two folders of images "
    "in, one honest report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"headstart {version('headstart')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Say which version."),
    ] = False,
) -> None:
    """Take what stands before a command; the help text is the app's own."""


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
    devices: Devices = None,
    compile_: Compile = False,
    activation_checkpointing: ActivationCheckpointing = False,
    executor: Annotated[
        str | None,
        typer.Option(help="serial (default), or several encoders at once: processes, or ray."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="With --executor ray: the cluster (auto: the one that runs here); without it, "
            "one is started and stopped.",
            envvar="RAY_ADDRESS",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --executor processes: how many at once.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help=f"Who is told of curves, scores and verdicts: {', '.join(TRACKERS)}, with commas "
            "(default: tensorboard, in the run folder), or none.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many pool images, and of each class: try before you pay."),
    ] = None,
    groups: Groups = None,
    channels: Channels = None,
    cache_budget: CacheBudget = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Compare self-supervised pretraining with supervised training on your images."""
    flags = {
        "unlabeled": unlabeled,
        "labeled": labeled,
        "limit": limit,
        "groups": groups,
        "channels": channels,
        "cache_budget": cache_budget,
        "methods": methods,
        "seeds": numbers(seeds, "--seeds", int),
        "label_fractions": numbers(label_fractions, "--label-fractions", float),
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
        "devices": devices,
        "compile": compile_ or None,
        "activation_checkpointing": activation_checkpointing or None,
        "executor": executor,
        "workers": workers,
        "track": track,
    }
    if ray_address:
        os.environ["RAY_ADDRESS"] = ray_address  # of this machine, not of the study
    return _run(study_of(preset, study, set_, flags), out, quiet=quiet, json=json)


@app.command()
def demo(  # noqa: PLR0913 - the signature is the command line
    out: Annotated[Path, typer.Option(help="Where the images and the run go.")] = Path("runs/demo"),
    shortcut: Annotated[
        float, typer.Option(help="0 … 1: how far the background predicts the class.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the generated images.")] = 0,
    images_only: Annotated[
        bool, typer.Option("--images-only", help="Generate the bags, run nothing.")
    ] = False,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
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
    code = _run(study_of("demo", None, set_, flags), out / "bags", quiet=quiet, json=json)
    if shortcut == 0:
        cheat = shlex.join(["headstart", "demo", "--shortcut", "0.95", "--out", f"{out}-shortcut"])
        typer.echo(f"To see what a background that tells the class does: {cheat}", err=True)
    return code


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


def main() -> None:
    """Run the command line and exit.

    0: done. 1: the machine failed (disk, memory), or no trained arm could be judged. 2: the user's
    mistake. 128 + n: signal n. Every end but a crash of our own is one line on stderr.
    """
    if len(sys.argv) < 2:
        app()  # prints the help
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # fetching weights sends no usage data
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
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
    if os.environ.get("RANK", "0") != "0":  # the first of several processes says it
        return
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


_OTHERS = (
    images.check,
    runs.compare,
    runs.explain,
    using.predict,
    using.suggest,
    runs.report,
    runs.list_,
    runs.tensorboard,
    export.export,
    doctor.doctor,
    machine.bench,
    plan.plan,
    machine.presets,
    machine.methods,
    machine.settings,
)
for _command in _OTHERS:
    app.command(_command.__name__.rstrip("_"))(_command)


def _run(study: Study, out: Path, *, quiet: bool, json: bool) -> int:
    """The run; with several processes, as one of them, or as the one that starts them."""
    from headstart import launcher

    if study.engine.devices > 1 and not launcher.is_launched():
        return launcher.launch(study.engine.devices, sys.argv[1:])
    from headstart import ranks

    with ranks.joined():
        if ranks.is_helper():
            return _help(study, out)
        with ranks.leading():
            return _run_here(study, out, quiet=quiet, json=json)


def _help(study: Study, out: Path) -> int:
    """Train along; a fault that this process alone has is said here, as no other one knows it."""
    from headstart import ranks
    from headstart.pipeline import help_study

    try:
        help_study(study, out)
    except ranks.LostRankError:  # rank zero says how the run ended
        return 1
    except Exception as error:
        code, line = _explain(error)
        if not line:
            raise
        print(f"headstart: process {os.environ['RANK']}: {line}", file=sys.stderr, flush=True)
        return code
    return 0


def _run_here(study: Study, out: Path, *, quiet: bool, json: bool) -> int:
    from headstart.pipeline import run_study
    from headstart.terminal import Terminal

    terminal = Terminal(quiet)
    command = shlex.join(["headstart", *sys.argv[1:]])
    with terminal:
        outcome = run_study(study, out, terminal, command)
    _print_outcome(outcome, terminal)
    if json:
        print(outcome.results_path)
    return _exit_code(outcome)


def _exit_code(outcome: Outcome) -> int:
    """1 where no arm was trained to its end, else 0."""
    trained = [arm for arm in outcome.results.arms if _trained(arm.arm)]
    return int(bool(trained) and all(arm.status != "ok" for arm in trained))


def _trained(arm: Arm) -> bool:
    """Whether training could go wrong: an encoder or a classifier was trained for it."""
    from headstart.arms import PROTOCOLS, is_pretrained

    return is_pretrained(arm.method) or PROTOCOLS[arm.protocol].trained


def _print_outcome(outcome: Outcome, terminal: Terminal) -> None:
    """The answer, the table of arms, what failed, and where the report is."""
    from headstart.reporting.summary import answer_lines, lost_lines, summary_table, validity_lines

    results = outcome.results
    headline, *more = answer_lines(results)
    terminal.headline(headline)
    for line in more:
        terminal.last(line)
    terminal.show(summary_table(results))
    for line in (*lost_lines(results), *validity_lines(results)):
        terminal.last(line)
    terminal.last(f"Report: {outcome.report_path}")
