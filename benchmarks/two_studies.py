"""What a training costs when another one runs beside it, by how OpenMP's threads wait.

``python benchmarks/two_studies.py`` times the same training alone, and two of it at once, each with
as many threads as it takes by itself, in turns. Two at once on the same cores should take twice as
long as one; where threads spin while they wait for one another it is far more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import numpy as np

WAITS = {
    "PyTorch's default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "passive, 1 thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}
OWN = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def train(steps: int) -> None:
    """ResNet-18 at 64 px, batches of 64; says when it is ready, and waits for a line to begin."""
    import torch

    from headstart.config import EngineSettings
    from headstart.engine import Engine
    from headstart.nn.encoder import build_encoder

    Engine(EngineSettings(device="cpu", precision="32"))  # sets the threads as a study does
    network = build_encoder("resnet18", image_size=64)
    images = torch.rand(64, 3, 64, 64)
    network(images).sum().backward()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    for _ in range(steps):
        network(images).sum().backward()
    print(time.perf_counter() - begun, flush=True)


def seconds(at_once: int, wait: dict[str, str], steps: int) -> float:
    """Until the slowest of so many is done."""
    env = {name: value for name, value in os.environ.items() if name not in OWN} | wait
    command = (sys.executable, __file__, "--steps", str(steps), "--train")
    running = [
        subprocess.Popen(  # noqa: S603 - this very program
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for _ in range(at_once)
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin
        process.stdin.write("begin\n")
    return max(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Time in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        train(asked.steps)
        return
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(asked.rounds):
        for name, wait in WAITS.items():
            for at_once in (1, 2):
                one = seconds(at_once, wait, asked.steps)
                taken.setdefault((name, at_once), []).append(one)
    print("| threads wait | alone, s | two at once, s | ratio | alone, over PyTorch's default |")
    print("|---|---:|---:|---:|---:|")
    usual = np.array(taken["PyTorch's default", 1])
    for name in WAITS:
        alone, both = np.array(taken[name, 1]), np.array(taken[name, 2])
        ratio = both / alone
        spread = f"{np.median(ratio):.1f} ({ratio.min():.1f}…{ratio.max():.1f})"
        over = f"{np.median(alone / usual):.2f}"
        print(f"| {name} | {np.median(alone):.1f} | {np.median(both):.1f} | {spread} | {over} |")


if __name__ == "__main__":
    main()
