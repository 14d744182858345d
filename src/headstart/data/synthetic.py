"""The generated bags: a nine-class study that anyone can have in half a minute, masks included.

The classes are those of a study of Italian fashion bags (bauletto, clutch, hobo, marsupio, sacca,
secchiello, shopping, tracolla, zaino). Every picture is drawn from numbers: a shape of the class,
and, *independently of the class*, colours, texture, light, pose, clutter and background. Two
things real photographs seldom have come with each picture: a mask of the bag, so that "does the
model look at the object?" can be answered, and a knob, ``shortcut``, that makes the background
tell the class to a chosen degree.

Bag space, in which shapes are described: x to the right, y **down**, the body about 2 units wide.
Pillow and NumPy only.
"""

from __future__ import annotations

import colorsys
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[np.floating[Any]]
Colour = tuple[int, int, int]
XY = tuple[float, float]

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
REFERENCE_COUNTS: tuple[int, ...] = (445, 1285, 360, 1097, 325, 351, 108, 1812, 636)
"""Labelled images a class in the study of real bags; the pool is drawn with these odds."""

SPLITS = ("pool", "train", "validation", "test")
VERSION = 1
"""Goes up when the same spec would draw other pictures."""

_OVERSAMPLE = 2
_ASPECTS = ((1, 1), (1, 1), (3, 4), (4, 5), (4, 3))
_LARGEST_SIDE = 2048


@dataclass(frozen=True)
class BagsSpec:
    """What to generate.

    ``pool`` unlabelled images, of classes drawn with the odds of ``REFERENCE_COUNTS`` (or equal
    ones if ``balanced``), and so many labelled ones a class and split. ``size`` is the shorter
    side in pixels; the longer is up to 4/3 of it. With probability ``shortcut`` an image has its
    class's own background family, otherwise one drawn uniformly from all nine, whatever the class:
    family and class agree with probability ``shortcut + (1 - shortcut) / 9``. ``test_shortcut``
    is the same for the test images (None: as ``shortcut``). ``quality`` is the JPEG quality.

    Raises ``ValueError`` for a value out of range.
    """

    pool: int = 1000
    train_per_class: int = 20
    validation_per_class: int = 10
    test_per_class: int = 25
    size: int = 96
    shortcut: float = 0.0
    test_shortcut: float | None = None
    balanced: bool = False
    seed: int = 0
    quality: int = 90

    def __post_init__(self) -> None:
        for name in ("pool", "train_per_class", "validation_per_class", "test_per_class", "seed"):
            _check(name, getattr(self, name), 0, 2**31)
        _check("size", self.size, 32, _LARGEST_SIDE)
        _check("quality", self.quality, 1, 100)
        for name in ("shortcut", "test_shortcut"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
        if self.pool + self.train_per_class + self.validation_per_class + self.test_per_class == 0:
            raise ValueError("nothing to generate: the pool and every split are 0")

    def per_class(self, split: str) -> int:
        """How many images of each class a labelled split has."""
        return int(getattr(self, f"{split}_per_class"))

    def shortcut_of(self, split: str) -> float:
        """The probability that an image of this split has its class's own background."""
        if split == "test" and self.test_shortcut is not None:
            return self.test_shortcut
        return self.shortcut


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie between {low} and {high}, not {value}")


# ---------------------------------------------------------------------------- curves


def _points(*xy: XY) -> Array:
    return np.array(xy, dtype=np.float32)


def _at(x: float, y: float) -> Array:
    """A place, or a shift (2,)."""
    return np.array((x, y), dtype=np.float32)


def _rounded(corners: Array, radii: float | Sequence[float]) -> Array:
    """A polygon (N, 2) whose corners are cut round; a radius never takes over half an edge."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    radius = np.broadcast_to(np.asarray(radii, dtype=np.float32), len(corners))[:, None]
    starts = corners + _towards(before - corners, radius)
    ends = corners + _towards(after - corners, radius)
    t = np.linspace(0, 1, 9, dtype=np.float32)[None, :, None]
    arcs = (
        (1 - t) ** 2 * starts[:, None] + 2 * t * (1 - t) * corners[:, None] + t**2 * ends[:, None]
    )
    return arcs.reshape(-1, 2).astype(np.float32)


def _towards(edge: Array, radius: Array) -> Array:
    length = np.linalg.norm(edge, axis=1, keepdims=True) + 1e-6
    return np.asarray(edge / length * np.minimum(radius, length * 0.49), dtype=np.float32)


def _spline(points: Array, closed: bool = False, samples: int = 10) -> Array:
    """A Catmull–Rom curve through the points (N, 2)."""
    if closed:
        p = np.concatenate([points[-1:], points, points[:2]])
    else:
        p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, samples, endpoint=False, dtype=np.float32)[None, :, None]
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    curve = curve.reshape(-1, 2)
    return np.asarray(curve if closed else np.concatenate([curve, points[-1:]]), dtype=np.float32)


def _arch(half: float, base: float, height: float, square: float = 2.0, legs: float = 0.0) -> Array:
    """A handle: from (-half, base) up by ``height`` and down to (half, base).

    ``square`` is the superellipse's exponent (2: round, 4: boxy); ``legs`` go below the base.
    """
    t = np.linspace(math.pi, 0, 37)
    power = 2 / square
    x = half * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    y = base - height * np.abs(np.sin(t)) ** power
    arch = np.stack([x, y], axis=1)
    if legs > 0:
        arch = np.concatenate([[[-half, base + legs]], arch, [[half, base + legs]]])
    return arch.astype(np.float32)


def _ellipse(centre: XY, rx: float, ry: float, span: float = 1.0) -> Array:
    """``span`` of an ellipse's outline, from its right end down and round."""
    t = np.linspace(0, 2 * math.pi * span, 33 if span < 1 else 57)
    return np.stack([centre[0] + rx * np.cos(t), centre[1] + ry * np.sin(t)], axis=1).astype(
        np.float32
    )


def _box(half: float, top: float, bottom: float) -> Array:
    return _points((-half, top), (half, top), (half, bottom), (-half, bottom))


def _even(points: Array, step: float) -> Array:
    """The same curve at equal steps of its length."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], max(2, int(along[-1] / max(step, 0.5))))
    return np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1).astype(np.float32)


def _mirror(points: Array) -> Array:
    return points * _at(-1, 1)


# ---------------------------------------------------------------------------- parts of a bag


@dataclass(frozen=True)
class _Part:
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


Bag = list[_Part]


def _depth(outline: Array, dx: float, dy: float, puff: float = 0.2) -> Bag:
    """The side of a box behind its front: the front pushed back, darker the further."""
    steps = [(0.66, 0.52), (0.33, 0.62)]
    back = [_Part(outline + _at(dx, dy), tone=0.45, puff=puff)]
    return back + [_Part(outline + _at(dx * t, dy * t), tone=s, puff=0) for t, s in steps]


def _zip(path: Array, width: float = 0.045) -> Bag:
    """A zip along a path, its puller at the end."""
    end = path[-1]
    pull = np.stack([end, end + _at(0.02, 0.13)])
    return [
        _Part(path, "lining", width=width * 1.5),
        _Part(path, "metal", width=width, finish="zip"),
        _Part(pull, "metal", width=width),
    ]


def _seam(path: Array) -> Bag:
    return [_Part(path, "stitch", width=0.022, finish="stitch")]


def _dot(x: float, y: float, radius: float, material: str = "metal") -> _Part:
    return _Part(_ellipse((x, y), radius, radius), material, puff=0.8)


def _ring(x: float, y: float, radius: float) -> _Part:
    return _Part(_ellipse((x, y), radius, radius), "metal", width=radius * 0.55)


def _over(panel: _Part, drop: float = 0.045) -> Bag:
    """A panel that lies on the bag, with the shadow it throws."""
    shade = _Part(panel.points + _at(0, drop), "shadow", tone=0.55)
    return [shade, panel]


def _either(r: Generator, *choices: str) -> str:
    return choices[int(r.integers(len(choices)))]


def _clasp(r: Generator, x: float, y: float) -> Bag:
    kind = _either(r, "stud", "bar", "plate", "none")
    if kind == "none":
        return []
    if kind == "stud":
        return [_dot(x, y, r.uniform(0.045, 0.075))]
    half = r.uniform(0.05, 0.09) if kind == "plate" else r.uniform(0.1, 0.16)
    tall = r.uniform(0.05, 0.08) if kind == "plate" else 0.03
    plate = _rounded(_box(half, y - tall, y + tall), 0.03) + _at(x, 0)
    return _over(_Part(plate, "metal", puff=0.7), 0.02)


def _buckle(x: float, y: float, half: float, tall: float) -> Bag:
    outer = _rounded(_box(half, y - tall, y + tall), 0.05) + _at(x, 0)
    slot = _box(half * 0.22, y - tall * 0.55, y + tall * 0.55)
    left, right = (slot + _at(x + s * half * 0.5, 0) for s in (-1, 1))
    bar = _points((x, y - tall), (x, y + tall))
    return [
        _Part(outer, "metal", puff=0.6),
        _Part(left, "lining", puff=0),
        _Part(right, "lining", puff=0),
        _Part(bar, "metal", width=half * 0.2),
    ]


def _folds(r: Generator, count: int, top: XY, bottom: XY) -> tuple[Array, ...]:
    """Creases that fan out from a gathered neck: ``top``, ``bottom`` are (half-width, y)."""
    folds = []
    for at in np.linspace(-0.9, 0.9, count):
        x, end = at + r.uniform(-0.12, 0.12), r.uniform(0.35, 1.0)
        y = top[1] + (bottom[1] - top[1]) * end
        reach = top[0] + (bottom[0] - top[0]) * end
        middle = ((top[0] + reach) / 2 * x + r.uniform(-0.04, 0.04), (top[1] + y) / 2)
        folds.append(_spline(_points((top[0] * x, top[1]), middle, (reach * x, y)), samples=6))
    return tuple(folds)


# ---------------------------------------------------------------------------- the nine shapes


def _bauletto(r: Generator) -> Bag:
    """Boston or doctor's bag: a barrel with two short handles and a zip along its top."""
    w, h = r.uniform(0.92, 1.1), r.uniform(0.55, 0.74)
    doctor = r.random() < 0.25
    narrow = w * (r.uniform(0.68, 0.8) if doctor else r.uniform(0.9, 1.0))
    corners = _points((-narrow, -h), (narrow, -h), (w, h), (-w, h))
    low = r.uniform(0.1, 0.3)
    body = _rounded(corners, (0.12, 0.12, low, low) if doctor else (h * 1.1, h * 1.1, low, low))
    reach = r.uniform(0.3, 0.46) * w
    rise = r.uniform(0.42, 0.62)
    thick = r.uniform(0.075, 0.12)
    legs = r.uniform(0.2, 0.55)
    front = _arch(reach, -h + 0.12, rise, r.uniform(2, 3), legs)
    back = _arch(reach, -h + 0.1, rise, 2.3) + _at(r.uniform(0.04, 0.1), -0.1)
    bag = [_Part(back, "trim", width=thick, tone=0.62)]
    bag += _depth(body, r.uniform(0.04, 0.14), -r.uniform(0.05, 0.12))
    bag += [_Part(body, puff=r.uniform(0.7, 1.0))]
    if doctor:
        frame = _points((-narrow * 0.97, -h + 0.05), (narrow * 0.97, -h + 0.05))
        bag += [_Part(frame, "metal", width=0.1), *_clasp(r, 0, -h + 0.12)]
    else:
        sag = _spline(
            _points((-narrow * 0.72, -h + 0.09), (0, -h + 0.06), (narrow * 0.7, -h + 0.1))
        )
        bag += _zip(sag, 0.05)
    bag += _bauletto_trim(r, w, h)
    bag += [_Part(front + _at(0.02, 0.05), "shadow", width=thick, tone=0.6)]
    bag += [_Part(front, "trim", width=thick)]
    return bag + [_ring(s * reach, -h + 0.16, thick * 0.6) for s in (-1, 1)]


def _bauletto_trim(r: Generator, w: float, h: float) -> Bag:
    """Piping, patched corners, or a tag: each seen on some bags."""
    bag: Bag = []
    if r.random() < 0.5:
        at = r.uniform(0.68, 0.8) * w
        side = _spline(_points((at * 0.97, -h * 0.8), (at, 0), (at * 0.99, h * 0.99)))
        bag += [_Part(p, "trim", width=0.035) for p in (side, _mirror(side))]
    elif r.random() < 0.5:
        patch = _rounded(_points((w, h), (w, h * 0.35), (w * 0.62, h)), (0.22, 0.03, 0.03))
        bag += [_Part(p, "trim", puff=0.2) for p in (patch, _mirror(patch))]
    if r.random() < 0.4:
        tag = _rounded(_box(0.09, h * 0.05, h * 0.5), 0.05) + _at(r.uniform(-0.2, 0.2), 0)
        bag += _over(_Part(tag, "trim"))
    return bag


def _clutch(r: Generator) -> Bag:
    """A flat envelope held in the hand: no strap, at most a loop for the wrist."""
    w, h = 1.0, r.uniform(0.46, 0.68)
    kind = _either(r, "envelope", "envelope", "flap", "round", "zip", "frame")
    radius = r.uniform(0.2, 0.4) if kind == "frame" else r.uniform(0.02, 0.14)
    body = _rounded(_box(w, -h, h), radius)
    bag: Bag = []
    if kind == "zip" or r.random() < 0.2:
        bag += _wrist_loop(r, w, h)
    bag += _depth(body, r.uniform(-0.05, 0.05), -0.05, 0)
    bag += [_Part(body, puff=r.uniform(0.25, 0.6))]
    if kind == "zip":
        bag += _zip(_points((-w * 0.9, -h * 0.8), (w * 0.86, -h * 0.8)))
        bag += _seam(_points((-w * 0.9, -h * 0.68), (w * 0.9, -h * 0.68)))
    elif kind == "frame":
        bag += [_Part(_arch(w * 0.93, -h + 0.2, 0.16, 5), "metal", width=0.07)]
        bag += [_dot(-0.05, -h - 0.02, 0.065), _dot(0.06, -h - 0.04, 0.065)]
    else:
        bag += _clutch_flap(r, kind, w, h)
    return bag


def _clutch_flap(r: Generator, kind: str, w: float, h: float) -> Bag:
    tip = r.uniform(-0.1, 0.45) * h
    if kind == "envelope":
        shape = _points((-w, -h), (w, -h), (w * 0.98, -h * 0.85), (0, tip), (-w * 0.98, -h * 0.85))
        flap = _rounded(shape, (0.05, 0.05, 0.02, 0.1, 0.02))
    elif kind == "flap":
        flap = _rounded(_box(w, -h, tip), (0.05, 0.05, 0.1, 0.1))
    else:
        flap = np.concatenate([_points((w, -h)), _mirror(_arch(w, -h, -(tip + h), 2.5))])
    material = "trim" if r.random() < 0.2 else "body"
    bag = _over(_Part(flap, material, puff=0.35, tone=1.06))
    if r.random() < 0.4:
        bag += _seam(_inset(flap, 0.93))
    return bag + _clasp(r, 0, tip - 0.06)


def _wrist_loop(r: Generator, w: float, h: float) -> Bag:
    drop, side = r.uniform(0.3, 0.6), w + r.uniform(0.18, 0.34)
    y = -h * 0.75
    loop = _points((w - 0.03, y), (side, y + 0.1), (side, y + drop), (w + 0.06, y + drop), (w, y))
    return [_Part(_spline(loop), "trim", width=0.06), _ring(w, y, 0.06)]


def _inset(polygon: Array, scale: float) -> Array:
    centre = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    closed = np.concatenate([polygon, polygon[:1]])
    return np.asarray(centre + (closed - centre) * scale, dtype=np.float32)


def _hobo(r: Generator) -> Bag:
    """A soft crescent that hangs from one wide shoulder strap."""
    horn, sag = r.uniform(0.72, 0.9), r.uniform(0.22, 0.42)
    deep, lean = r.uniform(0.5, 0.72), r.uniform(-0.12, 0.12)
    wide, top = r.uniform(0.07, 0.12), -0.5
    side = [(horn + wide, top), (1.0, -0.1), (0.86, deep * 0.6)]
    dip = top + sag * 0.8
    edge = [(-horn + wide, top), (-0.45, dip), (lean / 2, top + sag), (0.45, dip)]
    left = [(-x, y) for x, y in reversed(side)]
    body = _spline(_points(*side, (lean, deep), *left, *edge, (horn - wide, top)), closed=True)
    strap = _arch(horn, top + 0.08, r.uniform(0.5, 1.05), r.uniform(1.8, 2.5))
    mouth = _spline(_points(*edge, (horn - wide, top)))
    material = "body" if r.random() < 0.5 else "trim"
    bag = [_Part(strap, material, width=2 * wide * r.uniform(0.75, 1.0))]
    bag += _seam(strap) if r.random() < 0.35 else []
    if r.random() < 0.5:
        inside = np.concatenate([mouth, _mirror(mouth) + _at(0, -0.1)])
        bag += [_Part(inside, "lining", puff=0)]
    bag += [_Part(body, puff=r.uniform(0.8, 1.1), creases=_hobo_folds(r, horn, deep, top))]
    return bag + _hobo_trim(r, mouth + _at(0, 0.07), horn, wide)


def _hobo_trim(r: Generator, mouth: Array, horn: float, wide: float) -> Bag:
    bag = _zip(mouth[8:-9], 0.04) if r.random() < 0.5 else _seam(mouth)
    if r.random() < 0.5:
        bag += [_ring(s * horn, -0.48, wide * 0.9) for s in (-1, 1)]
    if r.random() < 0.3:
        x, y = mouth[len(mouth) // 2 + int(r.integers(-8, 9))].tolist()
        bag += [_Part(_points((x, y), (x + 0.02, y + 0.36)), "trim", width=0.09)]
    return bag


def _hobo_folds(r: Generator, horn: float, deep: float, top: float) -> tuple[Array, ...]:
    folds = []
    for side in (-1, 1):
        for reach in r.uniform(0.15, 0.8, 3):
            end = (side * (horn - reach), deep * r.uniform(-0.1, 0.7))
            middle = (side * (horn - reach * 0.25), top + 0.45 * (end[1] - top) + 0.12)
            folds.append(_spline(_points((side * horn, top + 0.1), middle, end), samples=6))
    return tuple(folds)


def _marsupio(r: Generator) -> Bag:
    """A waist bag: a low wide pouch on a belt that closes with a buckle."""
    w, h = r.uniform(0.72, 0.9), r.uniform(0.32, 0.46)
    moon = r.random() < 0.6
    low = h * 1.6 if moon else r.uniform(0.12, 0.3)
    body = _rounded(_box(w, -h, h), (0.12, 0.12, low, low))
    belt = r.uniform(0.11, 0.17)
    bag = _loop_belt(r, w, belt) if r.random() < 0.75 else _flat_belt(r, w, belt)
    wing = _rounded(
        _points((w * 0.6, -h * 0.85), (w + 0.22, -0.2), (w + 0.22, -0.04), (w * 0.6, h * 0.6)), 0.1
    )
    bag += [_Part(p, "trim", puff=0.4, tone=0.85) for p in (wing, _mirror(wing))]
    bag += _depth(body, 0, -0.06, 0)
    bag += [_Part(body, puff=r.uniform(0.8, 1.1))]
    level = -h * r.uniform(0.45, 0.7)
    bow = r.uniform(-0.05, 0.08)
    bag += _zip(_spline(_points((-w * 0.82, level), (0, level - bow), (w * 0.78, level))), 0.05)
    if r.random() < 0.55:
        pocket = _rounded(_box(w * 0.62, -h * 0.12, h * 0.78), (0.05, 0.05, h * 0.7, h * 0.7))
        bag += _over(_Part(pocket, puff=0.8, tone=1.05))
        bag += _zip(_points((-w * 0.5, -h * 0.02), (w * 0.46, -h * 0.02)), 0.035)
    return bag


def _loop_belt(r: Generator, w: float, belt: float) -> Bag:
    """The belt closed behind the pouch, seen a little from above."""
    rx, ry = w + r.uniform(0.14, 0.26), r.uniform(0.26, 0.5)
    ring = _ellipse((0, -0.12 - ry * 0.55), rx, ry)
    x = r.uniform(-0.3, 0.3) * rx
    y = -0.12 - ry * 0.55 - ry * math.sqrt(1 - (x / rx) ** 2)
    return [
        _Part(ring, "trim", width=belt),
        *_buckle(x, y, r.uniform(0.12, 0.17), belt * 0.75),
    ]


def _flat_belt(r: Generator, w: float, belt: float) -> Bag:
    """The belt open, its ends laid out on both sides."""
    bag: Bag = []
    for side in (-1, 1):
        lift = r.uniform(-0.3, 0.25)
        turn = r.uniform(-0.15, 0.15)
        end = (w + 0.36, -0.12 + lift + turn)
        path = _points((w, -0.12), (w + 0.14, -0.12 + lift * 0.3), (w + 0.27, -0.12 + lift), end)
        path = _spline(path * _at(side, 1))
        bag += [_Part(path, "trim", width=belt)]
        bag += _buckle(side * end[0], end[1], 0.1, belt * 0.75)
    return bag


def _sacca(r: Generator) -> Bag:
    """A soft sack, gathered at its neck by a cord: a flat gym sack, or a sailor's tube."""
    gym = r.random() < 0.5
    w, h = (r.uniform(0.62, 0.8), r.uniform(0.8, 0.98)) if gym else (r.uniform(0.44, 0.62), 1.0)
    neck, frill = w * r.uniform(0.35, 0.6), w * r.uniform(0.55, 0.85)
    y = -h * r.uniform(0.66, 0.78)
    slope, low = r.uniform(0.16, 0.36), r.uniform(0.02, 0.12)
    half = [(neck, y), (w * 0.85, y + slope), (w, 0.05), (w * 0.98, h * 0.7), (w * 0.84, h - low)]
    outline = _points(*half, (0, h), *[(-x, v) for x, v in reversed(half)])
    outline += r.uniform(-0.03, 0.03, outline.shape).astype(np.float32)
    body = _spline(outline)
    bag = _gym_cords(r, w, h, y) if gym else _sailor_cord(r, w, h, y)
    bag += _frill(r, neck, frill, y)
    folds = _folds(r, int(r.integers(5, 10)), (neck, y + 0.03), (w, h * r.uniform(0.3, 1)))
    bag += [_Part(body, puff=r.uniform(0.8, 1.1), creases=folds)]
    if gym:
        bag += [_dot(s * w * 0.86, h * 0.84, 0.05) for s in (-1, 1)]
    if r.random() < 0.45:
        bag += [_Part(body[body[:, 1] > h * r.uniform(0.45, 0.75)], "trim", puff=0.6)]
    return bag + _tie(r, neck, y)


def _tie(r: Generator, neck: float, y: float) -> Bag:
    """The cord round the neck, its ends hanging, bowed, or held by a toggle."""
    round_ = _spline(_points((-neck - 0.02, y), (0, y + 0.06), (neck + 0.02, y)))
    bag = [_Part(round_, "cord", width=r.uniform(0.06, 0.1), finish="cord")]
    kind = _either(r, "tails", "bow", "toggle")
    if kind == "toggle":
        held = _rounded(_box(0.07, y, y + 0.14), 0.03)
        return [*bag, *_over(_Part(held, "metal", puff=0.6), 0.02)]
    for side in (-1, 1):
        down = y + r.uniform(0.3, 0.6)
        tail = _points((0, y + 0.06), (side * r.uniform(0.08, 0.2), y + 0.22), (side * 0.14, down))
        bag += [_Part(_spline(tail), "cord", width=0.05, finish="cord")]
        bag += [_dot(side * 0.14, down, 0.055, "cord")]
        if kind == "bow":
            loop = _points((0, 0.06), (0.2, -0.06), (0.32, 0.06), (0.2, 0.16), (0, 0.08))
            bow = _spline(loop * _at(side, 1) + _at(0, y))
            bag += [_Part(bow, "cord", width=0.05, finish="cord")]
    return bag


def _frill(r: Generator, neck: float, frill: float, y: float) -> Bag:
    """The cloth above the cord, fanned out in scallops."""
    top = y - r.uniform(0.14, 0.34)
    across = np.linspace(-1, 1, 9)
    edge = [(a * frill, top + 0.06 * (i % 2) + 0.05 * a**2) for i, a in enumerate(across.tolist())]
    outline = _spline(_points((-neck, y + 0.04), *edge, (neck, y + 0.04)), samples=6)
    hole = _ellipse((0, top + 0.07), frill * 0.8, 0.06)
    folds = tuple(_points((neck * a, y), (frill * a, top + 0.05)) for a in across[1:-1:2])
    return [_Part(outline, puff=0.5, creases=folds), _Part(hole, "lining", puff=0)]


def _gym_cords(r: Generator, w: float, h: float, y: float) -> Bag:
    """Two cords from the neck to the bottom corners, to carry it on the back."""
    bag: Bag = []
    for side in (-1, 1):
        out = w + r.uniform(0.12, 0.34)
        high, low = (out * 0.75, y + 0.06), (out * 0.98, h * 0.5)
        cord = _points((0.1, y), high, (out, -0.1), low, (w * 0.86, h * 0.84))
        bag += [_Part(_spline(cord * _at(side, 1)), "cord", width=0.055, finish="cord")]
    return bag


def _sailor_cord(r: Generator, w: float, h: float, y: float) -> Bag:
    """One long cord from the neck, round one side, to the base."""
    out = w + r.uniform(0.15, 0.4)
    cord = _points((0, y), (w * 0.6, y - 0.32), (out, y + 0.2), (out, h * 0.3), (w * 0.8, h * 0.85))
    return [_Part(_spline(cord), "cord", width=0.08, finish="cord")]


def _secchiello(r: Generator) -> Bag:
    """A bucket that tapers to a firm base, with a drawstring through eyelets and a strap."""
    top, base = r.uniform(0.68, 0.84), r.uniform(0.5, 0.64)
    h, rim = r.uniform(0.7, 0.88), r.uniform(0.1, 0.17)
    low = _ellipse((0, h), base, rim * 0.8, 0.5)
    pinch = r.uniform(0.82, 1.0)
    high = _ellipse((0, -h), top, rim, 0.5)[::-1]
    waist = -h + r.uniform(0.24, 0.34)
    side = _points(
        (top * pinch, waist + rim * 0.3),
    )
    body = np.concatenate([high, side, low, _mirror(side)])
    strap = _arch(top * 0.97, -h + 0.1, r.uniform(0.65, 1.05), r.uniform(1.8, 2.6))
    thick = r.uniform(0.055, 0.1)
    bag = [_Part(strap + _at(0, -0.02), "trim", width=thick)]
    bag += [_Part(_ellipse((0, -h), top, rim), tone=0.6, puff=0)]
    bag += [_Part(_ellipse((0, -h + 0.02), top * 0.93, rim * 0.8), "lining", puff=0)]
    creases = _folds(r, 5, (top * 0.9, -h + rim), (base, h * 0.4))
    bag += [_Part(body, puff=r.uniform(0.5, 0.8), creases=creases if r.random() < 0.7 else ())]
    tall = r.uniform(0.2, 0.4)
    wide = base + (top * pinch - base) * tall / (h - waist)
    band = np.concatenate([_ellipse((0, h - tall), wide, rim * 0.8, 0.5)[::-1], low])
    bag += [_Part(band, "trim", puff=0.3)] if r.random() < 0.65 else []
    bag += _drawstring(r, top * pinch, waist, rim)
    return bag + [_ring(s * top * 0.95, -h + 0.12, 0.065) for s in (-1, 1)]


def _drawstring(r: Generator, half: float, y: float, rim: float) -> Bag:
    """A cord that runs in and out of eyelets, its two ends hanging in front with tassels."""
    line = _ellipse((0, y), half * 0.96, rim, 0.5)
    bag: Bag = [_Part(line[a : a + 5], "cord", width=0.05, finish="cord") for a in range(1, 31, 8)]
    bag += [replace(_dot(x, y, 0.042), puff=0) for x, y in line[1:32:4].tolist()]
    for side in (-1, 1):
        end = _points((side * r.uniform(0.08, 0.2), y + rim + r.uniform(0.3, 0.5)))
        start = _points((0, y + rim), (side * 0.12, y + rim + 0.14))
        tassel = _points((-0.03, 0), (0.03, 0), (0.06, 0.18), (-0.06, 0.18)) + end
        tail = _spline(np.concatenate([start, end]))
        bag += [_Part(tail, "cord", width=0.045, finish="cord"), _Part(tassel, "trim", puff=0.3)]
    return [*bag, _dot(0, y + rim, 0.06, "trim")]


def _shopping(r: Generator) -> Bag:
    """A tall open tote with two long handles."""
    top, h = r.uniform(0.8, 0.96), r.uniform(0.74, 0.95)
    base = top * r.uniform(0.76, 0.98)
    body = _rounded(_points((-top, -h), (top, -h), (base, h), (-base, h)), (0.01, 0.01, 0.1, 0.1))
    back = r.uniform(0.07, 0.15)
    lean = r.uniform(-0.1, 0.1)
    reach, rise = r.uniform(0.34, 0.5) * top, r.uniform(0.6, 0.95)
    thick, square = r.uniform(0.06, 0.1), r.uniform(2.0, 3.2)
    legs = r.uniform(0.12, 0.35)
    far = _arch(reach, -h - back, rise, square) + _at(lean + 0.05, 0)
    bag = [_Part(far, "trim", width=thick, tone=0.62)]
    bag += _depth(body, lean, -back, 0)
    opening = _points((-top, -h), (-top + lean, -h - back), (top + lean, -h - back), (top, -h))
    bag += [_Part(opening, "lining", puff=0), _Part(body, puff=r.uniform(0.2, 0.5))]
    bag += _shopping_trim(r, top, base, h)
    near = _arch(reach, -h, rise, square, legs)
    bag += [_Part(near[-12:] + _at(0.03, 0.03), "shadow", width=thick, tone=0.65)]
    bag += [_Part(near, "trim", width=thick)]
    for side in (-1, 1):
        patch = _rounded(_box(thick * 0.85, -h + legs - 0.08, -h + legs + 0.06), 0.02)
        bag += [_Part(patch + _at(side * reach, 0), "trim", puff=0.3, tone=1.1)]
        bag += [_dot(side * reach, -h + legs, 0.025)]
    return bag


def _shopping_trim(r: Generator, top: float, base: float, h: float) -> Bag:
    """A hem, a base, a print: what tells one tote from another."""
    kind = _either(r, "hem", "base", "print", "label", "plain")
    if kind == "hem":
        return _seam(_points((-top * 0.98, -h + 0.09), (top * 0.98, -h + 0.09)))
    if kind == "base":
        at = base + (top - base) * 0.2
        corners = _points((-at, h * 0.6), (at, h * 0.6), (base, h), (-base, h))
        return [_Part(_rounded(corners, (0.01, 0.01, 0.1, 0.1)), "trim", puff=0.2)]
    if kind == "print":
        outer = r.uniform(0.2, 0.34)
        inner = _ellipse((0, 0.08), outer * 0.55, outer * 0.55)
        return [_Part(_ellipse((0, 0.08), outer, outer), "trim", puff=0), _Part(inner, puff=0)]
    if kind == "label":
        return _over(_Part(_rounded(_box(0.2, -0.02, 0.16), 0.03), "trim", puff=0.2), 0.02)
    return []


def _tracolla(r: Generator) -> Bag:
    """A small firm crossbody with a flap, on a long thin strap or chain."""
    w, h = r.uniform(0.66, 0.82), r.uniform(0.44, 0.6)
    low = r.uniform(0.06, 0.5) * h
    camera = r.random() < 0.2
    body = _rounded(_box(w, -h, h), (0.1, 0.1, low, low))
    bag = _long_strap(r, w, h)
    bag += _depth(body, r.uniform(-0.09, 0.09), -r.uniform(0.04, 0.1), 0)
    bag += [_Part(body, puff=r.uniform(0.4, 0.7))]
    bag += _camera_front(r, w, h) if camera else _saddle_flap(r, w, h, low)
    return bag + [_ring(s * w * 0.99, -h * 0.72, 0.055) for s in (-1, 1)]


def _saddle_flap(r: Generator, w: float, h: float, low: float) -> Bag:
    tip = r.uniform(0.05, 0.6) * h
    round_ = max(low, 0.08) if r.random() < 0.6 else r.uniform(0.3, 0.6)
    flap = _rounded(_box(w * 1.015, -h - 0.01, tip), (0.1, 0.1, round_, round_))
    material = "trim" if r.random() < 0.15 else "body"
    bag = _over(_Part(flap, material, puff=0.5, tone=1.06), 0.06)
    bag += _seam(_inset(flap, 0.9)) if r.random() < 0.5 else []
    if r.random() < 0.25:
        tab = _rounded(_box(0.09, tip - 0.2, tip + 0.16), 0.05)
        bag += _over(_Part(tab, "trim"))
    return bag + (_clasp(r, 0, tip - 0.04) or [_dot(0, tip - 0.04, 0.06)])


def _camera_front(r: Generator, w: float, h: float) -> Bag:
    pocket = _rounded(_box(w * 0.8, -h * 0.25, h * 0.82), 0.08)
    bag = _zip(_points((-w * 0.85, -h * 0.72), (w * 0.8, -h * 0.72)), 0.045)
    bag += _over(_Part(pocket, puff=0.5, tone=1.05))
    if r.random() < 0.5:
        return bag + _seam(_inset(pocket, 0.9))
    tassel = _points((-0.02, -h * 0.7), (0.02, -h * 0.7), (0.06, h * 0.1), (-0.06, h * 0.1))
    return [*bag, _Part(tassel + _at(w * 0.82, 0), "trim", puff=0.3)]


def _long_strap(r: Generator, w: float, h: float) -> Bag:
    """Hung in a tall arch, or laid in a loose loop; leather or chain."""
    rise, lean, y = r.uniform(1.0, 1.5), r.uniform(-0.3, 0.3), -h * 0.72
    if r.random() < 0.65:
        path = _arch(w, y, rise, r.uniform(1.7, 2.4))
        path[:, 0] += np.float32(lean / rise) * (np.float32(y) - path[:, 1])
    else:
        out = w + r.uniform(0.1, 0.35)
        up, down = (-out, y - rise * 0.45), [(out, y - rise * 0.55), (w * 0.55, y - rise * 0.2)]
        path = _spline(_points((-w, y), up, (lean, y - rise * 0.8), *down, (w, y)))
    if r.random() < 0.35:
        return [_Part(path, "metal", width=0.07, finish="chain")]
    return [_Part(path, "trim", width=r.uniform(0.045, 0.07))]


def _zaino(r: Generator) -> Bag:
    """A backpack: two shoulder straps at its sides, a loop on top, a pocket in front."""
    w, h = r.uniform(0.6, 0.74), r.uniform(0.82, 0.98)
    dome, low = r.uniform(0.35, 0.75), r.uniform(0.12, 0.26)
    body = _rounded(_box(w, -h, h), (dome, dome, low, low))
    grip = _arch(r.uniform(0.12, 0.18), -h + 0.06, r.uniform(0.2, 0.28), 2.5)
    bag = [*_shoulder_straps(r, w, h), _Part(grip, "trim", width=0.07)]
    if r.random() < 0.45:
        inner, outer = w * 0.8, w + 0.12
        corners = _points((inner, h * 0.2), (outer, h * 0.26), (outer, h * 0.9), (inner, h * 0.95))
        side = _rounded(corners, 0.08)
        bag += [_Part(p, puff=0.6, tone=0.75) for p in (side, _mirror(side))]
    bag += [_Part(body, puff=r.uniform(0.7, 1.0))]
    bag += _pack_flap(r, w, h) if r.random() < 0.4 else _pack_zip(w, h, dome)
    return bag + _pack_pocket(r, w, h)


def _shoulder_straps(r: Generator, w: float, h: float) -> Bag:
    out, thick = w + r.uniform(0.2, 0.34), r.uniform(0.13, 0.18)
    pad = _points((0.2, -h + 0.04), (w * 0.85, -h), (out, -h * 0.45), (out * 0.99, h * 0.15))
    web = _points((out * 0.99, h * 0.12), (out * 0.9, h * 0.5), (w * 0.8, h * 0.86))
    bag: Bag = []
    for side in (_at(1, 1), _at(-1, 1)):
        bag += [_Part(_spline(web * side), "trim", width=thick * 0.4, tone=0.8)]
        bag += [_Part(_spline(pad * side), "trim", width=thick)]
        bag += _buckle(float(web[0, 0] * side[0]), float(web[0, 1]), thick * 0.55, 0.05)
    return bag


def _pack_zip(w: float, h: float, dome: float) -> Bag:
    inner = _arch(w * 0.82, -h + max(dome, 0.3) * 0.95, max(dome, 0.3) * 0.78, 2.6, 0.2)
    return _zip(inner, 0.045)


def _pack_flap(r: Generator, w: float, h: float) -> Bag:
    end = -h * r.uniform(-0.02, 0.2)
    flap = _rounded(_box(w * 1.02, -h, end), (0.4, 0.4, 0.25, 0.25))
    bag = _over(_Part(flap, puff=0.7, tone=1.06), 0.06)
    for side in (-1, 1) if r.random() < 0.6 else (0,):
        x = side * w * 0.45
        band = _points((x, -h * 0.8), (x, end + 0.14))
        bag += [_Part(band, "trim", width=0.1), *_buckle(x, end + 0.04, 0.085, 0.06)]
    return bag


def _pack_pocket(r: Generator, w: float, h: float) -> Bag:
    start = h * r.uniform(0.14, 0.28)
    shape = _rounded(_box(w * r.uniform(0.7, 0.84), start, h * 0.9), (0.12, 0.12, 0.2, 0.2))
    material = "trim" if r.random() < 0.2 else "body"
    bag = _over(_Part(shape, material, puff=0.9, tone=1.04))
    if r.random() < 0.75:
        bag += _zip(_points((-w * 0.55, start + 0.12), (w * 0.5, start + 0.12)), 0.04)
    return bag


_SHAPES: dict[str, Callable[[Generator], Bag]] = {
    "bauletto": _bauletto,
    "clutch": _clutch,
    "hobo": _hobo,
    "marsupio": _marsupio,
    "sacca": _sacca,
    "secchiello": _secchiello,
    "shopping": _shopping,
    "tracolla": _tracolla,
    "zaino": _zaino,
}


# ---------------------------------------------------------------------------- colour and texture


@dataclass(frozen=True)
class _Weave:
    """A texture's numbers: how fine, how turned, how strong, and 8 phases in [0, 2π)."""

    fine: float
    cos: float
    sin: float
    depth: float
    phases: Array

    def turned(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Bag coordinates in the texture's own axes, one period a 2π."""
        scale = np.float32(2 * math.pi * self.fine)
        return (
            scale * (np.float32(self.cos) * u + np.float32(self.sin) * v),
            scale * (np.float32(self.cos) * v - np.float32(self.sin) * u),
        )


# A texture maps bag coordinates u, v (H, W) to the share of the second colour, and a brightness.
Texture = Callable[[Array, Array, _Weave], tuple[Array, Array]]


def _edge(x: Array, sharp: float = 6.0) -> Array:
    """A wave made into bands with soft edges, in [0, 1]."""
    return np.asarray(np.clip(np.sin(x) * np.float32(sharp) + 0.5, 0, 1), dtype=np.float32)


def _plain(u: Array, _v: Array, _s: _Weave) -> tuple[Array, Array]:
    return np.zeros_like(u), np.ones_like(u)


def _leather(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    p, k = s.phases, np.float32(14 + 10 * s.fine)
    across = np.sin(k * u + p[0] + 2 * np.sin(k * np.float32(0.7) * v))
    grain = across * np.sin(k * v + p[1] + 2 * np.sin(k * u))
    return np.zeros_like(u), 1 + np.float32(0.12 * s.depth) * grain


def _quilt(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    k = np.float32(math.pi * 2.2 * s.fine)
    a, b = np.abs(np.sin(k * (u + v))), np.abs(np.sin(k * (u - v)))
    pillow = np.minimum(np.minimum(a, b) * np.float32(2.2), 1)
    return np.zeros_like(u), np.float32(1 - 0.5 * s.depth) + np.float32(0.55 * s.depth) * pillow


def _stripes(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    return _edge(s.turned(u, v)[0] + s.phases[0]), np.ones_like(u)


def _pinstripes(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    wave = np.sin(s.turned(u, v)[0] * 2)
    return np.clip(wave * 8 - 6.5, 0, 1), np.ones_like(u)


def _checks(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    x, y = s.turned(u, v)
    return (_edge(x) + _edge(y)) / 2, np.ones_like(u)


def _chess(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    x, y = s.turned(u, v)
    return np.clip(np.sin(x) * np.sin(y) * 6 + 0.5, 0, 1), np.ones_like(u)


def _dots(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    x, y = s.turned(u, v)
    return np.clip((np.cos(x) + np.cos(y) - 1.0) * 4, 0, 1), np.ones_like(u)


def _chevron(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    k = np.float32(2 * math.pi * s.fine)
    zigzag = np.abs(np.mod(u * np.float32(s.fine) * 2, 2) - 1)
    return _edge(k * v * 1.5 + zigzag * np.float32(math.pi)), np.ones_like(u)


def _woven(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    x, y = s.turned(u, v)
    over = np.sin(x * 1.5) * np.sin(y * 1.5)
    return np.zeros_like(u), 1 + np.float32(0.45 * s.depth) * np.clip(over * 3, -1, 0.4)


def _blotches(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    p, k = s.phases, np.float32(3 * s.fine)
    field = np.sin(k * u + p[0] + 1.7 * np.sin(k * v + p[1]))
    field += np.sin(k * 1.6 * v + p[2] + 1.9 * np.sin(k * 1.3 * u + p[3]))
    return np.clip(field * 5, 0, 1), np.ones_like(u)


def _two_tone(u: Array, v: Array, s: _Weave) -> tuple[Array, Array]:
    level = s.phases[0] / np.float32(2 * math.pi) - 0.5
    return np.clip((v - level + np.float32(0.4 * s.sin) * u) * 40, 0, 1), np.ones_like(u)


_TEXTURES: tuple[Texture, ...] = (
    _plain,
    _plain,
    _leather,
    _leather,
    _leather,
    _quilt,
    _stripes,
    _pinstripes,
    _checks,
    _chess,
    _dots,
    _chevron,
    _woven,
    _blotches,
    _two_tone,
)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    unit = (hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    red, green, blue = colorsys.hsv_to_rgb(*unit)
    return int(red * 255), int(green * 255), int(blue * 255)


def _any_colour(r: Generator) -> Colour:
    """Leather and cloth: mostly browns, greys and muted hues, some loud ones."""
    kind = r.random()
    if kind < 0.4:
        return _hsv(r.uniform(0.03, 0.12), r.uniform(0, 0.65), r.uniform(0.12, 0.95))
    if kind < 0.8:
        return _hsv(r.random(), r.uniform(0.15, 0.65), r.uniform(0.2, 0.85))
    return _hsv(r.random(), r.uniform(0.65, 0.95), r.uniform(0.4, 0.95))


@dataclass(frozen=True)
class _Style:
    """Colours by material, (3,) in [0, 255], and the body's texture; knows nothing of the class."""

    colours: Mapping[str, Array]
    texture: Texture
    weave: _Weave
    gloss: float
    light: XY

    def body(self, u: Array, v: Array) -> Array:
        """The textured colour (3, H, W) at places of bag space."""
        base = self.colours["body"][:, None, None]
        share, bright = self.texture(u, v, self.weave)
        mixed = base + share * (self.colours["second"][:, None, None] - base)
        return np.asarray(mixed * bright, dtype=np.float32)


def _style(r: Generator) -> _Style:
    body, second = _any_colour(r), _any_colour(r)
    trim = body if r.random() < 0.3 else _any_colour(r)
    dark = tuple(int(c * 0.8) for c in trim) if trim == body else trim
    metal = _hsv(0.12, r.choice([0.05, 0.1, 0.55]), r.uniform(0.6, 0.95))
    cord = _any_colour(r) if r.random() < 0.6 else _hsv(0.1, 0.15, 0.9)
    lining = _hsv(r.random(), r.uniform(0, 0.4), r.uniform(0.08, 0.2))
    stitch = _hsv(0.11, r.uniform(0, 0.4), r.uniform(0.75, 1.0))
    named = {"body": body, "second": second, "trim": dark, "metal": metal, "cord": cord}
    named |= {"lining": lining, "stitch": stitch}
    turn = r.choice([0.0, math.pi / 2, math.pi / 4, r.uniform(0, math.pi)])
    phases = r.uniform(0, 2 * math.pi, 8).astype(np.float32)
    weave = _Weave(r.uniform(1.2, 3.6), math.cos(turn), math.sin(turn), r.uniform(0.5, 1), phases)
    light = r.uniform(-math.pi * 0.9, -math.pi * 0.1)
    return _Style(
        {name: np.array(c, dtype=np.float32) for name, c in named.items()},
        _TEXTURES[int(r.integers(len(_TEXTURES)))],
        weave,
        r.uniform(0, 0.5) if r.random() < 0.6 else 0.0,
        (math.cos(light), math.sin(light)),
    )


# ---------------------------------------------------------------------------- pose and painting


@dataclass(frozen=True)
class _Pose:
    """A homography (3, 3) from bag space to oversampled pixels, and its scale there."""

    matrix: npt.NDArray[np.float64]
    inverse: Array
    scale: float

    def __call__(self, points: Array) -> Array:
        x = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.matrix.T
        return (x[:, :2] / x[:, 2:]).astype(np.float32)

    def back(self, box: tuple[int, int, int, int]) -> tuple[Array, Array]:
        """Bag coordinates u, v (H, W) of the pixels in a box (left, top, right, bottom)."""
        m = self.inverse
        x = np.arange(box[0], box[2], dtype=np.float32)[None, :]
        y = np.arange(box[1], box[3], dtype=np.float32)[:, None]
        z = m[2, 0] * x + (m[2, 1] * y + m[2, 2])
        return (m[0, 0] * x + (m[0, 1] * y + m[0, 2])) / z, (
            m[1, 0] * x + (m[1, 1] * y + m[1, 2])
        ) / z


def _area(polygon: Array) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _pose(bag: Bag, size: tuple[int, int], r: Generator) -> _Pose:
    """Where the bag stands: turned, mirrored, sheared, seen a little askew, and in the frame."""
    turn = float(np.clip(r.normal(0, 0.15 if r.random() < 0.8 else 0.45), -0.9, 0.9))
    flip = float(r.choice([-1, 1]))
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = linear @ np.array([[flip * r.uniform(0.88, 1.08), r.uniform(-0.08, 0.08)], [0, 1]])
    tilt = r.uniform(-0.1, 0.1, 2)
    points = np.concatenate([part.points for part in bag]) @ linear.T
    low, high = points.min(axis=0) - 0.06, points.max(axis=0) + 0.06
    frame, extent = np.array(size, dtype=float), high - low
    area = max(_area(part.points) for part in bag if part.width == 0)
    scale = float(
        min(
            r.uniform(0.88, 1.06) * (frame / extent).min(),
            math.sqrt(r.uniform(0.24, 0.46) * frame.prod() / area),
        )
    )
    slack = np.abs(frame - scale * extent) / 2
    centre = frame / 2 + slack * r.uniform(-0.85, 0.85, 2)
    inner = np.eye(3)
    inner[:2, :2] = linear
    inner[:2, 2] = -(low + high) / 2
    outer = np.array([[scale, 0, 0], [0, scale, 0], [*tilt, 1]])
    move = np.array([[1, 0, centre[0]], [0, 1, centre[1]], [0, 0, 1]])
    matrix = move @ outer @ inner
    return _Pose(matrix, np.linalg.inv(matrix).astype(np.float32), scale)


@dataclass(frozen=True)
class _Look:
    """What shading a part needs: where its box stands on the canvas, and the light."""

    pose: _Pose
    corner: tuple[int, int]
    light: XY
    gloss: float

    @property
    def scale(self) -> float:
        """Oversampled pixels a unit of bag space."""
        return self.pose.scale

    def place(self, points: Array) -> Array:
        """Bag space to pixels of the box."""
        return self.pose(points) - _at(*self.corner)


class _Canvas:
    """The bag as it is painted: colour (3, H, W) and where it is (H, W), oversampled."""

    def __init__(self, size: tuple[int, int], pose: _Pose, style: _Style) -> None:
        self.rgb = np.zeros((3, size[1], size[0]), dtype=np.float32)
        self.covered = np.zeros((size[1], size[0]), dtype=bool)
        self._pose, self._style = pose, style

    def paint(self, part: _Part) -> None:
        """Put one part over what is there."""
        points, width = self._pose(part.points), part.width * self._pose.scale
        box = self._box(points, width)
        if box is None:
            return
        left, top, right, bottom = box
        here = np.s_[top:bottom, left:right]
        local = points - _at(left, top)
        stencil = _stencil(local, width, part.finish, (right - left, bottom - top))
        if part.material == "shadow":
            soft = np.asarray(stencil.filter(ImageFilter.BoxBlur(2)), dtype=np.float32)
            self.rgb[:, *here] *= 1 - np.float32((1 - part.tone) / 255) * soft
            return
        look = _Look(self._pose, (left, top), self._style.light, self._style.gloss)
        shade = (_stroke_shade if width > 0 else _panel_shade)(stencil, local, part, look)
        shade = shade * np.float32(part.tone)
        on = np.asarray(stencil) != 0
        for plane, colour in zip(self.rgb, self._colours(part.material, box), strict=True):
            np.copyto(plane[here], colour * shade, where=on)
        self.covered[here] |= on

    def _colours(self, material: str, box: tuple[int, int, int, int]) -> Array:
        """Red, green and blue before they are shaded, (3,) or (3, H, W): the body has texture."""
        if material != "body":
            return self._style.colours[material]
        return self._style.body(*self._pose.back(box))

    def picture(self) -> Image.Image:
        """The colours as an image, black where nothing was painted."""
        planes = np.clip(self.rgb, 0, 255).astype(np.uint8)
        return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])

    def _box(self, points: Array, width: float) -> tuple[int, int, int, int] | None:
        pad = width / 2 + 2
        high, wide = self.covered.shape
        low, past = points.min(axis=0) - pad, points.max(axis=0) + pad
        left, top = (max(0, math.floor(x)) for x in low.tolist())
        right, bottom = (
            min(n, math.ceil(x)) for x, n in zip(past.tolist(), (wide, high), strict=True)
        )
        return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


def _flat(points: Array) -> list[XY]:
    return [(x, y) for x, y in points.tolist()]


def _dashes(points: Array, step: float) -> Iterator[list[XY]]:
    """Every second step of the curve."""
    even = _flat(_even(points, step))
    for i in range(0, len(even) - 1, 2):
        yield even[i : i + 2]


def _stencil(points: Array, width: float, finish: str, size: tuple[int, int]) -> Image.Image:
    """Where a part is: 255, elsewhere 0."""
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    if width <= 0:
        draw.polygon(_flat(points), fill=255)
    elif finish == "stitch":
        for dash in _dashes(points, max(width * 1.6, 2.5)):
            draw.line(dash, fill=255, width=max(1, round(width)))
    else:
        path = _flat(points)
        draw.line(path, fill=255, width=max(2, round(width)))
        half = width / 2 - 0.5
        if half > 2:  # a wide line is drawn as separate bars: fill the wedges between them
            for x, y in path[1:-1]:
                draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
    return image


def _stroke_shade(stencil: Image.Image, points: Array, part: _Part, look: _Look) -> Array:
    """Brightness across a strap, cord, chain or zip: dark edges, a lit ridge towards the light."""
    image = Image.new("L", stencil.size, 66)
    draw, width = ImageDraw.Draw(image), part.width * look.scale
    draw.line(_flat(points), fill=100, width=max(1, round(width * 0.82)))
    if part.finish == "plain":
        ridge = points + _at(*look.light) * np.float32(width * 0.08)
        draw.line(_flat(ridge), fill=114, width=max(1, round(width * 0.5)))
    else:
        dark = 70 if part.finish == "cord" else 25
        for dash in _dashes(points, max(width * 0.55, 2.0)):
            draw.line(dash, fill=dark, width=max(1, round(width)))
    return np.asarray(image, dtype=np.float32) / 100


def _panel_shade(stencil: Image.Image, points: Array, part: _Part, look: _Look) -> Array:
    """Brightness over a panel, about 1: it bulges, it is lit from one side, its rim is dark."""
    small = stencil.reduce(2)
    reach = min(small.size)
    lines = Image.new("L", small.size, 100)
    if part.creases:
        _draw_creases(lines, [look.place(c) for c in part.creases], max(1, round(reach * 0.03)))
        lines = lines.filter(ImageFilter.BoxBlur(max(1, reach * 0.012)))
    rim = _flat(np.concatenate([points, points[:1]]) / 2)
    ImageDraw.Draw(lines).line(rim, fill=68, width=1)
    shade = np.asarray(lines, dtype=np.float32) / 100
    if part.puff > 0 and reach >= 4:
        relief = _relief(small, reach * 0.06, look.light) * np.float32(0.22)
        if part.puff > 0.3:
            relief += _bulge(small, reach * 0.22, look.light) * np.float32(0.3 * part.puff)
        shine = np.clip(relief * np.float32(2.5) - np.float32(0.2), 0, 1) ** 2
        shade = shade + relief + np.float32(look.gloss) * shine
    grown = Image.fromarray(np.clip(shade, 0.25, 1.9))
    return np.asarray(grown.resize(stencil.size, Image.Resampling.BILINEAR), dtype=np.float32)


def _draw_creases(image: Image.Image, creases: list[Array], width: int) -> None:
    """A dark line and a light one beside it, at half the canvas's resolution."""
    draw = ImageDraw.Draw(image)
    for crease in creases:
        draw.line(_flat(crease / 2), fill=55, width=width)
        draw.line(_flat(crease / 2 + _at(width, 0)), fill=128, width=width)


def _relief(stencil: Image.Image, radius: float, light: XY) -> Array:
    """Lambert's light on the stencil blown up like a cushion (H, W), about [-1, 1]."""
    radius = max(1.0, radius)
    height = np.asarray(stencil.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    scale = np.float32(radius / 200)
    lit = np.zeros_like(height)
    lit[:, 1:-1] = (height[:, :-2] - height[:, 2:]) * np.float32(light[0])
    lit[1:-1] += (height[:-2] - height[2:]) * np.float32(light[1])
    return lit * scale


def _bulge(stencil: Image.Image, radius: float, light: XY) -> Array:
    """A wide relief, worked out on a quarter of the resolution."""
    coarse = Image.fromarray(_relief(stencil.reduce(4), radius / 4, light))
    return np.array(coarse.resize(stencil.size, Image.Resampling.BILINEAR), dtype=np.float32)


# ---------------------------------------------------------------------------- backgrounds


@dataclass(frozen=True)
class _Family:
    """A kind of background: how to draw it, then the grain (cell in pixels: x, y; strength)."""

    draw: Callable[[Image.Image, Generator], None]
    cell: XY
    strength: float


def _shift(colour: Colour, by: float) -> Colour:
    red, green, blue = (int(min(max(c + by, 0), 255)) for c in colour)
    return red, green, blue


def _polar(centre: XY, turn: float, x: float, y: float) -> XY:
    c, s = math.cos(turn), math.sin(turn)
    return centre[0] + c * x - s * y, centre[1] + s * x + c * y


def _quad(centre: XY, turn: float, box: tuple[float, float, float, float]) -> list[XY]:
    """The corners of a box (left, top, right, bottom) turned about a centre."""
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [_polar(centre, turn, x, y) for x, y in corners]


def _wood(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    base = _hsv(r.uniform(0.04, 0.11), r.uniform(0.15, 0.65), r.uniform(0.35, 0.85))
    planks = int(r.integers(4, 9))
    for i in range(planks):
        y = h * i / planks
        draw.rectangle((0, y, w, y + h / planks), fill=_shift(base, r.uniform(-22, 22)))
        draw.line((0, y, w, y), fill=_shift(base, -70), width=2)
        x = r.uniform(0, w)
        draw.line((x, y, x, y + h / planks), fill=_shift(base, -60), width=2)


def _wall(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    wall = _hsv(r.random(), r.uniform(0.05, 0.5), r.uniform(0.5, 0.95))
    floor = _hsv(r.uniform(0.02, 0.12), r.uniform(0.1, 0.5), r.uniform(0.25, 0.7))
    level = h * r.uniform(0.62, 0.85)
    draw.rectangle((0, 0, w, level), fill=wall)
    draw.rectangle((0, level, w, h), fill=floor)
    draw.rectangle((0, level - h * 0.05, w, level), fill=_shift(wall, 35))
    draw.line((0, level, w, level), fill=_shift(floor, -50), width=3)
    for _ in range(int(r.integers(1, 3))):
        x, y = w * r.uniform(0, 0.8), h * r.uniform(0, 0.3)
        frame = (x, y, x + w * r.uniform(0.15, 0.35), y + h * r.uniform(0.15, 0.3))
        draw.rectangle(frame, fill=_any_colour(r), outline=_any_colour(r), width=5)


def _tiles(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    one = _hsv(r.random(), r.uniform(0, 0.35), r.uniform(0.55, 0.97))
    other = _hsv(r.random(), r.uniform(0.1, 0.7), r.uniform(0.25, 0.8)) if r.random() < 0.6 else one
    draw.rectangle((0, 0, w, h), fill=_shift(one, -60))
    side, turn = min(w, h) * r.uniform(0.14, 0.26), r.choice([0, math.pi / 4]) + r.normal(0, 0.06)
    reach = int(max(w, h) * 0.75 / side) + 1
    for i in range(-reach, reach):
        for j in range(-reach, reach):
            box = (i * side, j * side, (i + 1) * side - 4, (j + 1) * side - 4)
            colour = _shift(one if (i + j) % 2 else other, r.uniform(-10, 10))
            draw.polygon(_quad((w / 2, h / 2), turn, box), fill=colour)


def _grass(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    hue = r.uniform(0.2, 0.36)
    draw.rectangle((0, 0, w, h), fill=_hsv(hue, r.uniform(0.5, 0.8), r.uniform(0.25, 0.5)))
    blades = r.uniform(0, 1, (260, 6)).tolist()
    for x, y, lean, tall, tint, light in blades:
        foot, tip = (x * w, y * h), (x * w + (lean - 0.5) * 24, y * h - 10 - tall * 26)
        green = _hsv(hue + (tint - 0.5) * 0.1, 0.7, 0.25 + 0.5 * light)
        draw.line((foot, tip), fill=green, width=3)
    for _ in range(int(r.integers(0, 9))):
        x, y = r.uniform(0, w), r.uniform(0, h)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_any_colour(r))


def _studio(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    hue, saturation = r.random(), r.uniform(0, 0.55)
    high, low = r.uniform(0.5, 1.0, 2)
    bend = r.uniform(0.5, 0.8)
    for i in range(0, h, 4):
        t = i / h
        value = high + (low - high) * (1 / (1 + math.exp((bend - t) * 16)))
        draw.rectangle((0, i, w, i + 4), fill=_hsv(hue, saturation, value - 0.15 * abs(t - bend)))


def _brick(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    base = _hsv(r.uniform(-0.02, 0.07), r.uniform(0.1, 0.75), r.uniform(0.4, 0.85))
    draw.rectangle((0, 0, w, h), fill=_hsv(0.1, r.uniform(0, 0.2), r.uniform(0.5, 0.9)))
    tall = h / int(r.integers(8, 14))
    wide = tall * r.uniform(2, 2.8)
    for row in range(int(h / tall) + 1):
        for column in range(-1, int(w / wide) + 1):
            x, y = (column + 0.5 * (row % 2)) * wide, row * tall
            colour = _shift(base, r.uniform(-28, 28))
            draw.rectangle((x, y, x + wide - 4, y + tall - 4), fill=colour)


def _rug(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    colours = [_hsv(r.random(), r.uniform(0.4, 0.9), r.uniform(0.25, 0.8)) for _ in range(4)]
    turn, side = r.normal(0, 0.15), max(w, h) * r.uniform(0.5, 0.75)
    for i in range(7):
        half = side * (1 - i * 0.13)
        draw.polygon(_quad((w / 2, h / 2), turn, (-half, -half, half, half)), fill=colours[i % 4])
    step = side * r.uniform(0.13, 0.2)
    for i in range(-5, 6):
        for j in range(-5, 6):
            at = _polar((w / 2, h / 2), turn, i * step, j * step)
            box = (-step * 0.3, -step * 0.3, step * 0.3, step * 0.3)
            draw.polygon(_quad(at, turn + math.pi / 4, box), fill=colours[(i * j + 1) % 4])


def _lights(image: Image.Image, r: Generator) -> None:
    w, h = image.size
    draw = ImageDraw.Draw(image, "RGBA")
    night = _hsv(r.uniform(0.55, 0.8), r.uniform(0.3, 0.9), r.uniform(0.06, 0.3))
    draw.rectangle((0, 0, w, h), fill=night)
    for _ in range(int(r.integers(18, 40))):
        x, y, radius = r.uniform(0, w), r.uniform(0, h), min(w, h) * r.uniform(0.02, 0.1)
        colour = _hsv(r.choice([r.random(), 0.1, 0.13]), r.uniform(0.2, 0.9), 1.0)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=(*colour, int(r.integers(60, 180))))


def _shelves(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    wood = _hsv(r.uniform(0.04, 0.1), r.uniform(0.1, 0.6), r.uniform(0.3, 0.9))
    draw.rectangle((0, 0, w, h), fill=_shift(wood, -60))
    rows = int(r.integers(2, 5))
    tall = h / rows
    for row in range(rows):
        x, foot = r.uniform(-20, 0), (row + 1) * tall
        while x < w:
            thick = w * r.uniform(0.03, 0.09)
            top = foot - tall * r.uniform(0.55, 0.9)
            colour = _any_colour(r)
            draw.rectangle((x, top, x + thick, foot), fill=colour, outline=_shift(colour, -50))
            draw.line((x + 1, top + 10, x + thick - 1, top + 10), fill=_shift(colour, 60), width=5)
            x += thick + (w * 0.1 if r.random() < 0.1 else 1)
        draw.rectangle((0, foot - 7, w, foot + 3), fill=wood)


_FAMILIES: dict[str, _Family] = {
    "wood": _Family(_wood, (14, 1.5), 26),
    "wall": _Family(_wall, (3, 3), 9),
    "tiles": _Family(_tiles, (8, 8), 8),
    "grass": _Family(_grass, (5, 5), 30),
    "studio": _Family(_studio, (30, 30), 7),
    "brick": _Family(_brick, (2, 2), 24),
    "rug": _Family(_rug, (1.5, 1.5), 16),
    "lights": _Family(_lights, (20, 20), 12),
    "shelves": _Family(_shelves, (4, 10), 12),
}
BACKGROUNDS: tuple[str, ...] = tuple(_FAMILIES)
"""The families of background; ``BACKGROUNDS[k]`` is the own one of ``CLASSES[k]``."""


def _noise(r: Generator, size: tuple[int, int], cell: XY) -> Array:
    """Smooth noise (H, W) in [-1, 1] with cells of the given size."""
    coarse = (max(2, int(size[1] / cell[1])), max(2, int(size[0] / cell[0])))
    image = Image.fromarray(r.integers(0, 256, coarse, dtype=np.uint8))
    grown = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(grown, dtype=np.float32) / np.float32(127.5) - 1


def _clutter(image: Image.Image, r: Generator) -> None:
    """A few things that lie about; which ones tells nothing of class or family."""
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(r.integers(2, 7))):
        angle = r.uniform(0, 2 * math.pi)
        reach = r.uniform(0.5, 1.05)
        centre = (
            image.width * (0.5 + 0.5 * reach * math.cos(angle)),
            image.height * (0.5 + 0.5 * reach * math.sin(angle)),
        )
        scale = min(image.size) * r.uniform(0.06, 0.16)
        _THINGS[int(r.integers(len(_THINGS)))](draw, r, centre, scale)


def _disc(centre: XY, radius: float) -> tuple[float, float, float, float]:
    return centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius


def _book(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    turn, colour, tall = r.uniform(0, math.pi), _any_colour(r), scale * 1.4
    cover, spine = (-scale, -tall, scale, tall), (-scale, -tall, -scale * 0.75, tall)
    title = (-scale * 0.4, -scale, scale * 0.7, -scale * 0.6)
    draw.polygon(_quad((at[0] + 5, at[1] + 6), turn, cover), fill=(0, 0, 0, 90))
    draw.polygon(_quad(at, turn, cover), fill=colour)
    draw.polygon(_quad(at, turn, spine), fill=_shift(colour, -45))
    draw.polygon(_quad(at, turn, title), fill=_shift(colour, 60))


def _cup(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    colour, drink = _any_colour(r), _hsv(r.uniform(0.03, 0.12), 0.7, r.uniform(0.15, 0.5))
    handle = _polar(at, r.uniform(0, 2 * math.pi), scale, 0)
    draw.ellipse(_disc((at[0] + 6, at[1] + 7), scale), fill=(0, 0, 0, 90))
    draw.ellipse(_disc(handle, scale * 0.45), outline=colour, width=max(2, int(scale * 0.18)))
    draw.ellipse(_disc(at, scale), fill=colour)
    draw.ellipse(_disc(at, scale * 0.8), fill=drink)


def _pen(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    turn, colour, long = r.uniform(0, math.pi), _any_colour(r), scale * 1.8
    barrel = (-long, -scale * 0.13, long, scale * 0.13)
    cap = (scale * 1.1, -scale * 0.14, long, scale * 0.14)
    draw.polygon(_quad((at[0] + 3, at[1] + 4), turn, barrel), fill=(0, 0, 0, 80))
    draw.polygon(_quad(at, turn, barrel), fill=colour)
    draw.polygon(_quad(at, turn, cap), fill=_shift(colour, -60))


def _ball(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    colour = _any_colour(r)
    draw.ellipse(_disc((at[0] + 5, at[1] + 7), scale), fill=(0, 0, 0, 90))
    for i in range(4):
        middle = (at[0] - i * scale * 0.08, at[1] - i * scale * 0.1)
        draw.ellipse(_disc(middle, scale * (1 - i * 0.22)), fill=_shift(colour, i * 16 - 16))


def _plant(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    for turn in r.uniform(0, 2 * math.pi, 7):
        green = _hsv(r.uniform(0.22, 0.42), r.uniform(0.4, 0.9), r.uniform(0.25, 0.7))
        tip = _polar(at, turn, scale * 1.6, 0)
        sides = [_polar(at, turn, scale * 0.8, s * scale * 0.35) for s in (-1, 1)]
        draw.polygon([at, sides[0], tip, sides[1]], fill=green, outline=_shift(green, -30))


def _paper(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    turn, box = r.uniform(0, math.pi), (-scale, -scale * 1.3, scale, scale * 1.3)
    draw.polygon(_quad((at[0] + 3, at[1] + 4), turn, box), fill=(0, 0, 0, 70))
    draw.polygon(_quad(at, turn, box), fill=_hsv(r.random(), 0.06, 0.95))
    for i in range(-4, 5, 2):
        y = i * scale * 0.25
        line = (_polar(at, turn, -scale * 0.7, y), _polar(at, turn, scale * 0.6, y))
        draw.line(line, fill=(90, 90, 100), width=2)


_THINGS = (_book, _cup, _pen, _ball, _plant, _paper)


def _scene(family: str, size: tuple[int, int], r: Generator) -> Array:
    """A background (H, W, 3) in [0, 255] with clutter, out of focus to some degree."""
    kind = _FAMILIES[family]
    big = Image.new("RGB", (size[0] * _OVERSAMPLE, size[1] * _OVERSAMPLE))
    kind.draw(big, r)
    if family == "lights":
        big = big.filter(ImageFilter.BoxBlur(2))
    _clutter(big, r)
    image = big.reduce(_OVERSAMPLE)
    if r.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 1.6)))
    scale = min(size) / 96
    grain = _noise(r, size, (kind.cell[0] * scale, kind.cell[1] * scale))
    return np.asarray(image, dtype=np.float32) + np.float32(kind.strength) * grain[..., None]


# ---------------------------------------------------------------------------- one picture


def draw_bag(
    seed: int | Sequence[int], class_name: str, background: str, size: tuple[int, int] = (96, 96)
) -> tuple[Image.Image, Image.Image]:
    """One bag on one background: the picture (RGB) and its mask (L; 255 on the bag, else 0).

    ``size`` is (width, height) in pixels. Bag, scene and camera have their own random streams, so
    the same seed on another background is the same bag, in the same pose and light. The mask has
    handles and straps, but neither the hole of a handle nor the shadow.

    Raises ``ValueError`` for an unknown class or background, or a size below 32.
    """
    _check_names(class_name, background, size)
    key = [seed] if isinstance(seed, int) else list(seed)
    bag_rng, scene_rng, camera_rng = (default_rng([*key, stream]) for stream in (1, 2, 3))
    style = _style(bag_rng)
    bag = _SHAPES[class_name](bag_rng)
    big = (size[0] * _OVERSAMPLE, size[1] * _OVERSAMPLE)
    canvas = _Canvas(big, _pose(bag, big, bag_rng), style)
    for part in bag:
        canvas.paint(part)
    cover = Image.fromarray(canvas.covered.astype(np.uint8) * 255).reduce(_OVERSAMPLE)
    painted = canvas.picture().reduce(_OVERSAMPLE)
    alpha = np.asarray(cover, dtype=np.float32)[..., None] / 255
    scene = _scene(background, size, scene_rng) * _cast_shadow(cover, style.light, camera_rng)
    # What was not painted is black, so the reduced colours are already weighted by alpha.
    picture = np.asarray(painted, dtype=np.float32) + scene * (1 - alpha)
    image = _photograph(picture, style.light, camera_rng)
    return image, cover.point(lambda value: 255 if value >= 128 else 0)


def _check_names(class_name: str, background: str, size: tuple[int, int]) -> None:
    if class_name not in _SHAPES:
        raise ValueError(f"no class is called {class_name!r}; there are {', '.join(CLASSES)}")
    if background not in _FAMILIES:
        known = ", ".join(BACKGROUNDS)
        raise ValueError(f"no background is called {background!r}; there are {known}")
    if not 32 <= min(size) <= max(size) <= _LARGEST_SIDE * 2:
        raise ValueError(f"a side must have 32 to {_LARGEST_SIDE * 2} pixels, not {size}")


def _cast_shadow(cover: Image.Image, light: XY, r: Generator) -> Array:
    """How much of the scene's light is left (H, W, 1): a soft shadow away from the light."""
    reach, dark = min(cover.size) * r.uniform(0.02, 0.07), r.uniform(0.25, 0.6)
    shifted = Image.new("L", cover.size)
    shifted.paste(cover, (round(-light[0] * reach), round(-light[1] * reach)))
    soft = shifted.filter(ImageFilter.GaussianBlur(reach * 0.6 + 1))
    return 1 - np.float32(dark / 255) * np.asarray(soft, dtype=np.float32)[..., None]


def _photograph(picture: Array, light: XY, r: Generator) -> Image.Image:
    """The camera's part: uneven light, exposure, colour cast, contrast, noise, a little blur."""
    high, wide = picture.shape[:2]
    x = np.linspace(-1, 1, wide, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, high, dtype=np.float32)[:, None]
    falloff = np.float32(r.uniform(0, 0.22)) * (x * np.float32(light[0]) + y * np.float32(light[1]))
    vignette = np.float32(r.uniform(0, 0.14)) * (x * x + y * y)
    cast = r.uniform(0.85, 1.15) * r.uniform(0.93, 1.07, 3)
    lit = picture * (1 + falloff - vignette)[..., None] * cast.astype(np.float32)
    noise = r.standard_normal((high, wide, 1), dtype=np.float32) * np.float32(r.uniform(0.5, 5))
    graded = (lit - 128) * np.float32(r.uniform(0.85, 1.12)) + 128 + noise
    image = Image.fromarray(np.clip(graded, 0, 255).astype(np.uint8))
    if r.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 0.8)))
    return image


# ---------------------------------------------------------------------------- a whole study


@dataclass(frozen=True)
class _Entry:
    """One image to draw: what it is, and what its pixels depend on."""

    path: str
    split: str
    class_name: str
    background: str
    size: tuple[int, int]
    key: tuple[int, ...]


def _entry(spec: BagsSpec, split: str, label: int | None, i: int) -> _Entry:
    """Image ``i`` of a split (and class): it depends on no other image and no count."""
    key = (spec.seed, SPLITS.index(split), len(CLASSES) if label is None else label, i)
    r = default_rng([*key, 0])
    drawn, own, other, shape = r.random(4)
    if label is None:
        odds = np.ones(len(CLASSES)) if spec.balanced else np.array(REFERENCE_COUNTS, dtype=float)
        label = int(np.searchsorted(np.cumsum(odds / odds.sum())[:-1], drawn, side="right"))
        path = f"unlabeled/{i:06d}"
    else:
        path = f"labeled/{split}/{CLASSES[label]}/{i:06d}"
    family = label if own < spec.shortcut_of(split) else int(other * len(BACKGROUNDS))
    across, down = _ASPECTS[int(shape * len(_ASPECTS))]
    unit = spec.size / min(across, down)
    size = (round(across * unit), round(down * unit))
    return _Entry(path, split, CLASSES[label], BACKGROUNDS[family], size, key)


def _entries(spec: BagsSpec) -> list[_Entry]:
    pool = [_entry(spec, "pool", None, i) for i in range(spec.pool)]
    labelled = [
        _entry(spec, split, label, i)
        for split in SPLITS[1:]
        for label in range(len(CLASSES))
        for i in range(spec.per_class(split))
    ]
    return pool + labelled


def generate(
    folder: Path, spec: BagsSpec, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write the study a spec describes, and return ``folder``.

    ``unlabeled/*.jpg``, ``labeled/<split>/<class>/*.jpg``, ``masks/<the same path>.png``, and
    ``bags.json`` with the spec and each image's class and background family, the pool's too.
    A folder that already holds this spec is left as it is. Everything is written beside
    ``folder`` and moved into place at the end, so an interrupted generation leaves no ``folder``.
    ``progress`` is told (images done, images in all) after each image.

    Raises ``ValueError`` if ``folder`` holds anything else.
    """
    folder = Path(folder)
    if _is_done(folder, spec):
        return folder
    building = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(building, ignore_errors=True)
    try:
        _write(building, spec, progress)
        if not _is_done(folder, spec):  # another process may have been faster
            if folder.exists():
                folder.rmdir()  # empty, or _is_done would have refused; Windows moves onto nothing
            os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _is_done(folder: Path, spec: BagsSpec) -> bool:
    """Whether the folder holds this spec; a ``ValueError`` if it holds something else."""
    marker = folder / "bags.json"
    if marker.is_file():
        stored = json.loads(marker.read_text(encoding="utf8"))
        if stored.get("version") == VERSION and stored.get("spec") == asdict(spec):
            return True
        raise ValueError(f"{folder} holds bags of another spec; choose another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose another folder")
    return False


def _write(folder: Path, spec: BagsSpec, progress: Callable[[int, int], None] | None) -> None:
    entries = _entries(spec)
    for parent in sorted({Path(e.path).parent for e in entries}):
        (folder / parent).mkdir(parents=True, exist_ok=True)
        (folder / "masks" / parent).mkdir(parents=True, exist_ok=True)
    for done, entry in enumerate(entries, start=1):
        image, mask = draw_bag(entry.key, entry.class_name, entry.background, entry.size)
        image.save(folder / f"{entry.path}.jpg", quality=spec.quality)
        mask.convert("1").save(folder / "masks" / f"{entry.path}.png")
        if progress is not None:
            progress(done, len(entries))
    images = [
        {
            "path": f"{entry.path}.jpg",
            "split": entry.split,
            "class": entry.class_name,
            "background": entry.background,
        }
        for entry in entries
    ]
    record = {"version": VERSION, "spec": asdict(spec), "images": images}
    temporary = folder / "bags.json.tmp"
    temporary.write_text(json.dumps(record, indent=1), encoding="utf8")
    os.replace(temporary, folder / "bags.json")


def contact_sheet(
    source: Path | Mapping[str, Sequence[Image.Image]], columns: int = 8, cell: int = 96
) -> Image.Image:
    """A sheet of pictures, a row a class (or a row a name), each in a square of ``cell`` pixels.

    ``source`` is a folder that ``generate`` wrote (labelled images come first) or pictures by name.
    """
    rows = _first_of_each(source, columns) if isinstance(source, Path) else source
    margin = 72
    sheet = Image.new("RGB", (margin + columns * cell, max(1, len(rows)) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (name, pictures) in enumerate(rows.items()):
        draw.text((4, y * cell + cell // 2 - 6), name, fill="black")
        for x, picture in enumerate(pictures[:columns]):
            small = picture.convert("RGB")
            small.thumbnail((cell - 2, cell - 2), Image.Resampling.LANCZOS)
            left = margin + x * cell + (cell - small.width) // 2
            sheet.paste(small, (left, y * cell + (cell - small.height) // 2))
    return sheet


def _first_of_each(folder: Path, columns: int) -> dict[str, list[Image.Image]]:
    record: dict[str, Any] = json.loads((folder / "bags.json").read_text(encoding="utf8"))
    images = sorted(record["images"], key=lambda image: image["split"] == "pool")
    rows: dict[str, list[Image.Image]] = {}
    for name in CLASSES:
        paths = [image["path"] for image in images if image["class"] == name][:columns]
        rows[name] = [Image.open(folder / path).convert("RGB") for path in paths]
    return rows
