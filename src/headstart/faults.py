"""Errors of the machine (disk, memory) in one line: what happened, where, and what to do."""

from __future__ import annotations

import errno

GO_ON = "run the same command again to go on: what was finished is kept"

_DISK = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "your share of the disk is used up; make room",
    errno.EFBIG: "no file may grow so large here; see ulimit -f",
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "it is gone; was it moved or removed while the study ran?",
    errno.ENOTDIR: "it is gone; was it moved or removed while the study ran?",
    errno.ESTALE: "the network disk lost it",
    errno.EIO: "the disk cannot be read or written there",
    errno.EMFILE: "too many open files; see ulimit -n",
}


def machine_fault(error: Exception) -> str | None:
    """The line for an error of the machine; None for any other error, which is a bug."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        what = _DISK.get(error.errno) or error.strerror or str(error)
        return f"{where}{what}; then {GO_ON}"
    from headstart.ranks import LostRankError
    from headstart.runtime.memory import is_out_of_memory

    if isinstance(error, LostRankError):
        return f"another process of this run has ended; {GO_ON}"
    if is_out_of_memory(error):
        return (
            "out of memory; close other programs, or take a smaller batch, image or backbone; "
            f"then {GO_ON}"
        )
    return None
