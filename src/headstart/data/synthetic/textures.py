"""A bag's look: its colours by material, and the texture of its body.

All of it is drawn without knowing the class, so that neither colour nor texture tells it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from headstart.data.synthetic.colours import any_colour, hsv
from headstart.data.synthetic.curves import XY, Array


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
    *[_plain] * 8,
    *[_leather] * 12,
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


@dataclass(frozen=True)
class Style:
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


def random_style(r: Generator) -> Style:
    """A bag's colours, texture, gloss and light, all drawn from ``r`` alone."""
    body, second = any_colour(r), any_colour(r)
    trim = body if r.random() < 0.3 else any_colour(r)
    dark = tuple(int(c * 0.8) for c in trim) if trim == body else trim
    metal = hsv(0.12, float(r.choice([0.05, 0.1, 0.55])), r.uniform(0.6, 0.95))
    cord = any_colour(r) if r.random() < 0.6 else hsv(0.1, 0.15, 0.9)
    lining = hsv(r.random(), r.uniform(0, 0.4), r.uniform(0.08, 0.2))
    stitch = hsv(0.11, r.uniform(0, 0.4), r.uniform(0.75, 1.0))
    named = {"body": body, "second": second, "trim": dark, "metal": metal, "cord": cord}
    named |= {"lining": lining, "stitch": stitch}
    turn = r.choice([0.0, math.pi / 2, math.pi / 4, r.uniform(0, math.pi)])
    phases = r.uniform(0, 2 * math.pi, 8).astype(np.float32)
    weave = _Weave(r.uniform(1.2, 3.6), math.cos(turn), math.sin(turn), r.uniform(0.5, 1), phases)
    light = r.uniform(-math.pi * 0.9, -math.pi * 0.1)
    return Style(
        {name: np.array(c, dtype=np.float32) for name, c in named.items()},
        _TEXTURES[int(r.integers(len(_TEXTURES)))],
        weave,
        r.uniform(0, 0.5) if r.random() < 0.6 else 0.0,
        (math.cos(light), math.sin(light)),
    )
