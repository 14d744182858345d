"""Batched views against torchvision's, one image at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from headstart.config import View
from headstart.data.views import (
    Colour,
    Crop,
    Draw,
    _hue_matrix,
    blur_matrix,
    centre_views,
    colour_matrices,
    draw_views,
    render,
    resize_matrix,
)
from headstart.methods import METHODS

torch.set_num_threads(1)  # many small operations: more threads only wait for each other

BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(n: int, side: int, low: int = 0, high: int = 256, seed: int = 0) -> Tensor:
    """Random but smooth images (n, 3, S, S) uint8 with values in [low, high)."""
    coarse = torch.rand(n, 3, 6, 6, generator=generator(seed))
    smooth = torch.nn.functional.interpolate(coarse, side, mode="bilinear", align_corners=True)
    return (smooth * (high - low) + low).clamp(0, 255).to(torch.uint8)


def random_views(
    pixels: Tensor,
    aspect: Tensor,
    view: View,
    size: int,
    source: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """One random view of every image."""
    draw = draw_views(view, aspect, source)
    return render(pixels, draw, size, bicubic=view.interpolation == "bicubic", dtype=dtype)


def same(n: int, **changes: Tensor) -> Colour:
    """Colours that change nothing, but for what is named."""
    ones = torch.ones(n)
    order = torch.arange(4).expand(n, 4)
    zeros = torch.zeros(n)
    colour = Colour(ones, ones, ones, zeros, torch.zeros(n, dtype=torch.bool), order)
    return replace(colour, **changes)


def whole(n: int, **changes: Tensor) -> Draw:
    """The whole image, unchanged, but for what is named."""
    zeros, ones, no = torch.zeros(n), torch.ones(n), torch.zeros(n, dtype=torch.bool)
    return replace(Draw(Crop(zeros, zeros, ones, ones, no), same(n), zeros, no), **changes)


def largest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


# --- geometry ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("size", [16, 32, 48, 61])
@pytest.mark.parametrize("source", [40, 60])
def test_crop_and_resize_are_torchvisions(source: int, size: int, bicubic: bool) -> None:
    """Resized crops of 24 random rectangles, up and down, agree within 1e-5 of the range."""
    rng = np.random.default_rng(size)
    n = 24
    heights, widths = rng.integers(3, source + 1, n), rng.integers(3, source + 1, n)
    heights[0] = widths[0] = source
    tops = np.array([rng.integers(0, source - h + 1) for h in heights])
    lefts = np.array([rng.integers(0, source - w + 1) for w in widths])
    shares = [torch.tensor(v / source, dtype=torch.float32) for v in (lefts, tops, widths, heights)]
    crop = Crop(*shares, flip=torch.arange(n) % 2 == 1)
    pixels = torch.randint(0, 256, (n, 3, source, source), generator=generator())
    pixels = pixels.to(torch.uint8)
    views = render(pixels, whole(n, crop=crop), size, bicubic=bicubic)
    for i in range(n):
        expected = tv.resized_crop(
            pixels[i].float() / 255, tops[i], lefts[i], heights[i], widths[i], [size, size],
            interpolation=BICUBIC if bicubic else BILINEAR, antialias=True,
        ).clamp(0, 1)  # fmt: skip
        expected = tv.hflip(expected) if crop.flip[i] else expected
        assert largest(views[i], expected) < 1e-5


@pytest.mark.parametrize("bicubic", [False, True])
def test_weights_sum_to_one_and_are_zero_outside_the_crop(bicubic: bool) -> None:
    start, extent = torch.tensor([0.0, 0.25, 0.61]), torch.tensor([1.0, 0.5, 0.033])
    flip = torch.tensor([False, True, False])
    weights = resize_matrix(start, extent, flip, 40, 16, bicubic=bicubic)
    assert largest(weights.sum(dim=2), torch.ones(3, 16)) < 1e-5
    cell = torch.arange(40) + 0.5
    for i in range(3):
        outside = (cell < start[i] * 40) | (cell > (start[i] + extent[i]) * 40)
        assert not weights[i][:, outside].any()


@pytest.mark.parametrize("bicubic", [False, True])
def test_a_crop_smaller_than_a_pixel_is_not_black(bicubic: bool) -> None:
    """An image of 4000x1 squashed to a square has crops of less than one cached column."""
    n = 200
    start = torch.linspace(0, 0.999, n)
    no = torch.zeros(n, dtype=torch.bool)
    weights = resize_matrix(start, torch.full((n,), 0.001), no, 20, 16, bicubic=bicubic)
    assert largest(weights.sum(dim=2), torch.ones(n, 16)) < 1e-5
    cell = (weights @ (torch.arange(20) + 0.5)) / 20
    assert largest(cell, start[:, None].expand(n, 16)) <= 0.5 / 20 + 1e-2


def test_a_flip_mirrors_left_and_right() -> None:
    pixels = photos(2, 32)
    flipped = torch.tensor([True, False])
    crop = replace(whole(2).crop, flip=flipped)
    views = render(pixels, whole(2, crop=crop), 32)
    assert largest(views[0], pixels[0].flip(-1) / 255) < 1e-5
    assert largest(views[1], pixels[1] / 255) < 1e-5


@pytest.mark.parametrize("size", [24, 48, 128])
def test_blur_is_torchvisions(size: int) -> None:
    """Same kernel (a tenth of the side), same reflection at the border, within 1e-5."""
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0])
    pixels = torch.randint(0, 256, (5, 3, size, size), generator=generator()).to(torch.uint8)
    views = render(pixels, whole(5, sigma=sigma), size)
    kernel = 2 * max(1, size // 20) + 1
    for i, width in enumerate(sigma.tolist()):
        image = pixels[i].float() / 255
        expected = tv.gaussian_blur(image, [kernel, kernel], [width, width]) if width else image
        assert largest(views[i], expected) < 1e-5


def test_no_blur_is_the_identity() -> None:
    assert torch.equal(blur_matrix(torch.zeros(2), 20), torch.eye(20).expand(2, 20, 20))


def test_a_blurred_crop_is_the_blur_of_the_crop() -> None:
    pixels = photos(3, 40)
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.5], [0, 0, 1, 0.8], [0.5, 0, 0.5, 1]])
    crop = Crop(*boxes.T, flip=torch.tensor([False, True, True]))
    sharp = render(pixels, whole(3, crop=crop), 32)
    blurred = render(pixels, whole(3, crop=crop, sigma=torch.full((3,), 1.5)), 32)
    assert largest(blurred, tv.gaussian_blur(sharp, [3, 3], [1.5, 1.5])) < 1e-5


# --- colours -----------------------------------------------------------------------------------

FACTORS = torch.tensor([0.6, 0.8, 1.0, 1.2, 1.4])


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("brightness", tv.adjust_brightness),
        ("contrast", tv.adjust_contrast),
        ("saturation", tv.adjust_saturation),
    ],
)
def test_one_colour_change_is_torchvisions(name: str, reference: object) -> None:
    """Mid-range images, so that neither clamps: within 1e-5."""
    assert callable(reference)
    pixels = photos(5, 20, 90, 160)
    views = render(pixels, whole(5, colour=same(5, **{name: FACTORS})), 20)
    for i, factor in enumerate(FACTORS.tolist()):
        assert largest(views[i], reference(pixels[i].float() / 255, factor)) < 1e-5


def test_changes_follow_each_samples_own_order() -> None:
    """All 24 orders, with factors that never clamp and a third of a hue turn, which is exact."""
    orders = list(itertools.permutations(range(4)))
    n = len(orders)
    pixels = photos(1, 20, 100, 150).expand(n, 3, 20, 20)
    factors = {"brightness": 1.2, "contrast": 0.7, "saturation": 1.4, "hue": 1 / 3}
    colour = same(n, **{name: torch.full((n,), f) for name, f in factors.items()})
    views = render(pixels, whole(n, colour=replace(colour, order=torch.tensor(orders))), 20)
    steps = [
        lambda x: tv.adjust_brightness(x, 1.2),
        lambda x: tv.adjust_contrast(x, 0.7),
        lambda x: tv.adjust_saturation(x, 1.4),
        lambda x: tv.adjust_hue(x, 1 / 3),
    ]
    for i, order in enumerate(orders):
        expected = pixels[i].float() / 255
        for step in order:
            expected = steps[step](expected)
        assert largest(views[i], expected) < 1e-5
    hue_last, hue_first = orders.index((0, 1, 2, 3)), orders.index((3, 0, 1, 2))
    assert largest(views[hue_last], views[hue_first]) > 1e-3  # the order matters


def test_grey_is_torchvisions_and_comes_last() -> None:
    pixels = photos(3, 20)
    gray = torch.tensor([True, False, True])
    views = render(pixels, whole(3, colour=same(3, gray=gray)), 20)
    assert largest(views[0], tv.rgb_to_grayscale(pixels[0].float() / 255, 3)) < 1e-5
    assert largest(views[1], pixels[1] / 255) < 1e-5
    strong = same(3, gray=gray, saturation=torch.full((3,), 1.8), hue=torch.full((3,), 0.3))
    views = render(pixels, whole(3, colour=strong), 20)
    for i in (0, 2):
        assert largest(views[i], views[i, :1].expand(3, 20, 20)) < 1e-5


def test_solarising_is_torchvisions_and_comes_after_the_colours() -> None:
    pixels = photos(2, 20, 0, 256)
    chosen = torch.tensor([True, False])
    views = render(pixels, whole(2, solarize=chosen), 20)
    assert largest(views[0], tv.solarize(pixels[0].float() / 255, 0.5)) < 1e-5
    assert largest(views[1], pixels[1] / 255) < 1e-5
    bright = same(2, brightness=torch.full((2,), 1.4))
    views = render(pixels, whole(2, colour=bright, solarize=chosen), 20)
    expected = tv.solarize(tv.adjust_brightness(pixels[0].float() / 255, 1.4), 0.5)
    assert largest(views[0], expected) < 1e-5


@pytest.mark.parametrize("hue", [-0.2, -0.1, -0.05, 0.05, 0.1, 0.2])
def test_a_hue_turn_is_near_torchvisions(hue: float) -> None:
    """A turn about the grey axis is not one of HSV's hexagon, but goes the same way.

    Over uniformly random colours the two changes correlate by 0.83 (a turn of 0.05) to 0.95
    (0.2), and are 0.80 to 0.93 as large; the bounds are 0.03 and 0.05 below and above.
    """
    image = torch.rand(3, 64, 64, generator=generator()) * 0.5 + 0.25  # no clamp anywhere
    turned = (_hue_matrix(torch.tensor([hue]))[0] @ image.flatten(1)).view_as(image)
    mine, theirs = turned - image, tv.adjust_hue(image, hue) - image
    together = torch.stack([mine.flatten(), theirs.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.8
    assert 0.75 < float(mine.norm() / theirs.norm()) < 1


def test_a_third_of_a_hue_turn_is_exactly_torchvisions() -> None:
    """Red becomes green, green blue: there the hexagon and the circle meet."""
    pixels = photos(2, 20)
    colour = same(2, hue=torch.tensor([1 / 3, -1 / 3]))
    views = render(pixels, whole(2, colour=colour), 20)
    for i, hue in enumerate((1 / 3, -1 / 3)):
        assert largest(views[i], tv.adjust_hue(pixels[i].float() / 255, hue)) < 1e-5


def test_hue_turns_add_up_and_a_whole_circle_is_none() -> None:
    a, b = torch.tensor([0.1]), torch.tensor([0.23])
    assert largest(_hue_matrix(a) @ _hue_matrix(b), _hue_matrix(a + b)) < 1e-5
    assert largest(_hue_matrix(torch.ones(1)), torch.eye(3)[None]) < 1e-5
    grey = torch.full((3, 1), 0.4)
    assert largest(_hue_matrix(a)[0] @ grey, grey) < 1e-6  # grey has no hue


def test_unchanged_colours_are_the_identity() -> None:
    matrix, offset = colour_matrices(same(4))
    assert largest(matrix, torch.eye(3).expand(4, 3, 3)) < 1e-5
    assert largest(offset, torch.zeros(4, 3, 3)) < 1e-6


# --- what is drawn -----------------------------------------------------------------------------

N = 4000


def torchvision_crops(width: int, height: int, view: View) -> np.ndarray:
    """``N`` crops as torchvision draws them: columns area, ratio, left and top as free shares."""
    torch.manual_seed(1)
    image = torch.empty(1, height, width)
    rows = []
    for _ in range(N):
        crop = RandomResizedCrop.get_params(image, list(view.crop), list(view.aspect))
        rows.append(crop)
    top, left, h, w = np.array(rows, dtype=float).T
    free_x, free_y = np.maximum(width - w, 1e-9), np.maximum(height - h, 1e-9)
    return np.stack([w * h / width / height, w / h, left / free_x, top / free_y])


@pytest.mark.parametrize("crop", [(0.2, 1.0), (0.08, 1.0)])
@pytest.mark.parametrize("size", [(1000, 1000), (750, 1000), (1600, 900), (2000, 400), (300, 1500)])
def test_crops_are_distributed_as_torchvisions(
    size: tuple[int, int], crop: tuple[float, float]
) -> None:
    """Area, shape and position: Kolmogorov-Smirnov tests at 0.001 over fixed seeds."""
    width, height = size
    view = View(crop=crop)
    aspect = torch.full((N,), width / height)
    draw = draw_views(view, aspect, generator(2)).crop
    w, h = draw.width.numpy() * width, draw.height.numpy() * height
    area, ratio = w * h / width / height, w / h
    theirs = torchvision_crops(width, height, view)
    assert (area <= 1 + 1e-6).all()
    # Where no try fits torchvision rounds to whole pixels: jitter both alike to compare ties.
    rng = np.random.default_rng(0)
    for mine, other in ((area, theirs[0]), (ratio, theirs[1])):
        noise = rng.uniform(-0.02, 0.02, (2, N)) * np.median(other)
        assert stats.ks_2samp(mine + noise[0], other + noise[1]).pvalue > 1e-3
    free_x, free_y = 1 - draw.width.numpy(), 1 - draw.height.numpy()
    placed = [(draw.left.numpy(), free_x, theirs[2]), (draw.top.numpy(), free_y, theirs[3])]
    for start, free, other in placed:
        loose = free > 0.02
        share = start[loose] / free[loose]
        assert ((share >= -1e-5) & (share <= 1 + 1e-5)).all()
        centred = np.isclose(other, 0.5, atol=0.01).mean()
        if loose.mean() > 0.2 and centred < 0.1:  # enough tries fit to speak of a position
            assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_an_image_too_thin_for_any_crop_gives_its_largest_centred_one() -> None:
    """torchvision's fallback: the whole short side, and the widest shape that is allowed."""
    aspect = torch.tensor([50.0, 1 / 50])
    draw = draw_views(View(crop=(0.9, 1.0)), aspect, generator()).crop
    assert largest(draw.height, torch.tensor([1.0, (1 / 50) / (3 / 4)])) < 1e-5
    assert largest(draw.width, torch.tensor([(4 / 3) / 50, 1.0])) < 1e-5
    assert largest(draw.left + draw.width / 2, torch.full((2,), 0.5)) < 1e-5
    assert largest(draw.top + draw.height / 2, torch.full((2,), 0.5)) < 1e-5


def test_factors_are_uniform_and_independent() -> None:
    view = View(jitter_p=1.0, brightness=0.4, contrast=0.8, saturation=1.5, hue=0.1)
    draw = draw_views(view, torch.ones(N), generator(3))
    drawn = {
        "brightness": (draw.colour.brightness, 0.6, 1.4),
        "contrast": (draw.colour.contrast, 0.2, 1.8),
        "saturation": (draw.colour.saturation, 0.0, 2.5),
        "hue": (draw.colour.hue, -0.1, 0.1),
    }
    for name, (values, low, high) in drawn.items():
        uniform = stats.uniform(low, high - low)
        assert stats.kstest(values.numpy(), uniform.cdf).pvalue > 1e-3, name
    table = torch.stack([values for values, _, _ in drawn.values()])
    off = torch.corrcoef(table) - torch.eye(4)
    assert float(off.abs().max()) < 4 / math.sqrt(N)


def test_orders_are_all_24_permutations_alike_often() -> None:
    order = draw_views(View(), torch.ones(N), generator(4)).colour.order
    _, counts = np.unique(order.numpy(), axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_what_happens_by_chance_happens_as_often_as_it_should() -> None:
    view = View(flip_p=0.5, jitter_p=0.8, gray_p=0.2, blur_p=0.3, solarize_p=0.1)
    draw = draw_views(view, torch.ones(N), generator(5))
    seen = {
        0.5: draw.crop.flip,
        0.8: draw.colour.brightness != 1,
        0.2: draw.colour.gray,
        0.3: draw.sigma > 0,
        0.1: draw.solarize,
    }
    for p, happened in seen.items():
        assert abs(float(happened.float().mean()) - p) < 4 * math.sqrt(p * (1 - p) / N)
    jittered = draw.colour.brightness != 1  # all of the jitter or none of it
    assert torch.equal(jittered, draw.colour.hue != 0)
    blurred = draw.sigma[draw.sigma > 0].numpy()
    assert stats.kstest(blurred, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("p", "count"), [(0.0, 0), (1.0, 500)])
def test_never_and_always(p: float, count: int) -> None:
    view = View(flip_p=p, jitter_p=p, gray_p=p, blur_p=p, solarize_p=p)
    draw = draw_views(view, torch.ones(500), generator())
    assert int(draw.crop.flip.sum()) == count
    assert int((draw.colour.contrast != 1).sum()) == count
    assert int(draw.colour.gray.sum()) == count
    assert int((draw.sigma > 0).sum()) == count
    assert int(draw.solarize.sum()) == count


# --- whole views -------------------------------------------------------------------------------


def test_every_sample_has_its_own_parameters() -> None:
    pixels = photos(1, 40).expand(32, 3, 40, 40)
    views = random_views(pixels, torch.ones(32), View(), 24, generator())
    gaps = torch.cdist(views.flatten(1), views.flatten(1)) + 1e3 * torch.eye(32)
    assert float(gaps.min()) > 0.1


@pytest.mark.parametrize("view", [View(), View(interpolation="bicubic", solarize_p=0.5)])
def test_views_are_what_a_network_takes(view: View) -> None:
    views = random_views(photos(6, 40), torch.full((6,), 0.75), view, 24, generator())
    assert views.shape == (6, 3, 24, 24)
    assert views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1


def test_the_same_state_gives_the_same_views_and_the_global_state_is_left_alone() -> None:
    pixels, aspect = photos(4, 40), torch.ones(4)
    before = torch.get_rng_state()
    source = generator(7)
    first = random_views(pixels, aspect, View(), 24, source)
    second = random_views(pixels, aspect, View(), 24, source)
    assert torch.equal(first, random_views(pixels, aspect, View(), 24, generator(7)))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_sample_does_not_change_with_its_neighbours() -> None:
    """All that a view takes from its batch is its place in it."""
    pixels, aspect = photos(4, 40), torch.tensor([1.0, 0.75, 1.5, 1.0])
    other = photos(4, 40, seed=1)
    other[2] = pixels[2]
    a = random_views(pixels, aspect, View(), 24, generator(1))
    b = random_views(other, aspect, View(), 24, generator(1))
    assert largest(a[2], b[2]) < 1e-6


def test_views_of_byol_differ_as_its_paper_says() -> None:
    recipe = METHODS["byol"].recipe("paper", 300)
    one = draw_views(recipe.view1, torch.ones(N), generator(1))
    two = draw_views(recipe.view2, torch.ones(N), generator(2))
    assert bool((one.sigma > 0).all())
    assert abs(float((two.sigma > 0).float().mean()) - 0.1) < 0.03
    assert not bool(one.solarize.any())
    assert abs(float(two.solarize.float().mean()) - 0.2) < 0.03


@pytest.mark.parametrize(("height", "width"), [(60, 60), (60, 80), (120, 70)])
def test_the_centre_view_is_resize_and_centre_crop(height: int, width: int) -> None:
    """Of a smooth picture that was squashed to a square before: mean difference below 1 % of the
    range, largest below 6 % (it is 0.2 % and 3 %).
    """
    coarse = torch.rand(1, 3, 6, 6, generator=generator())
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    squashed = tv.resize(image, [60, 60], antialias=True)
    pixels = (squashed * 255).round().to(torch.uint8)
    view = centre_views(pixels, torch.tensor([width / height]), 48)
    expected = tv.center_crop(tv.resize(image, [48], antialias=True), [48, 48])
    assert view.shape == (1, 3, 48, 48)
    assert view.is_contiguous(memory_format=torch.channels_last)
    assert float((view - expected).abs().mean()) < 0.01
    assert largest(view, expected) < 0.06


def test_the_centre_view_of_a_square_is_the_whole_of_it() -> None:
    pixels = photos(2, 48)
    assert largest(centre_views(pixels, torch.ones(2), 48), pixels / 255) < 1e-5


def test_a_white_image_stays_within_the_range() -> None:
    white = torch.full((2, 3, 37, 37), 255, dtype=torch.uint8)
    views = centre_views(white, torch.tensor([1.0, 0.7]), 24)
    assert float(views.max()) <= 1
    assert torch.allclose(views, torch.ones_like(views))


@pytest.mark.parametrize("view", [View(), METHODS["byol"].recipe("paper", 100).view2])
def test_half_precision_moves_a_pixel_by_less_than_a_grey_level(view: View) -> None:
    g = torch.Generator().manual_seed(3)
    noise = torch.randint(0, 256, (64, 3, 40, 40), dtype=torch.uint8, generator=g)
    aspect = torch.ones(64)

    def made(dtype: torch.dtype) -> Tensor:
        key = torch.Generator().manual_seed(4)
        return random_views(noise, aspect, view, 32, key, dtype)

    exact, rounded = made(torch.float32), made(torch.bfloat16)
    apart = (exact - rounded).abs() * 255
    apart = apart[apart < 100]  # a pixel at the threshold may be solarised in one and not the other
    assert rounded.dtype == torch.float32
    assert len(apart) > 0.999 * exact.numel()
    assert 0 < apart.mean() < 0.7
    assert apart.max() < 6
