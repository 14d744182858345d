"""Where the cells of a study are computed; a new place is one file and one line here."""

from __future__ import annotations

from headstart.executors.base import Executor
from headstart.registry import Registry

EXECUTORS: Registry[type[Executor]] = Registry(
    "executor",
    {
        "serial": "headstart.executors.serial:Serial",
        "processes": "headstart.executors.processes:Processes",
        "ray": "headstart.executors.ray:Ray",
    },
)
