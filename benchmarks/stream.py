"""Memory and time of a study whose pool fits no cache: generated images in shards, streamed.

    python benchmarks/stream.py --images 1000000 --budget 100MB --json benchmarks/stream.json
    python benchmarks/stream.py --table

The pool is noise of its own for every image, 32 × 32 pixels as JPEG, in WebDataset shards of 10,000
that are named as files elsewhere (``file://``). One ``headstart run`` in a process of its own:
index, one epoch of SimCLR, classifiers, with one thread. Its resident memory is read every half
second, and that of its decoding workers, without what is mapped from files.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstart.cores import usable_cores
from headstart.files import write_bytes

SHARD = 10_000  # images
STAGES = ("reading images", "looking for copies", "simclr (seed 0)", "classify")
EPOCHS = 1
STUDY = (
    *("--methods", "simclr", "--seeds", "0", "--label-fractions", "1.0", "--batch-size", "256"),
    *("--backbone", "test_resnet", "--image-size", "32", "--epochs", str(EPOCHS)),
    *("--no-compute-matched", "--set", "classify.finetune.max_lengthening=1"),
    *("--set", "classify.finetune.epochs=2", "--set", "explain.images=12", "--device", "cpu"),
    *("--set", "engine.threads=1", "--set", "classify.finetune.min_steps=10"),
)


def main() -> None:
    """Measure one size of pool, or print the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--budget", default="100MB")
    parser.add_argument("--folder", type=Path, help="where the shards are kept between runs")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "stream.json")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    known = json.loads(asked.json.read_text(encoding="utf8")) if asked.json.exists() else {}
    if not asked.table:
        with tempfile.TemporaryDirectory() as folder:
            place = asked.folder or Path(folder)
            known[str(asked.images)] = measure(place, Path(folder), asked.images, asked.budget)
        write_bytes(asked.json, (json.dumps(known, indent=1) + "\n").encode())
    print(table(known))


def draw(folder: Path, images: int) -> str:
    """The pool in shards and twenty labelled images a class; the pattern of the shards."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = -(-images // SHARD)
    for shard in range(shards):
        path = folder / f"pool-{shard:04d}.tar"
        if path.exists():
            continue
        beside = path.with_suffix(".part")
        with tarfile.open(beside, "w") as archive:
            for i in range(shard * SHARD, min((shard + 1) * SHARD, images)):
                info = tarfile.TarInfo(f"{i:08d}.jpg")
                content = picture(i)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        beside.replace(path)
    for label in range(4):
        (folder / "labeled" / f"class-{label}").mkdir(parents=True, exist_ok=True)
        for i in range(50):
            path = folder / "labeled" / f"class-{label}" / f"{i}.jpg"
            path.write_bytes(picture(10**9 + 50 * label + i, label))
    return f"file://{folder.absolute()}/pool-{{0000..{shards - 1:04d}}}.tar"


def picture(number: int, label: int | None = None) -> bytes:
    """Coarse noise, the upper half in a colour of the class."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    if label is not None:
        coarse[:4] = coarse[:4] // 3 + np.array([label * 40, 160 - label * 40, 80], np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(coarse).resize((32, 32), Image.Resampling.BILINEAR)
    image.save(content, "JPEG", quality=85)
    return content.getvalue()


class Watched:
    """Resident memory of a process and of its children, while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.stage = process, "start"
        self.peaks: dict[str, dict[str, int]] = {}
        self.began: dict[str, float] = {"start": time.perf_counter()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def enter(self, stage: str) -> None:
        """What is measured from now on belongs to this stage."""
        if stage not in self.began:
            self.stage, self.began[stage] = stage, time.perf_counter()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            workers = sum(map(_resident, _children(self.process.pid)))
            now = {"run": _resident(self.process.pid), "workers": workers}
            peaks = self.peaks.setdefault(self.stage, dict.fromkeys(now, 0))
            for name, size in now.items():
                peaks[name] = max(peaks[name], size)


def _resident(pid: int) -> int:
    """Bytes of memory that is mapped from no file."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf8")
    except OSError:  # it has just ended
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def measure(place: Path, folder: Path, images: int, budget: str) -> dict[str, object]:
    """Draw the images, run the study on them, and watch it."""
    pattern = draw(place / str(images), images)
    command = (
        *(sys.executable, "-m", "headstart", "run", "--unlabeled", pattern),
        *("--labeled", str(place / str(images) / "labeled"), "--out", str(folder / "run")),
        *("--cache-budget", budget, *STUDY),
    )
    process = subprocess.Popen(  # noqa: S603 - ourselves
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    with Watched(process) as watched:
        for line in process.stdout:
            print(
                f"{time.perf_counter() - watched.began['start']:7.0f} s  {line}", end="", flush=True
            )
            for stage in STAGES:
                if stage in line.lower():
                    watched.enter(stage)
        code = process.wait()
    if code:
        raise SystemExit(f"the study ended with {code}")
    ends = [*list(watched.began.values())[1:], time.perf_counter()]
    seconds = {s: end - begin for (s, begin), end in zip(watched.began.items(), ends, strict=True)}
    kept = sum(path.stat().st_size for path in folder.rglob("pixels.npy"))
    return {
        "seconds": seconds,
        "peaks": watched.peaks,
        "kept_bytes": kept,
        "all_bytes": 3 * 40**2 * images,
        "budget": budget,
        "cores": usable_cores(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def table(known: dict[str, dict[str, object]]) -> str:
    """Markdown: a row a stage and size of pool."""
    lines = [
        "| images | stage | time | memory of the run | and of its workers |",
        "|---:|---|---:|---:|---:|",
    ]
    for images, found in sorted(known.items(), key=lambda item: int(item[0])):
        seconds, peaks = found["seconds"], found["peaks"]
        assert isinstance(seconds, dict)
        assert isinstance(peaks, dict)
        for stage, peak in peaks.items():
            own, workers = (f"{size / 1e6:,.0f} MB" for size in (peak["run"], peak["workers"]))
            lines.append(
                f"| {int(images):,} | {stage} | {seconds[stage]:,.0f} s | {own} | {workers} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
