"""Commands about this machine and this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.options import (
    ActivationCheckpointing,
    Backbone,
    BatchSize,
    Compile,
    Device,
    ImageSize,
    Set,
    study_of,
)
from headstart.methods import METHODS


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
    core_seconds: Annotated[
        bool, typer.Option("--core-seconds", help="Processor's time: for a busy machine.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for images and their cache.")] = Path(
        "runs/bench"
    ),
    compile_: Compile = False,
    activation_checkpointing: ActivationCheckpointing = False,
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
        "activation_checkpointing": activation_checkpointing or None,
        "device": device,
    }
    study = study_of("standard", None, set_, flags)
    if json is not None and not json.resolve().parent.is_dir():
        raise StudyError(f"--json {json}: no folder {json.parent}")  # before minutes of measuring
    terminal = Terminal()
    with terminal:
        results = measure(study, Options(method, data, peer, rounds, core_seconds), out, terminal)
    terminal.show(bench_table(results))
    terminal.line(limit(results))
    if json is not None:
        write_json(json, results)


def presets() -> None:
    """Say what each preset sets, and what it costs."""
    import inspect

    from headstart.config import PRESETS

    for name, preset in PRESETS.items():
        typer.echo(f"{name}: {inspect.getdoc(preset)}\n")


def methods() -> None:
    """List methods, attributions, sources and trackers: what each does, and who brings it."""
    from headstart.commands.parts import part_lines

    for line in part_lines():
        typer.echo(line)


def settings() -> None:
    """List every setting of the study file: its default and meaning, and the methods' recipes."""
    from headstart.config import settings_table
    from headstart.recipes import recipe_table

    for name, default, meaning in settings_table():
        typer.echo(f"{name} = {default}" + (f"  # {meaning}" if meaning else ""))
    for name, small, paper in recipe_table():
        typer.echo(f"{name} = {small}" + (f"  # paper: {paper}" if paper != small else ""))
