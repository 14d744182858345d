"""Where a study's curves and answers are sent while it runs; a tracker is one file and one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.extensions import Group
from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.trackers.base import Tracker

TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    {
        "tensorboard": "headstart.trackers.tensorboard:TensorBoard",
        "mlflow": "headstart.trackers.mlflow:MLflow",
        "wandb": "headstart.trackers.wandb:WeightsAndBiases",
    },
    Group("headstart.trackers", needs=("curves", "answer", "close")),
)
