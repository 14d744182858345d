"""The nine classes, and the function that draws a bag of each."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from headstart.data.synthetic.firm_shapes import bauletto, clutch, shopping, tracolla, zaino
from headstart.data.synthetic.parts import Bag
from headstart.data.synthetic.soft_shapes import hobo, marsupio, sacca, secchiello

CLASSES: tuple[str, ...] = (
    "bauletto",
    "clutch",
    "hobo",
    "marsupio",
    "sacca",
    "secchiello",
    "shopping",
    "tracolla",
    "zaino",
)

SHAPES: dict[str, Callable[[Generator], Bag]] = {
    "bauletto": bauletto,
    "clutch": clutch,
    "hobo": hobo,
    "marsupio": marsupio,
    "sacca": sacca,
    "secchiello": secchiello,
    "shopping": shopping,
    "tracolla": tracolla,
    "zaino": zaino,
}
