"""Parts of a bag: what every shape is put together from, in the order it is painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from headstart.data.synthetic.curves import (
    XY,
    Array,
    coords,
    ellipse,
    rectangle,
    rounded,
    spline,
    vector,
)


@dataclass(frozen=True)
class Part:
    """One thing to paint, over what is already there.

    A filled polygon if ``width`` is 0, else a stroke of that width along ``points`` (N, 2).
    ``material`` is ``body``, ``trim``, ``cord``, ``metal``, ``lining`` or ``shadow`` (darkens what
    is there and is no part of the bag's outline); ``finish`` one of ``plain``, ``chain``,
    ``cord``, ``zip``, ``stitch``. ``puff`` says how inflated a panel looks; ``creases`` are
    folds in it.
    """

    points: Array
    material: str = "body"
    width: float = 0.0
    tone: float = 1.0
    puff: float = 0.5
    finish: str = "plain"
    creases: tuple[Array, ...] = ()


Bag = list[Part]


def depth(outline: Array, dx: float, dy: float, puff: float = 0.2) -> Bag:
    """The side of a box behind its front: the front pushed back, darker the further."""
    steps = [(0.66, 0.52), (0.33, 0.62)]
    back = [Part(outline + vector(dx, dy), tone=0.45, puff=puff)]
    return back + [Part(outline + vector(dx * t, dy * t), tone=s, puff=0) for t, s in steps]


def zipper(path: Array, width: float = 0.045) -> Bag:
    """A zip along a path, its puller at the end."""
    end = path[-1]
    pull = np.stack([end, end + vector(0.02, 0.13)])
    return [
        Part(path, "lining", width=width * 1.5),
        Part(path, "metal", width=width, finish="zip"),
        Part(pull, "metal", width=width),
    ]


def seam(path: Array) -> Bag:
    """A line of stitches along a path."""
    return [Part(path, "stitch", width=0.022, finish="stitch")]


def dot(x: float, y: float, radius: float, material: str = "metal") -> Part:
    """A filled disc: a stud, a knob, the end of a cord."""
    return Part(ellipse((x, y), radius, radius), material, puff=0.8)


def ring(x: float, y: float, radius: float) -> Part:
    """A metal ring, by which a strap or handle hangs."""
    return Part(ellipse((x, y), radius, radius), "metal", width=radius * 0.55)


def overlay(panel: Part, drop: float = 0.045) -> Bag:
    """A panel that lies on the bag, with the shadow it throws."""
    shade = Part(panel.points + vector(0, drop), "shadow", tone=0.55)
    return [shade, panel]


def either(r: Generator, *choices: str) -> str:
    """One of the choices, each as likely."""
    return choices[int(r.integers(len(choices)))]


def clasp(r: Generator, x: float, y: float) -> Bag:
    """How a flap closes, its middle at (x, y): a stud, a bar, a plate, or nothing to be seen."""
    kind = either(r, "stud", "bar", "plate", "none")
    if kind == "none":
        return []
    if kind == "stud":
        return [dot(x, y, r.uniform(0.045, 0.075))]
    half = r.uniform(0.05, 0.09) if kind == "plate" else r.uniform(0.1, 0.16)
    tall = r.uniform(0.05, 0.08) if kind == "plate" else 0.03
    plate = rounded(rectangle(half, y - tall, y + tall), 0.03) + vector(x, 0)
    return overlay(Part(plate, "metal", puff=0.7), 0.02)


def buckle(x: float, y: float, half: float, tall: float) -> Bag:
    """A side-release buckle, its middle at (x, y), ``half`` wide and ``tall`` high each way."""
    outer = rounded(rectangle(half, y - tall, y + tall), 0.05) + vector(x, 0)
    slot = rectangle(half * 0.22, y - tall * 0.55, y + tall * 0.55)
    left, right = (slot + vector(x + s * half * 0.5, 0) for s in (-1, 1))
    bar = coords((x, y - tall), (x, y + tall))
    return [
        Part(outer, "metal", puff=0.6),
        Part(left, "lining", puff=0),
        Part(right, "lining", puff=0),
        Part(bar, "metal", width=half * 0.2),
    ]


def gathers(r: Generator, count: int, top: XY, bottom: XY) -> tuple[Array, ...]:
    """Creases that fan out from a gathered neck: ``top``, ``bottom`` are (half-width, y)."""
    folds = []
    for at in np.linspace(-0.9, 0.9, count):
        x, end = at + r.uniform(-0.12, 0.12), r.uniform(0.35, 1.0)
        y = top[1] + (bottom[1] - top[1]) * end
        reach = top[0] + (bottom[0] - top[0]) * end
        middle = ((top[0] + reach) / 2 * x + r.uniform(-0.04, 0.04), (top[1] + y) / 2)
        folds.append(spline(coords((top[0] * x, top[1]), middle, (reach * x, y)), samples=6))
    return tuple(folds)
