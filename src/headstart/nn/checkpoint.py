"""States of a training on disk: plain tensors and values, and a digest that shows damage.

The file is what ``torch.save`` writes with 32 bytes of SHA-256 behind it; ``torch.load`` reads it
too. No code is ever loaded from it.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # for the name of its error alone
from pathlib import Path
from typing import Any

import torch

from headstart.files import write_bytes


class DamagedError(Exception):
    """A file that is not what was written."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, texts, lists and dictionaries, whole or not at all."""
    buffer = io.BytesIO()  # torch tells of a full disk in ways of its own; the file system does not
    torch.save(state, buffer)
    content = buffer.getbuffer()
    write_bytes(path, content, hashlib.sha256(content).digest())


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote, on the CPU.

    Raises:
        DamagedError: the file was cut off or changed, or holds more than plain values.
    """
    content = memoryview(path.read_bytes())
    body, digest = content[:-32], bytes(content[-32:])
    if hashlib.sha256(body).digest() != digest:
        raise DamagedError(path.name)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise DamagedError(path.name) from error
    return state
