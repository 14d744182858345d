"""``headstart doctor``: what of this machine and this installation a study will use."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from packaging.requirements import Requirement

from headstart.commands.options import Device

if TYPE_CHECKING:
    import torch

NOT_FOR_USERS = ("test", "all", "docs")


@dataclass(frozen=True)
class Library:
    """A library that headstart asks for, and the one that is installed."""

    name: str
    wanted: str
    """Versions asked for, as in ``pyproject.toml``: ``>=1.0``."""
    found: str | None
    fits: bool

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.name} is missing"
        return f"{self.name} {self.found}" + ("" if self.fits else f" (needs {self.wanted})")


def doctor(
    device: Device = None,
    out: Annotated[Path, typer.Option(help="Where runs would go; its free space is said.")] = Path(
        "runs"
    ),
) -> None:
    """Say what a study would use here: versions, device, precision, cores, memory, disk, extras.

    Ends with 1 where something that headstart needs is missing or too old.
    """
    typer.echo(f"headstart {version('headstart')}, Python {platform.python_version()}, ", nl=False)
    typer.echo(f"{platform.system()} {platform.machine()}")
    needed, extras = needed_libraries(requires("headstart") or [])
    wrong = [library for library in needed if not library.fits]
    typer.echo("needed: " + ", ".join(map(str, needed)))
    if not wrong:  # torch can be imported
        for line in _machine(device or "auto", out):
            typer.echo(line)
    for extra, libraries in extras.items():
        typer.echo(f"optional, {extra}: {_extra_line(extra, libraries)}")
    if wrong:
        typer.echo(f"headstart: {'; '.join(map(str, wrong))}: pip install -U headstart", err=True)
        raise typer.Exit(1)


def needed_libraries(stated: Sequence[str]) -> tuple[list[Library], dict[str, list[Library]]]:
    """What headstart needs, and what each of its extras does, with what is installed.

    Args:
        stated: requirements as a distribution's metadata has them.
    """
    needed: list[Library] = []
    extras: dict[str, list[Library]] = {}
    names = _extras(stated)
    for text in stated:
        one = Requirement(text)
        if one.name == "headstart":  # an extra made of other extras
            continue
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            needed.append(_library(one))
            continue
        extra = next((name for name in names if one.marker.evaluate({"extra": name})), "")
        if extra and extra not in NOT_FOR_USERS:
            extras.setdefault(extra, []).append(_library(one))
    return needed, extras


def _extras(stated: Sequence[str]) -> list[str]:
    """The names of extras, which stand in the markers: ``extra == 'hf'``."""
    markers = [text.partition("extra ==")[2].strip(" \"'") for text in stated]
    return sorted({marker for marker in markers if marker})


def _library(wanted: Requirement) -> Library:
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return Library(wanted.name, str(wanted.specifier), None, fits=False)
    fits = wanted.specifier.contains(found, prereleases=True)
    return Library(wanted.name, str(wanted.specifier), found, fits)


def _extra_line(extra: str, libraries: list[Library]) -> str:
    told = ", ".join(map(str, libraries))
    if all(library.fits for library in libraries):
        return told
    return f"{told}: pip install -U 'headstart[{extra}]'"


def _machine(device: str, out: Path) -> Iterator[str]:
    """What torch and the system say of this machine, a line each."""
    import torch

    from headstart.config import EngineSettings
    from headstart.cores import usable_cores
    from headstart.engine import Engine

    engine = Engine(EngineSettings(device=device))
    yield f"device: {_name(engine.device)}"
    training = "32 bits" if engine.precision == "32" else "bfloat16, which this device computes in"
    yield f"precision: training in {training}, judging in 32 bits"
    shown, waits = os.cpu_count() or 1, os.environ.get("OMP_WAIT_POLICY", "not set").lower()
    yield (
        f"cores: {usable_cores()} of {shown} may be used, {torch.get_num_threads()} threads; "
        f"threads that wait: {waits}"
    )
    memory = usable_memory()
    yield f"memory: {memory / 1e9:.1f} GB" if memory else "memory: the system does not say"
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    yield f"disk: {shutil.disk_usage(place).free / 1e9:.1f} GB free in {place}"


def _name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "mps; headstart is not tested on it"
    return f"{device}; torch {torch.__version__} finds {torch.cuda.device_count() or 'no'} GPUs"


def usable_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of the machine, or of the container where it has fewer; 0 where nothing says so."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0
    try:
        allowed = limit.read_text(encoding="utf8").strip()
    except OSError:
        return whole
    return min(whole, int(allowed)) if allowed.isdigit() else whole
