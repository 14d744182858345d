"""TensorBoard scalars: one folder a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Logs:
    """Writes scalars for TensorBoard; empty values are left out."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Record values at a step."""
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what is still in memory."""
        self._writer.close()
