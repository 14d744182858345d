"""Commands that use the networks of a finished run on images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.options import RunFolder


def predict(  # noqa: PLR0913 - the signature is the command line
    folder: RunFolder,
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, folders, .zip or .tar files; - reads a list from stdin."),
    ],
    arm: Annotated[
        str, typer.Option(help="method/protocol, like simclr/finetune; best: by validation images.")
    ] = "best",
    label_fraction: Annotated[
        float | None, typer.Option(help="Of several amounts of labels (default: the largest).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of several seeds (default: the first).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the CSV here (default: to stdout).")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Write the features too: a .parquet or .npz file.")
    ] = None,
) -> None:
    """Name the classes of images with a classifier of a finished run."""
    from headstart.finished import predict_images
    from headstart.reporting.words import plural
    from headstart.stages.predict import Wanted, as_csv, check_embeddings, save_embeddings
    from headstart.store import write_text
    from headstart.terminal import Terminal

    if embeddings is not None:
        check_embeddings(embeddings)
    for flag, path in (("--out", out), ("--embeddings", embeddings)):
        _has_folder(flag, path)
    with Terminal() as terminal:
        found = predict_images(folder, _listed(images), Wanted(arm, label_fraction, seed), terminal)
    if embeddings is not None:
        save_embeddings(found, embeddings)
    if out is None:
        sys.stdout.write(as_csv(found))
    else:
        write_text(out, as_csv(found))
    unread, unlike = sum(map(bool, found.reasons)), int(found.unlike.sum())
    terminal.line(
        f"{found.cell.arm.label}: {plural(len(found.names), 'image')}, {unread} not readable, "
        f"{unlike} unlike the training images: farther from them than 95 % of the images that were "
        f"held out ({found.held_out})"
    )


def suggest(
    folder: RunFolder,
    out: Annotated[
        Path, typer.Option(help="Folder for suggestions.csv and sheet.jpg; made where missing.")
    ],
    n: Annotated[int, typer.Option("--n", help="How many images to suggest.")] = 100,
    seed: Annotated[int, typer.Option(help="Of k-means.")] = 0,
) -> None:
    """Suggest unlabelled images of a finished run that are worth labelling first.

    Whether such a choice beats a random one is tried out on the labelled images, and said.
    """
    from headstart.finished import suggest_images
    from headstart.terminal import Terminal

    with Terminal() as terminal:
        found = suggest_images(folder, n, out, seed, terminal)
    for line in found.lines:
        terminal.line(line)
    terminal.line(f"Suggestions: {out / 'suggestions.csv'}, {out / 'sheet.jpg'}")


def _listed(images: list[Path]) -> list[Path]:
    """The paths given; in the place of ``-`` those that stdin lists, one a line."""
    paths: list[Path] = []
    for path in images:
        if str(path) == "-":
            paths += [Path(line.rstrip("\r\n")) for line in sys.stdin if line.strip()]
        else:
            paths.append(path)
    return paths


def _has_folder(flag: str, path: Path | None) -> None:
    from headstart.config import StudyError

    if path is not None and not path.resolve().parent.is_dir():
        raise StudyError(f"{flag} {path}: no folder {path.parent}")  # before any work is done
