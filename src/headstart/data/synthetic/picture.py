"""One picture: a bag, the scene it stands in, and the camera that takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageFilter

from headstart.data.synthetic.backgrounds import BACKGROUNDS, draw_scene
from headstart.data.synthetic.curves import XY, Array
from headstart.data.synthetic.painting import OVERSAMPLE, Canvas
from headstart.data.synthetic.pose import random_pose
from headstart.data.synthetic.shapes import CLASSES, SHAPES
from headstart.data.synthetic.textures import random_style

LARGEST_SIDE = 2048
"""The largest ``size`` of a study, in pixels; a side of a single picture may have twice as many."""


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
    style = random_style(bag_rng)
    bag = SHAPES[class_name](bag_rng)
    big = (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE)
    canvas = Canvas(big, random_pose(bag, big, bag_rng), style)
    for part in bag:
        canvas.paint(part)
    cover = Image.fromarray(canvas.covered.astype(np.uint8) * 255).reduce(OVERSAMPLE)
    painted = canvas.picture().reduce(OVERSAMPLE)
    alpha = np.asarray(cover, dtype=np.float32)[..., None] / 255
    scene = draw_scene(background, size, scene_rng) * _cast_shadow(cover, style.light, camera_rng)
    # What was not painted is black, so the reduced colours are already weighted by alpha.
    picture = np.asarray(painted, dtype=np.float32) + scene * (1 - alpha)
    image = _photograph(picture, style.light, camera_rng)
    return image, cover.point(lambda value: 255 if value >= 128 else 0)


def _check_names(class_name: str, background: str, size: tuple[int, int]) -> None:
    if class_name not in SHAPES:
        raise ValueError(f"no class is called {class_name!r}; there are {', '.join(CLASSES)}")
    if background not in BACKGROUNDS:
        known = ", ".join(BACKGROUNDS)
        raise ValueError(f"no background is called {background!r}; there are {known}")
    if not 32 <= min(size) <= max(size) <= LARGEST_SIDE * 2:
        raise ValueError(f"a side must have 32 to {LARGEST_SIDE * 2} pixels, not {size}")


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
