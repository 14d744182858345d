"""The generated bags: a nine-class study that anyone can have in half a minute, masks included.

The classes are those of a study of Italian fashion bags (bauletto, clutch, hobo, marsupio, sacca,
secchiello, shopping, tracolla, zaino). Every picture is drawn from numbers: a shape of the class,
and, *independently of the class*, colours, texture, light, pose, clutter and background. Two
things real photographs seldom have come with each picture: a mask of the bag, so that "does the
model look at the object?" can be answered, and a knob, ``shortcut``, that makes the background
tell the class to a chosen degree.

A picture, in the order it is made: ``curves`` → ``parts`` → ``firm_shapes`` and ``soft_shapes`` →
``shapes`` (what is drawn); ``colours`` → ``textures``, ``pose`` → ``painting`` (how it looks);
``backgrounds`` (where it stands); ``picture`` puts the three together; ``study`` writes many.
Pillow and NumPy only.
"""

from __future__ import annotations

from headstart.data.synthetic.backgrounds import BACKGROUNDS
from headstart.data.synthetic.picture import draw_bag
from headstart.data.synthetic.shapes import CLASSES
from headstart.data.synthetic.study import (
    REFERENCE_COUNTS,
    SPLITS,
    VERSION,
    BagsSpec,
    demo_bags,
    generate,
)

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "REFERENCE_COUNTS",
    "SPLITS",
    "VERSION",
    "BagsSpec",
    "demo_bags",
    "draw_bag",
    "generate",
]
