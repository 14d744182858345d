"""One paper a file; a new method is one file and one line here."""

from __future__ import annotations

from headstart.methods.base import Method
from headstart.methods.byol import BYOL
from headstart.methods.moco import MoCo
from headstart.methods.simclr import SimCLR
from headstart.methods.simsiam import SimSiam
from headstart.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "moco": MoCo,
    "simclr": SimCLR,
    "simsiam": SimSiam,
    "byol": BYOL,
}

__all__ = ["METHODS", "Method", "Supervised"]
