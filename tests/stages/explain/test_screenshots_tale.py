"""The cautionary tale of docs/explain.md: screenshots of maps are alike whatever the maps show.

A study once compared attribution maps by SSIM and RMSE between screenshots, with a library whose
values were assumed to lie in 0 … 4095 while the pictures held 0 … 255. Its SSIM was 0.996. Here
the same is done to pairs of maps that have nothing in common, and the numbers of the page are
those printed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from headstart.attributions.similarity import compare_images, ssim
from headstart.stats.bootstrap import Resampling
from headstart.stats.calibration import calibrate
from headstart.types import Floats

PAGE = (Path(__file__).parents[3] / "docs" / "explain.md").read_text(encoding="utf8")
COUNT, SIDE = 24, 64


def smooth_noise(rng: np.random.Generator) -> Floats:
    """(SIDE, SIDE) in [−1, 1], smooth like the maps of networks are."""
    coarse = Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8))
    grown = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    return grown / np.float32(127.5) - 1


def screenshot(one_map: Floats, photo: Floats) -> Floats:
    """A 600 × 600 figure: the map half over the photo, red and green, with white borders."""
    strength = np.abs(one_map)[..., None]
    colour = np.where(one_map[..., None] < 0, [255.0, 0, 0], [0, 255.0, 0])
    heat = 255 + strength * (colour - 255)
    blended = (0.5 * heat + 0.5 * 255 * photo[..., None]).clip(0, 255).astype(np.uint8)
    drawn = Image.fromarray(blended).resize((430, 430), Image.Resampling.NEAREST)
    figure = Image.new("RGB", (600, 600), "white")
    figure.paste(drawn, (85, 85))
    return np.asarray(figure.convert("L"), dtype=np.float32)


def test_screenshots_of_unrelated_maps_look_alike_and_calibrated_similarity_is_not_fooled() -> None:
    rng = np.random.default_rng(0)
    maps = [np.stack([smooth_noise(rng) for _ in range(COUNT)]) for _ in range(4)]
    photos = [(smooth_noise(rng) + 1) / 2 for _ in range(COUNT)]
    one, two = ([screenshot(m, p) for m, p in zip(part, photos, strict=True)] for part in maps[:2])
    wrong = [structural_similarity(a, b, data_range=4095) for a, b in zip(one, two, strict=True)]
    right = [structural_similarity(a, b, data_range=255) for a, b in zip(one, two, strict=True)]
    assert min(wrong) > 0.95
    assert np.mean(right) < min(wrong) - 0.1
    with pytest.raises(ValueError, match="data_range"):
        ssim(one[0], two[0], data_range=4095)

    measured = compare_images(maps[0], maps[1])
    floor = compare_images(maps[2], maps[3])["spearman"]
    # Two seeds of one arm: the same maps, with some noise of their own.
    seed = 0.7 * maps[0] + 0.3 * np.stack([smooth_noise(rng) for _ in range(COUNT)])
    ceiling = compare_images(maps[0], seed)["spearman"]
    found = calibrate(
        measured["spearman"], floor, (ceiling, ceiling), plan=Resampling(replicates=2000)
    )
    assert found.low < 0 < found.high
    assert found.high < 0.2
    assert found.verdict == "different"
    for told in (
        f"{np.mean(wrong):.3f}",
        f"{np.mean(right):.2f}",
        f"{measured['ssim'].mean():.2f}",
        f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−"),
    ):
        assert told in PAGE, told
