"""Handing a network of a finished run to another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.options import RunFolder
from headstart.export.formats import FORMATS


def export(  # noqa: PLR0913 - the signature is the command line
    folder: RunFolder,
    to: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}; hf is Hugging Face.")],
    method: Annotated[
        str, typer.Option(help="Whose encoder: a method of the run, supervised, random.")
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the files.")],
    seed: Annotated[int | None, typer.Option(help="Which seed's (default: the first).")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Its classifier instead of the encoder alone: finetune or linear; of supervised "
            "it is supervised."
        ),
    ] = None,
    label_fraction: Annotated[
        float | None,
        typer.Option(help="With --protocol: its share of the labels (default: the largest)."),
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights, for the model card: apache-2.0.")
    ] = "unknown",
    json: Annotated[
        bool, typer.Option("--json", help="Last line on stdout: the path of export.json.")
    ] = False,
) -> None:
    """Write an encoder or a classifier of a finished run for another library, with a model card.

    The files are read back with that library first: they must answer as headstart does.
    """
    from headstart.config import StudyError
    from headstart.export.write import Asked
    from headstart.export.write import export as write
    from headstart.runtime.stored import Wanted

    if label_fraction is not None and protocol is None:
        raise StudyError("--label-fraction: goes with --protocol; an encoder has seen no labels")
    wanted = Wanted(method, seed, protocol, label_fraction)
    record = write(Asked(folder, wanted, to, out, license_))
    kind = "features" if protocol is None else "logits"
    typer.echo(
        f"{out}: {', '.join(record.files)}, export.json. Read back, its {kind} differ from "
        f"headstart's own by {record.agreement.relative:.1g} of the largest.",
        err=True,
    )
    if json:
        print(out / "export.json")
