"""Write a network of a finished run for another library, once that library answers as we do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from headstart.arms import Origin
from headstart.config import StudyError
from headstart.export.check import Agreement, DifferentError, compare
from headstart.export.formats import FORMATS
from headstart.export.formats.base import Format, Model
from headstart.export.record import Record
from headstart.files import digest
from headstart.nn.weight_files import first_line
from headstart.reporting.model_card import Card, Preprocessing, Source, model_card
from headstart.results import Results
from headstart.runtime.memory import is_out_of_memory
from headstart.runtime.stored import Stored, Wanted, find
from headstart.store import CARD, write_json, write_text

RECORD = "export.json"
_LIBRARIES = ("headstart", "torch", "torchvision", "timm", "safetensors")


@dataclass(frozen=True)
class Asked:
    """What to export, for which library, and where to."""

    run: Path
    wanted: Wanted
    to: str
    """One of ``FORMATS``."""
    out: Path
    """A folder that is not there yet, or is empty."""
    license: str = "unknown"
    """Of the weights, for the model card."""


def export(asked: Asked) -> Record:
    """Write a network of a finished run for another library, with a model card.

    What was written is read back with that library; where it is not the same network, by its
    weights or by its answers to fixed images, nothing is left behind.

    Returns:
        What ``export.json`` holds.

    Raises:
        StudyError: no such network or format, a library that is missing or has no such network, a
            folder that is taken, or a network that is not the same; in one line.
    """
    form = _format(asked.to)
    _require_free(asked.out)
    stored = find(asked.run, asked.wanted)
    _require_healthy(stored)
    model = Model.of(stored)
    with torch.random.fork_rng(devices=[]), _moved_into(asked.out) as folder:
        agreement = _written(asked.to, form, model, folder)
        record = Record(
            format=asked.to,
            source=_source(stored, model),
            preprocessing=Preprocessing.of(stored.results),
            classes=stored.classes,
            agreement=agreement,
            versions={name: version(name) for name in (*_LIBRARIES, *form.needs)},
            files={},
        )
        usage, check = form.usage(model), _checked(record, form)
        card = Card(record.source, form.library, usage, check, asked.license, record.versions)
        write_text(folder / CARD, model_card(stored.results, card))
        files = {path.name: digest(path) for path in sorted(folder.iterdir())}
        record = replace(record, files=files)
        write_json(folder / RECORD, asdict(record))
    return record


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise StudyError(f"--to: {FORMATS.unknown(name)}")
    form = FORMATS[name]()
    missing = [module for module in form.needs if find_spec(module) is None]
    if missing:
        raise StudyError(
            f"--to {name}: needs {', '.join(missing)}; pip install 'headstart[export]'"
        )
    return form


def _require_free(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise StudyError(f"--out {out}: is there already and is no folder; take another name")
    if out.is_dir() and any(out.iterdir()):
        raise StudyError(f"--out {out}: is there already and not empty; take another name")


def _require_healthy(stored: Stored) -> None:
    """What training left behind when it went wrong is not handed out as a method's encoder."""
    for row in stored.results.pretraining:
        trained = (row.method, row.seed) == (stored.method, stored.seed)
        if trained and row.status != "ok":
            raise StudyError(f"{row.method} (seed {row.seed}): {row.status}: {row.reason}")


def _written(name: str, form: Format, model: Model, folder: Path) -> Agreement:
    """Write the files, and ask the library for what it makes of them."""
    try:
        form.write(model, folder)
        return compare(model, form.load(model, folder))
    except Exception as error:
        if isinstance(error, StudyError) or _of_machine(error):
            raise
        what = str(error) if isinstance(error, DifferentError) else first_line(error)
        raise StudyError(
            f"--to {name}: what {form.library} reads back is not this {model.backbone}: {what}; "
            "nothing was written"
        ) from error


def _checked(record: Record, form: Format) -> str:
    """How the files were checked, for the card."""
    agreement = record.agreement
    kind = "features" if record.source.protocol is None else "logits"
    same = f"all {agreement.weights} weights are equal bit for bit, and " * bool(agreement.weights)
    return (
        f"These files were read back with {form.library}: {same}the {kind} of "
        f"{agreement.images} fixed images differ from headstart's own by at most "
        f"{agreement.largest:.1g}, {agreement.relative:.1g} of the largest. `export.json` has the "
        "SHA-256 of each file."
    )


def _of_machine(error: Exception) -> bool:
    """Whether the disk or the memory failed; libraries raise an OSError of their own too."""
    return (isinstance(error, OSError) and error.errno is not None) or is_out_of_memory(error)


@contextmanager
def _moved_into(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``out`` when the block ends well, and nothing otherwise."""
    above = next(path for path in out.absolute().parents if path.exists())
    part = above / f".{out.name}-{os.getpid()}.part"
    try:
        part.mkdir()
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror or error}") from None
    try:
        yield part
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            out.rmdir()  # it is empty; not every system replaces a folder
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _source(stored: Stored, model: Model) -> Source:
    """Where the weights come from; no path of the machine is in it."""
    cell = stored.cell
    return Source(
        network="classifier" if cell else "encoder",
        method=stored.method,
        protocol=cell.protocol if cell else None,
        seed=stored.seed,
        label_fraction=cell.fraction if cell else None,
        backbone=model.backbone,
        stem=model.stem,
        artifacts={
            f"{entry.folder.parent.name}/{entry.folder.name}": entry.content
            for entry in stored.entries
        },
        further_weights=_further(stored.results, stored.method),
    )


def _further(results: Results, method: str) -> str | None:
    """What the further weights that it began with hold."""
    return results.provenance.further_weights.get(Origin.parse(method).start)
