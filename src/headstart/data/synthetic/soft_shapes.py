"""The soft shapes: bags of cloth and supple leather, which sag, gather and fold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from headstart.data.synthetic.curves import (
    Array,
    arch,
    coords,
    ellipse,
    mirrored,
    rectangle,
    rounded,
    spline,
    vector,
)
from headstart.data.synthetic.parts import (
    Bag,
    Part,
    buckle,
    depth,
    dot,
    either,
    gathers,
    overlay,
    ring,
    seam,
    zipper,
)


def hobo(r: Generator) -> Bag:
    """A soft crescent that hangs from one wide shoulder strap."""
    horn, sag = r.uniform(0.72, 0.9), r.uniform(0.22, 0.42)
    deep, lean = r.uniform(0.5, 0.72), r.uniform(-0.12, 0.12)
    wide, top = r.uniform(0.07, 0.12), -0.5
    side = [(horn + wide, top), (1.0, -0.1), (0.86, deep * 0.6)]
    dip = top + sag * 0.8
    edge = [(-horn + wide, top), (-0.45, dip), (lean / 2, top + sag), (0.45, dip)]
    left = [(-x, y) for x, y in reversed(side)]
    body = spline(coords(*side, (lean, deep), *left, *edge, (horn - wide, top)), closed=True)
    strap = arch(horn, top + 0.08, r.uniform(0.5, 1.05), r.uniform(1.8, 2.5))
    mouth = spline(coords(*edge, (horn - wide, top)))
    material = "body" if r.random() < 0.5 else "trim"
    bag = [Part(strap, material, width=2 * wide * r.uniform(0.75, 1.0))]
    bag += seam(strap) if r.random() < 0.35 else []
    if r.random() < 0.5:
        inside = np.concatenate([mouth, mirrored(mouth) + vector(0, -0.1)])
        bag += [Part(inside, "lining", puff=0)]
    bag += [Part(body, puff=r.uniform(0.8, 1.1), creases=_hobo_folds(r, horn, deep, top))]
    return bag + _hobo_trim(r, mouth + vector(0, 0.07), horn, wide)


def _hobo_trim(r: Generator, mouth: Array, horn: float, wide: float) -> Bag:
    bag = zipper(mouth[8:-9], 0.04) if r.random() < 0.5 else seam(mouth)
    if r.random() < 0.5:
        bag += [ring(s * horn, -0.48, wide * 0.9) for s in (-1, 1)]
    if r.random() < 0.3:
        x, y = mouth[len(mouth) // 2 + int(r.integers(-8, 9))].tolist()
        bag += [Part(coords((x, y), (x + 0.02, y + 0.36)), "trim", width=0.09)]
    return bag


def _hobo_folds(r: Generator, horn: float, deep: float, top: float) -> tuple[Array, ...]:
    folds = []
    for side in (-1, 1):
        for reach in r.uniform(0.15, 0.8, 3):
            end = (side * (horn - reach), deep * r.uniform(-0.1, 0.7))
            middle = (side * (horn - reach * 0.25), top + 0.45 * (end[1] - top) + 0.12)
            folds.append(spline(coords((side * horn, top + 0.1), middle, end), samples=6))
    return tuple(folds)


def marsupio(r: Generator) -> Bag:
    """A waist bag: a low wide pouch on a belt that closes with a buckle."""
    w, h = r.uniform(0.72, 0.9), r.uniform(0.32, 0.46)
    moon = r.random() < 0.6
    low = h * 1.6 if moon else r.uniform(0.12, 0.3)
    body = rounded(rectangle(w, -h, h), (0.12, 0.12, low, low))
    belt = r.uniform(0.11, 0.17)
    bag = _loop_belt(r, w, belt) if r.random() < 0.75 else _flat_belt(r, w, belt)
    wing = rounded(
        coords((w * 0.6, -h * 0.85), (w + 0.22, -0.2), (w + 0.22, -0.04), (w * 0.6, h * 0.6)), 0.1
    )
    bag += [Part(p, "trim", puff=0.4, tone=0.85) for p in (wing, mirrored(wing))]
    bag += depth(body, 0, -0.06, 0)
    bag += [Part(body, puff=r.uniform(0.8, 1.1))]
    level = -h * r.uniform(0.45, 0.7)
    bow = r.uniform(-0.05, 0.08)
    bag += zipper(spline(coords((-w * 0.82, level), (0, level - bow), (w * 0.78, level))), 0.05)
    if r.random() < 0.55:
        pocket = rounded(rectangle(w * 0.62, -h * 0.12, h * 0.78), (0.05, 0.05, h * 0.7, h * 0.7))
        bag += overlay(Part(pocket, puff=0.8, tone=1.05))
        bag += zipper(coords((-w * 0.5, -h * 0.02), (w * 0.46, -h * 0.02)), 0.035)
    return bag


def _loop_belt(r: Generator, w: float, belt: float) -> Bag:
    """The belt closed behind the pouch, seen a little from above."""
    rx, ry = w + r.uniform(0.14, 0.26), r.uniform(0.26, 0.5)
    around = ellipse((0, -0.12 - ry * 0.55), rx, ry)
    x = r.uniform(-0.3, 0.3) * rx
    y = -0.12 - ry * 0.55 - ry * math.sqrt(1 - (x / rx) ** 2)
    return [
        Part(around, "trim", width=belt),
        *buckle(x, y, r.uniform(0.12, 0.17), belt * 0.75),
    ]


def _flat_belt(r: Generator, w: float, belt: float) -> Bag:
    """The belt open, its ends laid out on both sides."""
    bag: Bag = []
    for side in (-1, 1):
        lift = r.uniform(-0.3, 0.25)
        turn = r.uniform(-0.15, 0.15)
        end = (w + 0.36, -0.12 + lift + turn)
        path = coords((w, -0.12), (w + 0.14, -0.12 + lift * 0.3), (w + 0.27, -0.12 + lift), end)
        path = spline(path * vector(side, 1))
        bag += [Part(path, "trim", width=belt)]
        bag += buckle(side * end[0], end[1], 0.1, belt * 0.75)
    return bag


def sacca(r: Generator) -> Bag:
    """A soft sack, gathered at its neck by a cord: a flat gym sack, or a sailor's tube."""
    gym = r.random() < 0.5
    w, h = (r.uniform(0.62, 0.8), r.uniform(0.8, 0.98)) if gym else (r.uniform(0.44, 0.62), 1.0)
    neck, frill = w * r.uniform(0.35, 0.6), w * r.uniform(0.55, 0.85)
    y = -h * r.uniform(0.66, 0.78)
    slope, low = r.uniform(0.16, 0.36), r.uniform(0.02, 0.12)
    half = [(neck, y), (w * 0.85, y + slope), (w, 0.05), (w * 0.98, h * 0.7), (w * 0.84, h - low)]
    outline = coords(*half, (0, h), *[(-x, v) for x, v in reversed(half)])
    outline += r.uniform(-0.03, 0.03, outline.shape).astype(np.float32)
    body = spline(outline)
    bag = _gym_cords(r, w, h, y) if gym else _sailor_cord(r, w, h, y)
    bag += _frill(r, neck, frill, y)
    folds = gathers(r, int(r.integers(5, 10)), (neck, y + 0.03), (w, h * r.uniform(0.3, 1)))
    bag += [Part(body, puff=r.uniform(0.8, 1.1), creases=folds)]
    if gym:
        bag += [dot(s * w * 0.86, h * 0.84, 0.05) for s in (-1, 1)]
    if r.random() < 0.45:
        bag += [Part(body[body[:, 1] > h * r.uniform(0.45, 0.75)], "trim", puff=0.6)]
    return bag + _tie(r, neck, y)


def _tie(r: Generator, neck: float, y: float) -> Bag:
    """The cord round the neck, its ends hanging, bowed, or held by a toggle."""
    round_ = spline(coords((-neck - 0.02, y), (0, y + 0.06), (neck + 0.02, y)))
    bag = [Part(round_, "cord", width=r.uniform(0.06, 0.1), finish="cord")]
    kind = either(r, "tails", "bow", "toggle")
    if kind == "toggle":
        held = rounded(rectangle(0.07, y, y + 0.14), 0.03)
        return [*bag, *overlay(Part(held, "metal", puff=0.6), 0.02)]
    for side in (-1, 1):
        down = y + r.uniform(0.3, 0.6)
        tail = coords((0, y + 0.06), (side * r.uniform(0.08, 0.2), y + 0.22), (side * 0.14, down))
        bag += [Part(spline(tail), "cord", width=0.05, finish="cord")]
        bag += [dot(side * 0.14, down, 0.055, "cord")]
        if kind == "bow":
            loop = coords((0, 0.06), (0.2, -0.06), (0.32, 0.06), (0.2, 0.16), (0, 0.08))
            bow = spline(loop * vector(side, 1) + vector(0, y))
            bag += [Part(bow, "cord", width=0.05, finish="cord")]
    return bag


def _frill(r: Generator, neck: float, frill: float, y: float) -> Bag:
    """The cloth above the cord, fanned out in scallops."""
    top = y - r.uniform(0.14, 0.34)
    across = np.linspace(-1, 1, 9)
    edge = [(a * frill, top + 0.06 * (i % 2) + 0.05 * a**2) for i, a in enumerate(across.tolist())]
    outline = spline(coords((-neck, y + 0.04), *edge, (neck, y + 0.04)), samples=6)
    hole = ellipse((0, top + 0.07), frill * 0.8, 0.06)
    folds = tuple(coords((neck * a, y), (frill * a, top + 0.05)) for a in across[1:-1:2])
    return [Part(outline, puff=0.5, creases=folds), Part(hole, "lining", puff=0)]


def _gym_cords(r: Generator, w: float, h: float, y: float) -> Bag:
    """Two cords from the neck to the bottom corners, to carry it on the back."""
    bag: Bag = []
    for side in (-1, 1):
        out = w + r.uniform(0.12, 0.34)
        high, low = (out * 0.75, y + 0.06), (out * 0.98, h * 0.5)
        cord = coords((0.1, y), high, (out, -0.1), low, (w * 0.86, h * 0.84))
        bag += [Part(spline(cord * vector(side, 1)), "cord", width=0.055, finish="cord")]
    return bag


def _sailor_cord(r: Generator, w: float, h: float, y: float) -> Bag:
    """One long cord from the neck, round one side, to the base."""
    out = w + r.uniform(0.15, 0.4)
    cord = coords((0, y), (w * 0.6, y - 0.32), (out, y + 0.2), (out, h * 0.3), (w * 0.8, h * 0.85))
    return [Part(spline(cord), "cord", width=0.08, finish="cord")]


def secchiello(r: Generator) -> Bag:
    """A bucket that tapers to a firm base, with a drawstring through eyelets and a strap."""
    top, base = r.uniform(0.68, 0.84), r.uniform(0.5, 0.64)
    h, rim = r.uniform(0.7, 0.88), r.uniform(0.1, 0.17)
    low = ellipse((0, h), base, rim * 0.8, 0.5)
    pinch = r.uniform(0.82, 1.0)
    high = ellipse((0, -h), top, rim, 0.5)[::-1]
    waist = -h + r.uniform(0.24, 0.34)
    side = coords(
        (top * pinch, waist + rim * 0.3),
    )
    body = np.concatenate([high, side, low, mirrored(side)])
    strap = arch(top * 0.97, -h + 0.1, r.uniform(0.65, 1.05), r.uniform(1.8, 2.6))
    thick = r.uniform(0.055, 0.1)
    bag = [Part(strap + vector(0, -0.02), "trim", width=thick)]
    bag += [Part(ellipse((0, -h), top, rim), tone=0.6, puff=0)]
    bag += [Part(ellipse((0, -h + 0.02), top * 0.93, rim * 0.8), "lining", puff=0)]
    creases = gathers(r, 5, (top * 0.9, -h + rim), (base, h * 0.4))
    bag += [Part(body, puff=r.uniform(0.5, 0.8), creases=creases if r.random() < 0.7 else ())]
    tall = r.uniform(0.2, 0.4)
    wide = base + (top * pinch - base) * tall / (h - waist)
    band = np.concatenate([ellipse((0, h - tall), wide, rim * 0.8, 0.5)[::-1], low])
    bag += [Part(band, "trim", puff=0.3)] if r.random() < 0.65 else []
    bag += _drawstring(r, top * pinch, waist, rim)
    return bag + [ring(s * top * 0.95, -h + 0.12, 0.065) for s in (-1, 1)]


def _drawstring(r: Generator, half: float, y: float, rim: float) -> Bag:
    """A cord that runs in and out of eyelets, its two ends hanging in front with tassels."""
    line = ellipse((0, y), half * 0.96, rim, 0.5)
    bag: Bag = [Part(line[a : a + 5], "cord", width=0.05, finish="cord") for a in range(1, 31, 8)]
    bag += [replace(dot(x, y, 0.042), puff=0) for x, y in line[1:32:4].tolist()]
    for side in (-1, 1):
        end = coords((side * r.uniform(0.08, 0.2), y + rim + r.uniform(0.3, 0.5)))
        start = coords((0, y + rim), (side * 0.12, y + rim + 0.14))
        tassel = coords((-0.03, 0), (0.03, 0), (0.06, 0.18), (-0.06, 0.18)) + end
        tail = spline(np.concatenate([start, end]))
        bag += [Part(tail, "cord", width=0.045, finish="cord"), Part(tassel, "trim", puff=0.3)]
    return [*bag, dot(0, y + rim, 0.06, "trim")]
