"""Painting: parts of a bag on a canvas, each with its colour, its texture and its shading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from headstart.data.synthetic.curves import XY, Array, resampled, vector
from headstart.data.synthetic.parts import Part
from headstart.data.synthetic.pose import Pose
from headstart.data.synthetic.textures import Style

OVERSAMPLE = 2
"""How many times larger than its picture a canvas is; reducing it smooths the edges."""


@dataclass(frozen=True)
class _Look:
    """What shading a part needs: where its box stands on the canvas, and the light."""

    pose: Pose
    corner: tuple[int, int]
    light: XY
    gloss: float

    @property
    def scale(self) -> float:
        """Oversampled pixels a unit of bag space."""
        return self.pose.scale

    def place(self, points: Array) -> Array:
        """Bag space to pixels of the box."""
        return self.pose(points) - vector(*self.corner)


class Canvas:
    """The bag as it is painted: colour (3, H, W) and where it is (H, W), oversampled."""

    def __init__(self, size: tuple[int, int], pose: Pose, style: Style) -> None:
        self.rgb = np.zeros((3, size[1], size[0]), dtype=np.float32)
        self.covered = np.zeros((size[1], size[0]), dtype=bool)
        self._pose, self._style = pose, style

    def paint(self, part: Part) -> None:
        """Put one part over what is there."""
        points, width = self._pose(part.points), part.width * self._pose.scale
        box = self._box(points, width)
        if box is None:
            return
        left, top, right, bottom = box
        here = np.s_[top:bottom, left:right]
        local = points - vector(left, top)
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
    even = _flat(resampled(points, step))
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


def _stroke_shade(stencil: Image.Image, points: Array, part: Part, look: _Look) -> Array:
    """Brightness across a strap, cord, chain or zip: dark edges, a lit ridge towards the light."""
    image = Image.new("L", stencil.size, 66)
    draw, width = ImageDraw.Draw(image), part.width * look.scale
    draw.line(_flat(points), fill=100, width=max(1, round(width * 0.82)))
    if part.finish == "plain":
        ridge = points + vector(*look.light) * np.float32(width * 0.08)
        draw.line(_flat(ridge), fill=114, width=max(1, round(width * 0.5)))
    else:
        dark = 70 if part.finish == "cord" else 25
        for dash in _dashes(points, max(width * 0.55, 2.0)):
            draw.line(dash, fill=dark, width=max(1, round(width)))
    return np.asarray(image, dtype=np.float32) / 100


def _panel_shade(stencil: Image.Image, points: Array, part: Part, look: _Look) -> Array:
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
        draw.line(_flat(crease / 2 + vector(width, 0)), fill=128, width=width)


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
