"""Write whole files, tell whether a file was changed, and lock between processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout


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


def lock(path: Path, on_wait: Callable[[], None]) -> AbstractContextManager[object]:
    """Take the lock file ``path``; it is given back at the end of the ``with`` block.

    Where another process holds it, ``on_wait`` is called once, and the lock is waited for. The
    system frees it when its process ends, however it ends.

    Raises:
        OSError: the file cannot be opened (the error then has a ``filename``), or the file system
            has no locks.
    """
    # Without the fallback, which a killed process would leave behind.
    held = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)
    try:
        return held.acquire(blocking=False)
    except Timeout:
        on_wait()
    return held.acquire(poll_interval=0.2)
