"""The firm shapes: boxes, envelopes and packs, whose panels keep their form."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from headstart.data.synthetic.curves import (
    arch,
    coords,
    ellipse,
    inset,
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
    clasp,
    depth,
    dot,
    either,
    overlay,
    ring,
    seam,
    zipper,
)


def bauletto(r: Generator) -> Bag:
    """Boston or doctor's bag: a barrel with two short handles and a zip along its top."""
    w, h = r.uniform(0.92, 1.1), r.uniform(0.55, 0.74)
    doctor = r.random() < 0.25
    narrow = w * (r.uniform(0.68, 0.8) if doctor else r.uniform(0.9, 1.0))
    corners = coords((-narrow, -h), (narrow, -h), (w, h), (-w, h))
    low = r.uniform(0.1, 0.3)
    body = rounded(corners, (0.12, 0.12, low, low) if doctor else (h * 1.1, h * 1.1, low, low))
    reach = r.uniform(0.3, 0.46) * w
    rise = r.uniform(0.42, 0.62)
    thick = r.uniform(0.075, 0.12)
    legs = r.uniform(0.2, 0.55)
    front = arch(reach, -h + 0.12, rise, r.uniform(2, 3), legs)
    back = arch(reach, -h + 0.1, rise, 2.3) + vector(r.uniform(0.04, 0.1), -0.1)
    bag = [Part(back, "trim", width=thick, tone=0.62)]
    bag += depth(body, r.uniform(0.04, 0.14), -r.uniform(0.05, 0.12))
    bag += [Part(body, puff=r.uniform(0.7, 1.0))]
    if doctor:
        frame = coords((-narrow * 0.97, -h + 0.05), (narrow * 0.97, -h + 0.05))
        bag += [Part(frame, "metal", width=0.1), *clasp(r, 0, -h + 0.12)]
    else:
        sag = spline(coords((-narrow * 0.72, -h + 0.09), (0, -h + 0.06), (narrow * 0.7, -h + 0.1)))
        bag += zipper(sag, 0.05)
    bag += _bauletto_trim(r, w, h)
    bag += [Part(front + vector(0.02, 0.05), "shadow", width=thick, tone=0.6)]
    bag += [Part(front, "trim", width=thick)]
    return bag + [ring(s * reach, -h + 0.16, thick * 0.6) for s in (-1, 1)]


def _bauletto_trim(r: Generator, w: float, h: float) -> Bag:
    """Piping, patched corners, or a tag: each seen on some bags."""
    bag: Bag = []
    if r.random() < 0.5:
        at = r.uniform(0.68, 0.8) * w
        side = spline(coords((at * 0.97, -h * 0.8), (at, 0), (at * 0.99, h * 0.99)))
        bag += [Part(p, "trim", width=0.035) for p in (side, mirrored(side))]
    elif r.random() < 0.5:
        patch = rounded(coords((w, h), (w, h * 0.35), (w * 0.62, h)), (0.22, 0.03, 0.03))
        bag += [Part(p, "trim", puff=0.2) for p in (patch, mirrored(patch))]
    if r.random() < 0.4:
        tag = rounded(rectangle(0.09, h * 0.05, h * 0.5), 0.05) + vector(r.uniform(-0.2, 0.2), 0)
        bag += overlay(Part(tag, "trim"))
    return bag


def clutch(r: Generator) -> Bag:
    """A flat envelope held in the hand: no strap, at most a loop for the wrist."""
    w, h = 1.0, r.uniform(0.46, 0.68)
    kind = either(r, "envelope", "envelope", "flap", "round", "zip", "frame")
    radius = r.uniform(0.2, 0.4) if kind == "frame" else r.uniform(0.02, 0.14)
    body = rounded(rectangle(w, -h, h), radius)
    bag: Bag = []
    if kind == "zip" or r.random() < 0.2:
        bag += _wrist_loop(r, w, h)
    bag += depth(body, r.uniform(-0.05, 0.05), -0.05, 0)
    bag += [Part(body, puff=r.uniform(0.25, 0.6))]
    if kind == "zip":
        bag += zipper(coords((-w * 0.9, -h * 0.8), (w * 0.86, -h * 0.8)))
        bag += seam(coords((-w * 0.9, -h * 0.68), (w * 0.9, -h * 0.68)))
    elif kind == "frame":
        bag += [Part(arch(w * 0.93, -h + 0.2, 0.16, 5), "metal", width=0.07)]
        bag += [dot(-0.05, -h - 0.02, 0.065), dot(0.06, -h - 0.04, 0.065)]
    else:
        bag += _clutch_flap(r, kind, w, h)
    return bag


def _clutch_flap(r: Generator, kind: str, w: float, h: float) -> Bag:
    tip = r.uniform(-0.1, 0.45) * h
    if kind == "envelope":
        shape = coords((-w, -h), (w, -h), (w * 0.98, -h * 0.85), (0, tip), (-w * 0.98, -h * 0.85))
        flap = rounded(shape, (0.05, 0.05, 0.02, 0.1, 0.02))
    elif kind == "flap":
        flap = rounded(rectangle(w, -h, tip), (0.05, 0.05, 0.1, 0.1))
    else:
        flap = np.concatenate([coords((w, -h)), mirrored(arch(w, -h, -(tip + h), 2.5))])
    material = "trim" if r.random() < 0.2 else "body"
    bag = overlay(Part(flap, material, puff=0.35, tone=1.06))
    if r.random() < 0.4:
        bag += seam(inset(flap, 0.93))
    return bag + clasp(r, 0, tip - 0.06)


def _wrist_loop(r: Generator, w: float, h: float) -> Bag:
    drop, side = r.uniform(0.3, 0.6), w + r.uniform(0.18, 0.34)
    y = -h * 0.75
    loop = coords((w - 0.03, y), (side, y + 0.1), (side, y + drop), (w + 0.06, y + drop), (w, y))
    return [Part(spline(loop), "trim", width=0.06), ring(w, y, 0.06)]


def shopping(r: Generator) -> Bag:
    """A tall open tote with two long handles."""
    top, h = r.uniform(0.8, 0.96), r.uniform(0.74, 0.95)
    base = top * r.uniform(0.76, 0.98)
    body = rounded(coords((-top, -h), (top, -h), (base, h), (-base, h)), (0.01, 0.01, 0.1, 0.1))
    back = r.uniform(0.07, 0.15)
    lean = r.uniform(-0.1, 0.1)
    reach, rise = r.uniform(0.34, 0.5) * top, r.uniform(0.6, 0.95)
    thick, square = r.uniform(0.06, 0.1), r.uniform(2.0, 3.2)
    legs = r.uniform(0.12, 0.35)
    far = arch(reach, -h - back, rise, square) + vector(lean + 0.05, 0)
    bag = [Part(far, "trim", width=thick, tone=0.62)]
    bag += depth(body, lean, -back, 0)
    opening = coords((-top, -h), (-top + lean, -h - back), (top + lean, -h - back), (top, -h))
    bag += [Part(opening, "lining", puff=0), Part(body, puff=r.uniform(0.2, 0.5))]
    bag += _shopping_trim(r, top, base, h)
    near = arch(reach, -h, rise, square, legs)
    bag += [Part(near[-12:] + vector(0.03, 0.03), "shadow", width=thick, tone=0.65)]
    bag += [Part(near, "trim", width=thick)]
    for side in (-1, 1):
        patch = rounded(rectangle(thick * 0.85, -h + legs - 0.08, -h + legs + 0.06), 0.02)
        bag += [Part(patch + vector(side * reach, 0), "trim", puff=0.3, tone=1.1)]
        bag += [dot(side * reach, -h + legs, 0.025)]
    return bag


def _shopping_trim(r: Generator, top: float, base: float, h: float) -> Bag:
    """A hem, a base, a print: what tells one tote from another."""
    kind = either(r, "hem", "base", "print", "label", "plain")
    if kind == "hem":
        return seam(coords((-top * 0.98, -h + 0.09), (top * 0.98, -h + 0.09)))
    if kind == "base":
        at = base + (top - base) * 0.2
        corners = coords((-at, h * 0.6), (at, h * 0.6), (base, h), (-base, h))
        return [Part(rounded(corners, (0.01, 0.01, 0.1, 0.1)), "trim", puff=0.2)]
    if kind == "print":
        outer = r.uniform(0.2, 0.34)
        inner = ellipse((0, 0.08), outer * 0.55, outer * 0.55)
        return [Part(ellipse((0, 0.08), outer, outer), "trim", puff=0), Part(inner, puff=0)]
    if kind == "label":
        return overlay(Part(rounded(rectangle(0.2, -0.02, 0.16), 0.03), "trim", puff=0.2), 0.02)
    return []


def tracolla(r: Generator) -> Bag:
    """A small firm crossbody with a flap, on a long thin strap or chain."""
    w, h = r.uniform(0.66, 0.82), r.uniform(0.44, 0.6)
    low = r.uniform(0.06, 0.5) * h
    camera = r.random() < 0.2
    body = rounded(rectangle(w, -h, h), (0.1, 0.1, low, low))
    bag = _long_strap(r, w, h)
    bag += depth(body, r.uniform(-0.09, 0.09), -r.uniform(0.04, 0.1), 0)
    bag += [Part(body, puff=r.uniform(0.4, 0.7))]
    bag += _camera_front(r, w, h) if camera else _saddle_flap(r, w, h, low)
    return bag + [ring(s * w * 0.99, -h * 0.72, 0.055) for s in (-1, 1)]


def _saddle_flap(r: Generator, w: float, h: float, low: float) -> Bag:
    tip = r.uniform(0.05, 0.6) * h
    round_ = max(low, 0.08) if r.random() < 0.6 else r.uniform(0.3, 0.6)
    flap = rounded(rectangle(w * 1.015, -h - 0.01, tip), (0.1, 0.1, round_, round_))
    material = "trim" if r.random() < 0.15 else "body"
    bag = overlay(Part(flap, material, puff=0.5, tone=1.06), 0.06)
    bag += seam(inset(flap, 0.9)) if r.random() < 0.5 else []
    if r.random() < 0.25:
        tab = rounded(rectangle(0.09, tip - 0.2, tip + 0.16), 0.05)
        bag += overlay(Part(tab, "trim"))
    return bag + (clasp(r, 0, tip - 0.04) or [dot(0, tip - 0.04, 0.06)])


def _camera_front(r: Generator, w: float, h: float) -> Bag:
    pocket = rounded(rectangle(w * 0.8, -h * 0.25, h * 0.82), 0.08)
    bag = zipper(coords((-w * 0.85, -h * 0.72), (w * 0.8, -h * 0.72)), 0.045)
    bag += overlay(Part(pocket, puff=0.5, tone=1.05))
    if r.random() < 0.5:
        return bag + seam(inset(pocket, 0.9))
    tassel = coords((-0.02, -h * 0.7), (0.02, -h * 0.7), (0.06, h * 0.1), (-0.06, h * 0.1))
    return [*bag, Part(tassel + vector(w * 0.82, 0), "trim", puff=0.3)]


def _long_strap(r: Generator, w: float, h: float) -> Bag:
    """Hung in a tall arch, or laid in a loose loop; leather or chain."""
    rise, lean, y = r.uniform(1.0, 1.5), r.uniform(-0.3, 0.3), -h * 0.72
    if r.random() < 0.65:
        path = arch(w, y, rise, r.uniform(1.7, 2.4))
        path[:, 0] += np.float32(lean / rise) * (np.float32(y) - path[:, 1])
    else:
        out = w + r.uniform(0.1, 0.35)
        up, down = (-out, y - rise * 0.45), [(out, y - rise * 0.55), (w * 0.55, y - rise * 0.2)]
        path = spline(coords((-w, y), up, (lean, y - rise * 0.8), *down, (w, y)))
    if r.random() < 0.35:
        return [Part(path, "metal", width=0.07, finish="chain")]
    return [Part(path, "trim", width=r.uniform(0.045, 0.07))]


def zaino(r: Generator) -> Bag:
    """A backpack: two shoulder straps at its sides, a loop on top, a pocket in front."""
    w, h = r.uniform(0.6, 0.74), r.uniform(0.82, 0.98)
    dome, low = r.uniform(0.35, 0.75), r.uniform(0.12, 0.26)
    body = rounded(rectangle(w, -h, h), (dome, dome, low, low))
    grip = arch(r.uniform(0.12, 0.18), -h + 0.06, r.uniform(0.2, 0.28), 2.5)
    bag = [*_shoulder_straps(r, w, h), Part(grip, "trim", width=0.07)]
    if r.random() < 0.45:
        inner, outer = w * 0.8, w + 0.12
        corners = coords((inner, h * 0.2), (outer, h * 0.26), (outer, h * 0.9), (inner, h * 0.95))
        side = rounded(corners, 0.08)
        bag += [Part(p, puff=0.6, tone=0.75) for p in (side, mirrored(side))]
    bag += [Part(body, puff=r.uniform(0.7, 1.0))]
    bag += _pack_flap(r, w, h) if r.random() < 0.4 else _pack_zip(w, h, dome)
    return bag + _pack_pocket(r, w, h)


def _shoulder_straps(r: Generator, w: float, h: float) -> Bag:
    out, thick = w + r.uniform(0.2, 0.34), r.uniform(0.13, 0.18)
    pad = coords((0.2, -h + 0.04), (w * 0.85, -h), (out, -h * 0.45), (out * 0.99, h * 0.15))
    web = coords((out * 0.99, h * 0.12), (out * 0.9, h * 0.5), (w * 0.8, h * 0.86))
    bag: Bag = []
    for side in (vector(1, 1), vector(-1, 1)):
        bag += [Part(spline(web * side), "trim", width=thick * 0.4, tone=0.8)]
        bag += [Part(spline(pad * side), "trim", width=thick)]
        bag += buckle(float(web[0, 0] * side[0]), float(web[0, 1]), thick * 0.55, 0.05)
    return bag


def _pack_zip(w: float, h: float, dome: float) -> Bag:
    inner = arch(w * 0.82, -h + max(dome, 0.3) * 0.95, max(dome, 0.3) * 0.78, 2.6, 0.2)
    return zipper(inner, 0.045)


def _pack_flap(r: Generator, w: float, h: float) -> Bag:
    end = -h * r.uniform(-0.02, 0.2)
    flap = rounded(rectangle(w * 1.02, -h, end), (0.4, 0.4, 0.25, 0.25))
    bag = overlay(Part(flap, puff=0.7, tone=1.06), 0.06)
    for side in (-1, 1) if r.random() < 0.6 else (0,):
        x = side * w * 0.45
        band = coords((x, -h * 0.8), (x, end + 0.14))
        bag += [Part(band, "trim", width=0.1), *buckle(x, end + 0.04, 0.085, 0.06)]
    return bag


def _pack_pocket(r: Generator, w: float, h: float) -> Bag:
    start = h * r.uniform(0.14, 0.28)
    shape = rounded(rectangle(w * r.uniform(0.7, 0.84), start, h * 0.9), (0.12, 0.12, 0.2, 0.2))
    material = "trim" if r.random() < 0.2 else "body"
    bag = overlay(Part(shape, material, puff=0.9, tone=1.04))
    if r.random() < 0.75:
        bag += zipper(coords((-w * 0.55, start + 0.12), (w * 0.5, start + 0.12)), 0.04)
    return bag
