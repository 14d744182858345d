"""Colours: red, green and blue in 0 to 255."""

from __future__ import annotations

import colorsys

from numpy.random import Generator

Colour = tuple[int, int, int]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour by hue (a turn is 1), saturation and value (held within [0, 1])."""
    unit = (hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    red, green, blue = colorsys.hsv_to_rgb(*unit)
    return int(red * 255), int(green * 255), int(blue * 255)


def any_colour(r: Generator) -> Colour:
    """Leather and cloth: mostly browns, greys and muted hues, some loud ones."""
    kind = r.random()
    if kind < 0.4:
        return hsv(r.uniform(0.03, 0.12), r.uniform(0, 0.65), r.uniform(0.12, 0.95))
    if kind < 0.8:
        return hsv(r.random(), r.uniform(0.15, 0.65), r.uniform(0.2, 0.85))
    return hsv(r.random(), r.uniform(0.65, 0.95), r.uniform(0.4, 0.95))


def lighter(colour: Colour, by: float) -> Colour:
    """The colour with ``by`` added to each channel; darker if ``by`` is negative."""
    red, green, blue = (int(min(max(c + by, 0), 255)) for c in colour)
    return red, green, blue
