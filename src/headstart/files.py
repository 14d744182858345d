"""Files that are whole or not there, and digests that show when one was changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write beside ``path``, wait until the disk has it, and move it into place.

    A reader never sees half a file, not even after a power cut, and a failed write leaves the old
    file as it was and nothing else.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a write does not name its file
        beside.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
