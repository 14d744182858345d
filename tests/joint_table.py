"""How far several processes are from one: the table of ``docs/scale.md``.

``python tests/joint_table.py`` trains every method for three steps by one, two and four processes
(``joint_job.py``) and prints the largest differences. It takes a minute on two idle cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.methods import METHODS

ENCODERS = ("with BatchNorm", "without BatchNorm")
TASKS = [f"{task}:{world}" for task in ("train", "train exactly") for world in (1, 2, 4)]


def end(folder: Path, task: str, world: int, rank: int = 0) -> dict[str, Any]:
    """What a rank ended with."""
    ends: dict[str, Any] = torch.load(folder / f"{task}-{rank}-of-{world}.pt")
    return ends


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any number."""
    assert one.keys() == other.keys()
    return max((float((one[k].double() - other[k].double()).abs().max()) for k in one), default=0.0)


def relative(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The norm of the difference over the norm, of all numbers together."""
    assert one.keys() == other.keys()
    a, b = (torch.cat([side[k].double().flatten() for k in one]) for side in (one, other))
    return float((a - b).norm() / a.norm())


def run_jobs(folder: Path, tasks: list[str]) -> None:
    """Let groups of processes do tasks like ``train:2``; their ends are files in the folder."""
    job = str(Path(__file__).parent / "joint_job.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, job, str(folder), *tasks],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def differences(one: dict[str, Any], several: dict[str, Any]) -> Iterator[float]:
    """The largest of the losses, the gradients, the trained weights, and all else that is kept."""
    yield max(abs(a - b) for a, b in zip(one["losses"], several["losses"], strict=True))
    yield max(furthest(a, b) for a, b in zip(one["gradients"], several["gradients"], strict=True))
    trained = one["gradients"][0].keys()
    for kept in (True, False):
        sides = (
            {k: v for k, v in s["network"].items() if (k in trained) == kept}
            for s in (one, several)
        )
        yield furthest(*sides)


def row(folder: Path, method: str, encoder: str, world: int) -> str:
    """A line of the table."""
    case = f"{method}, {encoder}"
    ends = {
        task: [end(folder, task, n)[case] for n in (1, world)]
        for task in ("train exactly", "train")
    }
    cells = [f"{number:.0e}" if number else "0" for number in differences(*ends["train exactly"])]
    rounding = relative(*(side["network"] for side in ends["train"]))
    return " | ".join([f"| {method}", encoder, str(world), *cells, f"{rounding:.0e} |"])


def main() -> None:
    """Train, and print."""
    print(
        "| method | encoder | processes | loss | gradients | weights | queue, averages, statistics"
        " | all of these in float32, relative |"
    )
    print("|---|---|" + "---:|" * 6)
    with tempfile.TemporaryDirectory() as name:
        run_jobs(Path(name), TASKS)
        for method in METHODS:
            for encoder in ENCODERS:
                for world in (2, 4):
                    print(row(Path(name), method, encoder, world))


if __name__ == "__main__":
    main()
