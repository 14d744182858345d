"""One paper a file; a new method is one file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.extensions import Group
from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.methods.base import Method

METHODS: Registry[type[Method]] = Registry(
    "method",
    {
        "moco": "headstart.methods.moco:MoCo",
        "simclr": "headstart.methods.simclr:SimCLR",
        "simsiam": "headstart.methods.simsiam:SimSiam",
        "byol": "headstart.methods.byol:BYOL",
        "vicreg": "headstart.methods.vicreg:VICReg",
        "barlow_twins": "headstart.methods.barlow_twins:BarlowTwins",
        "dino": "headstart.methods.dino:DINO",
    },
    Group(
        "headstart.methods",
        needs=("title", "paper", "recipe", "loss", "embed", "loss_floor"),
        reserved=("supervised", "random", "majority", "start", "weights"),  # arms of every study
    ),
)
