"""What a study would take, before there is a machine for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.options import (
    Backbone,
    BatchSize,
    ImageSize,
    Labeled,
    Set,
    StudyFile,
    Unlabeled,
    study_of,
)


def plan(  # noqa: PLR0913 - the signature is the command line
    study: StudyFile = None,
    unlabeled: Unlabeled = None,
    labeled: Labeled = None,
    images: Annotated[
        int | None,
        typer.Option(min=0, help="Images without a label (default: counted where they lie)."),
    ] = None,
    labelled_images: Annotated[
        int | None, typer.Option(min=6, help="With a label (default: counted where they lie).")
    ] = None,
    classes: Annotated[int, typer.Option(min=2, help="With --labelled-images.")] = 10,
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs.")] = 1,
    gpu: Annotated[
        str | None,
        typer.Option(help="a100, h100, h200, l4, l40s: its published peak times --utilisation."),
    ] = None,
    utilisation: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Share of the peak that you expect: an assumption."),
    ] = 0.3,
    bench: Annotated[
        list[Path] | None,
        typer.Option(help="A file of headstart bench --json; again for more of them."),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Of the machine that reads the images (default: here)")
    ] = None,
    preset: Annotated[str, typer.Option(help="quick, standard, paper.")] = "standard",
    backbone: Backbone = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of pretraining.")] = None,
    set_: Set = None,
    json: Annotated[Path | None, typer.Option(help="Write the plan to this file.")] = None,
) -> None:
    """Say what a study would take on other machines: hours, GPU-hours, disk and memory.

    Nothing is trained. A rate that bench measured for the same network is called measured; a
    GPU's published peak times a share is an assumption, and the plan says so.
    """
    from dataclasses import asdict

    from headstart.config import StudyError
    from headstart.cores import usable_cores
    from headstart.plan.forecast import Machine, forecast
    from headstart.plan.lines import plan_lines
    from headstart.plan.rates import Rates, read_bench
    from headstart.plan.rates import gpu as published
    from headstart.plan.work import sizes_of
    from headstart.store import write_json

    if json is not None and not json.resolve().parent.is_dir():
        raise StudyError(f"--json {json}: no folder {json.parent}")
    flags = {
        "unlabeled": unlabeled,
        "labeled": labeled,
        "backbone": backbone,
        "image_size": image_size,
        "batch_size": batch_size,
        "epochs": epochs,
    }
    asked = study_of(preset, study, set_, flags)
    benches = tuple(read_bench(path) for path in bench or ())
    rates = Rates(benches, published(gpu) if gpu else None, utilisation)
    machine = Machine(gpus if rates.on_gpu else 0, cores or usable_cores())
    sizes = sizes_of(asked, images, labelled_images, classes)
    made = forecast(asked, sizes, machine, rates)
    for line in plan_lines(made):
        typer.echo(line)
    if json is not None:
        write_json(json, {**asdict(made), "gpu_hours": made.gpu_hours})
