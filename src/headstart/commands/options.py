"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headstart.config import Study
    from headstart.layers import Layers

StudyFile = Annotated[
    Path | None, typer.Argument(help="A study file (YAML); flags and --set override it.")
]
Unlabeled = Annotated[
    Path | None,
    typer.Option(
        help="Unlabelled images: a folder tree, a .zip or .tar, a CSV or Parquet file, a saved "
        "Hugging Face data set, WebDataset shards (name-{000..003}.tar, also at s3://… and other "
        "addresses), hf:NAME or torchvision:NAME."
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
Channels = Annotated[
    str | None,
    typer.Option(
        help="rgb (default), or how many channels the images have where these are no colours: "
        "TIFF, .npy, grey PNG, of 8 or 16 bits or floating point."
    ),
]
CacheBudget = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES",
        help="Disk for decoded images, like 200GB: beyond it they are decoded again in every "
        "epoch, with the same result (default: all are kept).",
    ),
]
Backbone = Annotated[str | None, typer.Option(help="A timm or torchvision name, like resnet50.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of the images, pixels.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a pretraining step.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Devices = Annotated[
    int | None,
    typer.Option(help="Processes that pretrain together on this machine, a GPU each."),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile (needs a C++ compiler).")
]
ActivationCheckpointing = Annotated[
    bool,
    typer.Option(
        "--activation-checkpointing",
        help="Compute activations again in the backward pass: less memory, more time.",
    ),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting: pretrain.epochs=200.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing before the end.")]
Json = Annotated[
    bool, typer.Option("--json", help="Last line on stdout: the path of results.json.")
]


def study_of(
    preset: str, file: Path | None, assignments: list[str] | None, flags: dict[str, Any]
) -> Study:
    """The study that preset, file, ``--set`` and flags ask for, the later over the earlier."""
    from headstart.layers import compose_study

    return compose_study(preset, file, layers_of(assignments, flags))


def layers_of(assignments: list[str] | None, flags: dict[str, Any]) -> Layers:
    """What ``--set`` and the flags say, as layers of settings."""
    from headstart.layers import assignment_layers, flag_layers

    return [*assignment_layers(assignments or []), *flag_layers(flags)]


def numbers(text: str | None, flag: str, kind: type) -> list[Any] | None:
    """Numbers with commas between them; None where nothing is given.

    Raises:
        StudyError: text that is none, in one line that begins with the flag.
    """
    from headstart.config import StudyError

    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise StudyError(f"{flag} {text}: write numbers with commas, like 0,1,2") from None
