"""TensorBoard scalars: one folder a training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path


class Logs:
    """Writes scalars for TensorBoard; empty values are left out.

    Each record is on disk when ``scalars`` returns. TensorBoard's own writer has a thread for it,
    which prints a traceback when it fails.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{time.time_ns()}").open("wb", buffering=0)
        self._records, self._event = RecordWriter(self._file), Event
        self._write(file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Record values at a step."""
        known = [{"tag": k, "simple_value": v} for k, v in values.items() if v is not None]
        self._write(step=step, summary={"value": known})

    def _write(self, **content: object) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        """End the file."""
        self._file.close()
