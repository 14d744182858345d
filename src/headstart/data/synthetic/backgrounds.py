"""Backgrounds: nine families of scene, each with the same kinds of clutter lying about."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from headstart.data.synthetic.colours import any_colour, hsv, lighter
from headstart.data.synthetic.curves import XY, Array
from headstart.data.synthetic.painting import OVERSAMPLE


@dataclass(frozen=True)
class _Family:
    """A kind of background: how to draw it, then the grain (cell in pixels: x, y; strength)."""

    draw: Callable[[Image.Image, Generator], None]
    cell: XY
    strength: float


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
    base = hsv(r.uniform(0.04, 0.11), r.uniform(0.15, 0.65), r.uniform(0.35, 0.85))
    planks = int(r.integers(4, 9))
    for i in range(planks):
        y = h * i / planks
        draw.rectangle((0, y, w, y + h / planks), fill=lighter(base, r.uniform(-22, 22)))
        draw.line((0, y, w, y), fill=lighter(base, -70), width=2)
        x = r.uniform(0, w)
        draw.line((x, y, x, y + h / planks), fill=lighter(base, -60), width=2)


def _wall(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    wall = hsv(r.random(), r.uniform(0.05, 0.5), r.uniform(0.5, 0.95))
    floor = hsv(r.uniform(0.02, 0.12), r.uniform(0.1, 0.5), r.uniform(0.25, 0.7))
    level = h * r.uniform(0.62, 0.85)
    draw.rectangle((0, 0, w, level), fill=wall)
    draw.rectangle((0, level, w, h), fill=floor)
    draw.rectangle((0, level - h * 0.05, w, level), fill=lighter(wall, 35))
    draw.line((0, level, w, level), fill=lighter(floor, -50), width=3)
    for _ in range(int(r.integers(1, 3))):
        x, y = w * r.uniform(0, 0.8), h * r.uniform(0, 0.3)
        frame = (x, y, x + w * r.uniform(0.15, 0.35), y + h * r.uniform(0.15, 0.3))
        draw.rectangle(frame, fill=any_colour(r), outline=any_colour(r), width=5)


def _tiles(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    one = hsv(r.random(), r.uniform(0, 0.35), r.uniform(0.55, 0.97))
    other = hsv(r.random(), r.uniform(0.1, 0.7), r.uniform(0.25, 0.8)) if r.random() < 0.6 else one
    draw.rectangle((0, 0, w, h), fill=lighter(one, -60))
    side, turn = min(w, h) * r.uniform(0.14, 0.26), r.choice([0, math.pi / 4]) + r.normal(0, 0.06)
    reach = int(max(w, h) * 0.75 / side) + 1
    for i in range(-reach, reach):
        for j in range(-reach, reach):
            box = (i * side, j * side, (i + 1) * side - 4, (j + 1) * side - 4)
            colour = lighter(one if (i + j) % 2 else other, r.uniform(-10, 10))
            draw.polygon(_quad((w / 2, h / 2), turn, box), fill=colour)


def _grass(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    hue = r.uniform(0.2, 0.36)
    draw.rectangle((0, 0, w, h), fill=hsv(hue, r.uniform(0.5, 0.8), r.uniform(0.25, 0.5)))
    blades = r.uniform(0, 1, (260, 6)).tolist()
    for x, y, lean, tall, tint, light in blades:
        foot, tip = (x * w, y * h), (x * w + (lean - 0.5) * 24, y * h - 10 - tall * 26)
        green = hsv(hue + (tint - 0.5) * 0.1, 0.7, 0.25 + 0.5 * light)
        draw.line((foot, tip), fill=green, width=3)
    for _ in range(int(r.integers(0, 9))):
        x, y = r.uniform(0, w), r.uniform(0, h)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=any_colour(r))


def _studio(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    hue, saturation = r.random(), r.uniform(0, 0.55)
    high, low = r.uniform(0.5, 1.0, 2)
    bend = r.uniform(0.5, 0.8)
    for i in range(0, h, 4):
        t = i / h
        value = high + (low - high) * (1 / (1 + math.exp((bend - t) * 16)))
        draw.rectangle((0, i, w, i + 4), fill=hsv(hue, saturation, value - 0.15 * abs(t - bend)))


def _brick(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    base = hsv(r.uniform(-0.02, 0.07), r.uniform(0.1, 0.75), r.uniform(0.4, 0.85))
    draw.rectangle((0, 0, w, h), fill=hsv(0.1, r.uniform(0, 0.2), r.uniform(0.5, 0.9)))
    tall = h / int(r.integers(8, 14))
    wide = tall * r.uniform(2, 2.8)
    for row in range(int(h / tall) + 1):
        for column in range(-1, int(w / wide) + 1):
            x, y = (column + 0.5 * (row % 2)) * wide, row * tall
            colour = lighter(base, r.uniform(-28, 28))
            draw.rectangle((x, y, x + wide - 4, y + tall - 4), fill=colour)


def _rug(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    colours = [hsv(r.random(), r.uniform(0.4, 0.9), r.uniform(0.25, 0.8)) for _ in range(4)]
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
    night = hsv(r.uniform(0.55, 0.8), r.uniform(0.3, 0.9), r.uniform(0.06, 0.3))
    draw.rectangle((0, 0, w, h), fill=night)
    for _ in range(int(r.integers(18, 40))):
        x, y, radius = r.uniform(0, w), r.uniform(0, h), min(w, h) * r.uniform(0.02, 0.1)
        colour = hsv(r.choice([r.random(), 0.1, 0.13]), r.uniform(0.2, 0.9), 1.0)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=(*colour, int(r.integers(60, 180))))


def _shelves(image: Image.Image, r: Generator) -> None:
    draw, (w, h) = ImageDraw.Draw(image), image.size
    wood = hsv(r.uniform(0.04, 0.1), r.uniform(0.1, 0.6), r.uniform(0.3, 0.9))
    draw.rectangle((0, 0, w, h), fill=lighter(wood, -60))
    rows = int(r.integers(2, 5))
    tall = h / rows
    for row in range(rows):
        x, foot = r.uniform(-20, 0), (row + 1) * tall
        while x < w:
            thick = w * r.uniform(0.03, 0.09)
            top = foot - tall * r.uniform(0.55, 0.9)
            colour = any_colour(r)
            draw.rectangle((x, top, x + thick, foot), fill=colour, outline=lighter(colour, -50))
            draw.line((x + 1, top + 10, x + thick - 1, top + 10), fill=lighter(colour, 60), width=5)
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
    for _ in range(int(r.integers(0, 4))):
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
    turn, colour, tall = r.uniform(0, math.pi), any_colour(r), scale * 1.4
    cover, spine = (-scale, -tall, scale, tall), (-scale, -tall, -scale * 0.75, tall)
    title = (-scale * 0.4, -scale, scale * 0.7, -scale * 0.6)
    draw.polygon(_quad((at[0] + 5, at[1] + 6), turn, cover), fill=(0, 0, 0, 90))
    draw.polygon(_quad(at, turn, cover), fill=colour)
    draw.polygon(_quad(at, turn, spine), fill=lighter(colour, -45))
    draw.polygon(_quad(at, turn, title), fill=lighter(colour, 60))


def _cup(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    colour, drink = any_colour(r), hsv(r.uniform(0.03, 0.12), 0.7, r.uniform(0.15, 0.5))
    handle = _polar(at, r.uniform(0, 2 * math.pi), scale, 0)
    draw.ellipse(_disc((at[0] + 6, at[1] + 7), scale), fill=(0, 0, 0, 90))
    draw.ellipse(_disc(handle, scale * 0.45), outline=colour, width=max(2, int(scale * 0.18)))
    draw.ellipse(_disc(at, scale), fill=colour)
    draw.ellipse(_disc(at, scale * 0.8), fill=drink)


def _pen(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    turn, colour, long = r.uniform(0, math.pi), any_colour(r), scale * 1.8
    barrel = (-long, -scale * 0.13, long, scale * 0.13)
    cap = (scale * 1.1, -scale * 0.14, long, scale * 0.14)
    draw.polygon(_quad((at[0] + 3, at[1] + 4), turn, barrel), fill=(0, 0, 0, 80))
    draw.polygon(_quad(at, turn, barrel), fill=colour)
    draw.polygon(_quad(at, turn, cap), fill=lighter(colour, -60))


def _ball(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    colour = any_colour(r)
    draw.ellipse(_disc((at[0] + 5, at[1] + 7), scale), fill=(0, 0, 0, 90))
    for i in range(4):
        middle = (at[0] - i * scale * 0.08, at[1] - i * scale * 0.1)
        draw.ellipse(_disc(middle, scale * (1 - i * 0.22)), fill=lighter(colour, i * 16 - 16))


def _plant(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    for turn in r.uniform(0, 2 * math.pi, 7):
        green = hsv(r.uniform(0.22, 0.42), r.uniform(0.4, 0.9), r.uniform(0.25, 0.7))
        tip = _polar(at, turn, scale * 1.6, 0)
        sides = [_polar(at, turn, scale * 0.8, s * scale * 0.35) for s in (-1, 1)]
        draw.polygon([at, sides[0], tip, sides[1]], fill=green, outline=lighter(green, -30))


def _paper(draw: ImageDraw.ImageDraw, r: Generator, at: XY, scale: float) -> None:
    turn, box = r.uniform(0, math.pi), (-scale, -scale * 1.3, scale, scale * 1.3)
    draw.polygon(_quad((at[0] + 3, at[1] + 4), turn, box), fill=(0, 0, 0, 70))
    draw.polygon(_quad(at, turn, box), fill=hsv(r.random(), 0.06, 0.95))
    for i in range(-4, 5, 2):
        y = i * scale * 0.25
        line = (_polar(at, turn, -scale * 0.7, y), _polar(at, turn, scale * 0.6, y))
        draw.line(line, fill=(90, 90, 100), width=2)


_THINGS = (_book, _cup, _pen, _ball, _plant, _paper)


def draw_scene(family: str, size: tuple[int, int], r: Generator) -> Array:
    """A background (H, W, 3) in [0, 255] with clutter, out of focus as behind a near object."""
    kind = _FAMILIES[family]
    big = Image.new("RGB", (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE))
    kind.draw(big, r)
    if family == "lights":
        big = big.filter(ImageFilter.BoxBlur(2))
    _clutter(big, r)
    image = big.reduce(OVERSAMPLE)
    scale = min(size) / 96
    image = image.filter(ImageFilter.GaussianBlur(scale * r.uniform(2, 7)))
    grain = _noise(r, size, (kind.cell[0] * scale, kind.cell[1] * scale))
    return np.asarray(image, dtype=np.float32) + np.float32(kind.strength) * grain[..., None]
