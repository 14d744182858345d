"""The process that decodes: jobs come in by stdin, pixels go into a file, records out by stdout.

``python -m headstart.data.worker TASK`` is started by ``headstart.data.workers``, which watches
it. Here a decoder may crash, hang, or ask for all memory: nothing is lost but this process. It
imports NumPy and Pillow only, and tifffile once a TIFF of channels that are no colours comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from headstart.data.bands import Bands, decode_bands
from headstart.data.decode import NO_MEMORY, Decoded, decode
from headstart.data.prints import prints

SECONDS = 20.0  # for one file; a photo of 24 million pixels takes about 0.2 s
MEMORY = 1536 * 2**20  # bytes of address space; a picture of 100 million pixels needs up to 1.1 GB
OUT_OF_MEMORY = 77  # exit status; the file is tried once more, in a process with nothing in it
READY = {"ready": True}


@dataclass(frozen=True)
class Task:
    """What a worker needs to know: place ``i`` (C, side, side) of ``pixels`` lies ``i`` images
    behind byte ``start``; a file may take ``seconds``, the process ``memory`` bytes. ``bands``
    where the channels are no colours.
    """

    pixels: str
    start: int
    side: int
    seconds: float = SECONDS
    memory: int = MEMORY
    bands: Bands | None = None

    @classmethod
    def from_json(cls, line: str) -> Task:
        """What ``to_json`` wrote."""
        values = json.loads(line)
        bands = values.pop("bands")
        return cls(**values, bands=Bands(**bands) if bands else None)

    def decode(self, path: Path) -> Decoded | str:
        """One file."""
        return decode_bands(path, self.side, self.bands) if self.bands else decode(path, self.side)

    def to_json(self) -> str:
        """One line of ASCII, whatever is in the path."""
        return json.dumps(asdict(self))


def work(task: Task, jobs: Iterable[bytes], answers: BinaryIO) -> None:
    """Do every job, a line ``[row, path, place]``, and answer each with one line.

    An answer is a ``workers.Row``, or ``{errno}`` where the pixels could not be written. They are
    not to be written where the place is −1.
    """
    file = os.open(task.pixels, os.O_WRONLY)
    for line in jobs:
        row, path, place = json.loads(line)
        # Should the parent be gone, nobody else ends a decoder that hangs.
        signal.alarm(int(2 * task.seconds) + 1)
        try:
            answer = {"row": row, **_record(task.decode(Path(path)), place, task, file)}
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except OSError as error:
            answer = {"errno": error.errno}
        signal.alarm(0)
        say(answers, answer)


def _record(decoded: Decoded | str, place: int, task: Task, file: int) -> dict[str, Any]:
    if decoded == NO_MEMORY:
        raise MemoryError
    if isinstance(decoded, str):
        return {"reason": decoded}
    pixels = decoded.pixels.tobytes()
    written = 0 if place >= 0 else len(pixels)
    while written < len(pixels):
        start = task.start + place * len(pixels)
        written += os.pwrite(file, pixels[written:], start + written)
    found = prints(decoded.pixels[None])
    return {
        "aspect": decoded.width / decoded.height,
        "digest": decoded.digest,
        "crc": zlib.crc32(pixels),
        "hashes": int(found.hashes[0]),
        "mirrored": int(found.mirrored[0]),
        "flat": bool(found.flat[0]),
    }


def say(answers: BinaryIO, value: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


def _limit(name: str, most: int) -> None:
    """Set a limit such as ``RLIMIT_AS`` for this process, where the system has it."""
    with contextlib.suppress(OSError, ValueError, ImportError, AttributeError):
        import resource  # POSIX only

        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))


def main() -> None:
    """Take the task from the command line, and jobs until stdin ends, as it does with the parent.

    What decoders print goes nowhere: stdout is kept for answers, stderr until the start is made.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    task = Task.from_json(sys.argv[1])
    warnings.simplefilter("ignore")  # Pillow warns of what it repairs
    with os.fdopen(os.dup(1), "wb") as answers:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        _limit("RLIMIT_AS", task.memory)
        _limit("RLIMIT_CORE", 0)
        say(answers, READY)
        os.dup2(nowhere, 2)
        work(task, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
