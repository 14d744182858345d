"""What a step takes by precision and threads, on cores that other work uses or on idle ones.

    python benchmarks/threads.py --steps 6

Forward and backward pass of a ResNet-18 at 32 px, batch 64, as a processor trains it, each
precision and number of threads in a process of its own. Threads that spin while they wait show
where other work has the cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from headstart.cores import THREADS, usable_cores

os.environ |= {**THREADS, **os.environ}  # before torch reads them


def main() -> None:
    """Print a row for each precision and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(row(options.only[0], int(options.only[1]), options.steps), flush=True)
        return
    load = os.getloadavg()[0]
    print(f"{usable_cores()} cores, load {load:.1f} before this")
    print("| precision | threads | seconds a step | core-seconds a step |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    for precision in ("bfloat16", "as headstart trains", "float32"):
        for threads in sorted({1, usable_cores()}):
            command = [sys.executable, __file__, "--steps", str(options.steps)]
            subprocess.run([*command, "--only", precision, str(threads)], check=True)  # noqa: S603


def row(precision: str, threads: int, steps: int) -> str:
    """A row of the table; the first step is not timed."""
    import torch

    from headstart.nn.convolutions import faster_convolutions
    from headstart.nn.encoder import build_encoder

    torch.set_num_threads(threads)
    encoder = build_encoder("resnet18", image_size=32).to(memory_format=torch.channels_last)
    x = torch.rand(64, 3, 32, 32).to(memory_format=torch.channels_last)

    def step() -> None:
        narrow = torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32")
        ours = precision == "as headstart trains"
        with narrow, faster_convolutions(torch.device("cpu" if ours else "meta")):
            loss = encoder(x).float().square().mean()
        loss.backward()

    step()
    clock, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    clock, busy = time.perf_counter() - clock, time.process_time() - busy
    return f"| {precision} | {threads} | {clock / steps:.2f} | {busy / steps:.3f} |"


if __name__ == "__main__":
    main()
