"""Random views, made for a whole batch at once on whatever device it lies on.

Crop, resize, flip and blur only mix pixels along rows and along columns, so a view is
``rows @ image @ columnsᵀ`` with two small matrices a sample; its colours are one 3×4 matrix a
sample. The resampling weights are those of torchvision's antialiased ``resized_crop``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.config import View

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision's rgb_to_grayscale
_TRIES = 10  # torchvision's RandomResizedCrop gives up after so many


@dataclass(frozen=True)
class Crop:
    """A rectangle a sample in shares of the image's sides: ``left, top, width, height``, (B,)
    each, and whether it is mirrored, (B,) bool.
    """

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    flip: Tensor


@dataclass(frozen=True)
class Colour:
    """Factors a sample, (B,) each: 1, 1, 1, 0 and False change nothing; ``order`` (B, 4) is a
    permutation of brightness 0, contrast 1, saturation 2, hue 3.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor
    order: Tensor


@dataclass(frozen=True)
class Draw:
    """All that is random in a batch of views; ``sigma`` (B,) is 0 where there is no blur."""

    crop: Crop
    colour: Colour
    sigma: Tensor
    solarize: Tensor


def random_views(
    pixels: Tensor, aspect: Tensor, view: View, size: int, generator: torch.Generator
) -> Tensor:
    """One random view of every image.

    Args:
        pixels: whole images squashed to squares, (B, 3, S, S) uint8.
        aspect: width over height of the images before that, (B,) float.
        view: what may happen, and how often.
        size: side T of the views in pixels.
        generator: of the CPU; the same state gives the same views.

    Returns:
        (B, 3, T, T) float32 in [0, 1], in channels-last memory, on the device of ``pixels``.
    """
    draw = draw_views(view, aspect, generator)
    return render(pixels, draw, size, bicubic=view.interpolation == "bicubic")


def centre_views(pixels: Tensor, aspect: Tensor, size: int) -> Tensor:
    """The evaluation transform: short side to ``size``, centre crop, [0, 1]; shapes as above."""
    crop = centre_crop(aspect)
    rows, columns = _resampling(crop, pixels.shape[-1], size, bicubic=False)
    views = _resample(pixels, rows.to(pixels.device), columns.to(pixels.device))
    # Weights sum to 1 but for rounding: a white image would come out at 1 + 1e-7.
    return views.clamp_(0, 1).contiguous(memory_format=torch.channels_last)


def draw_views(view: View, aspect: Tensor, generator: torch.Generator) -> Draw:
    """Draw every sample's own parameters, as torchvision's transforms draw one image's."""
    n = len(aspect)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*(shape or (n,)), generator=generator) * (high - low) + low

    def happens(p: float) -> Tensor:
        return torch.rand(n, generator=generator) < p

    crop = _draw_crop(view, aspect.cpu(), uniform, happens(view.flip_p))
    jitter = happens(view.jitter_p)

    def factor(spread: float) -> Tensor:
        return torch.where(jitter, uniform(max(0.0, 1 - spread), 1 + spread), torch.ones(n))

    colour = Colour(
        brightness=factor(view.brightness),
        contrast=factor(view.contrast),
        saturation=factor(view.saturation),
        hue=torch.where(jitter, uniform(-view.hue, view.hue), torch.zeros(n)),
        gray=happens(view.gray_p),
        order=torch.rand(n, 4, generator=generator).argsort(dim=1),
    )
    sigma = torch.where(happens(view.blur_p), uniform(*view.blur_sigma), torch.zeros(n))
    return Draw(crop, colour, sigma, happens(view.solarize_p))


def render(pixels: Tensor, draw: Draw, size: int, *, bicubic: bool = False) -> Tensor:
    """Make the drawn views of (B, 3, S, S) uint8 images: (B, 3, T, T) float32 in [0, 1]."""
    rows, columns = _resampling(draw.crop, pixels.shape[-1], size, bicubic=bicubic)
    if bool((draw.sigma > 0).any()):
        blur = blur_matrix(draw.sigma, size)
        rows, columns = blur @ rows, blur @ columns
    device = pixels.device
    views = _resample(pixels, rows.to(device), columns.to(device))
    views = _recolour(views, draw.colour)
    # The blur is linear and keeps constants, so it commutes with the colours but for their clamp.
    views = views.clamp_(0, 1)
    if bool(draw.solarize.any()):
        chosen = draw.solarize.to(device)[:, None, None, None]
        views = torch.where(chosen & (views >= 0.5), 1 - views, views)
    return views


def centre_crop(aspect: Tensor) -> Crop:
    """The largest centred square of each image."""
    aspect = aspect.cpu()
    width, height = (1 / aspect).clamp(max=1), aspect.clamp(max=1)
    flip = torch.zeros(len(aspect), dtype=torch.bool)
    return Crop((1 - width) / 2, (1 - height) / 2, width, height, flip)


def _draw_crop(view: View, aspect: Tensor, uniform: object, flip: Tensor) -> Crop:
    """RandomResizedCrop: ten tries at an area and a shape that fit, else the largest that does."""
    assert callable(uniform)
    n = len(aspect)
    low, high = view.aspect
    area = uniform(*view.crop, _TRIES, n)
    shape = torch.exp(uniform(math.log(low), math.log(high), _TRIES, n))
    width, height = (area * shape / aspect).sqrt(), (area * aspect / shape).sqrt()  # (10, B)
    fits = (width <= 1) & (height <= 1)
    first = fits.float().argmax(dim=0, keepdim=True)
    found = fits.any(dim=0)
    width = torch.where(found, width.gather(0, first)[0], (high / aspect).clamp(max=1))
    height = torch.where(found, height.gather(0, first)[0], (aspect / low).clamp(max=1))
    left, top = uniform(0.0, 1.0), uniform(0.0, 1.0)
    left, top = torch.where(found, left, 0.5), torch.where(found, top, 0.5)
    return Crop(left * (1 - width), top * (1 - height), width, height, flip)


def _resampling(crop: Crop, source: int, size: int, *, bicubic: bool) -> tuple[Tensor, Tensor]:
    """Row and column matrices (B, T, S) that crop, resize and flip."""
    straight = torch.zeros_like(crop.flip)
    rows = resize_matrix(crop.top, crop.height, straight, source, size, bicubic=bicubic)
    columns = resize_matrix(crop.left, crop.width, crop.flip, source, size, bicubic=bicubic)
    return rows, columns


def resize_matrix(
    start: Tensor, extent: Tensor, flip: Tensor, source: int, size: int, *, bicubic: bool
) -> Tensor:
    """Weights of an antialiased resize of ``[start, start+extent]`` of S cells to T cells.

    Args:
        start, extent: (B,) in shares of the side.
        flip: (B,) bool: mirrored.
        source, size: S and T.
        bicubic: cubic kernel with a = −0.5 (Pillow's and torchvision's), else the triangle.

    Returns:
        (B, T, S) float32 whose rows sum to 1 and are 0 outside the crop. A crop that holds no
        cell's centre takes the cell it lies in.
    """
    place = torch.arange(size, dtype=torch.float32) + 0.5  # (T,)
    place = torch.where(flip[:, None], size - place, place)  # (B, T)
    step = (extent * source / size)[:, None]  # source cells a view cell, (B, 1)
    centre = start[:, None] * source + place * step  # (B, T)
    cell = torch.arange(source, dtype=torch.float32) + 0.5  # (S,)
    distance = (cell - centre[..., None]) / step.clamp(min=1)[..., None]  # (B, T, S)
    weight = _cubic(distance) if bicubic else (1 - distance.abs()).clamp(min=0)
    first, last = start[:, None] * source, (start + extent)[:, None] * source
    inside = (cell > first - 1e-3) & (cell < last + 1e-3)  # (B, S): never look outside the crop
    inside |= (cell - (first + last) / 2).abs() <= 0.5 + 1e-3
    weight = weight * inside[:, None, :]
    return weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-8)


def _cubic(x: Tensor) -> Tensor:
    a = -0.5
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """Gaussian blur along one axis as a matrix (B, T, T), reflected at the border.

    The kernel reaches a twentieth of the side each way (SimCLR, App. A); σ = 0 is the identity.
    """
    reach = max(1, size // 20)
    offset = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None]) ** 2)  # (B, 2R+1)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    place = (torch.arange(size) + offset[:, None]).abs()  # (2R+1, T)
    place = torch.where(place >= size, 2 * (size - 1) - place, place)
    shift = torch.zeros(len(offset), size, size)
    shift.scatter_(2, place[..., None], 1.0)
    return torch.einsum("bo,ots->bts", kernel, shift)


def _resample(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columnsᵀ of every channel, scaled to [0, 1]: (B, 3, T, T)."""
    image = pixels.float()  # (B, 3, S, S)
    half = (rows / 255)[:, None] @ image  # (B, 3, T, S)
    views: Tensor = half @ columns.transpose(1, 2)[:, None]
    return views


def _recolour(views: Tensor, colour: Colour) -> Tensor:
    """Apply each sample's colours as one matrix; the result lies channels-last."""
    b, _, h, w = views.shape
    own, of_mean = (m.to(views.device) for m in colour_matrices(colour))
    flat = views.flatten(2).transpose(1, 2)  # (B, HW, 3)
    offset = flat.mean(dim=1, keepdim=True) @ of_mean.transpose(1, 2)  # (B, 1, 3)
    mixed = torch.baddbmm(offset, flat, own.transpose(1, 2))  # (B, HW, 3)
    return mixed.view(b, h, w, 3).permute(0, 3, 1, 2)


def colour_matrices(colour: Colour) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue in each sample's own order, then grey.

    Returns:
        ``(A, Q)``, (B, 3, 3) each: a colour x becomes A·x + Q·m, where m is the mean colour of the
        view, about whose grey the contrast turns. Brightness, contrast and saturation are
        torchvision's but for its clamp in between; hue turns about the grey axis.
    """
    n, luma = len(colour.order), torch.tensor(_LUMA)
    eye = torch.eye(3).expand(n, 3, 3)
    grey = luma.expand(3, 3)  # every channel becomes the luma
    s = colour.saturation[:, None, None]
    steps = torch.stack(
        [
            colour.brightness[:, None, None] * eye,
            colour.contrast[:, None, None] * eye,
            s * eye + (1 - s) * grey,
            _hue_matrix(colour.hue),
        ],
        dim=1,
    )  # (B, 4, 3, 3)
    own, of_mean = eye.clone(), torch.zeros(n, 3, 3)
    for turn in range(4):
        which = colour.order[:, turn]
        step = steps[torch.arange(n), which]  # (B, 3, 3)
        contrast = torch.where(which == 1, 1 - colour.contrast, 0.0)[:, None, None]
        shift = contrast * (grey @ (own + of_mean))  # the grey of the mean colour at this point
        own, of_mean = step @ own, step @ of_mean + shift
    gray = colour.gray[:, None, None]
    return torch.where(gray, grey @ own, own), torch.where(gray, grey @ of_mean, of_mean)


def _hue_matrix(hue: Tensor) -> Tensor:
    """Turn the colours about the grey axis by ``hue`` (B,) of a whole circle: (B, 3, 3).

    HSV turns a hexagon where this turns a circle: they are equal at thirds of the circle, and on
    photographs the change that this makes correlates with HSV's by 0.82 or more.
    """
    angle = (2 * math.pi * hue)[:, None, None]
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * torch.eye(3) + (1 - cos) / 3 * torch.ones(3, 3) + sin * across
