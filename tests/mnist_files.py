"""The four files of MNIST, with a few images of our own."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_mnist(root: Path) -> dict[str, np.ndarray]:
    """Lay out ``root`` as torchvision does; 20 training and 10 test images, (N, 28, 28) uint8."""
    rng = np.random.default_rng(0)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = {}
    for part, count in (("train", 20), ("t10k", 10)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes(i % 10 for i in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
        images[part] = pixels
    return images
