"""Random views, made for a whole batch at once on whatever device it lies on.

Crop, resize, flip and blur only mix pixels along rows and along columns, so a view is
``rows @ image @ columnsᵀ`` with two small matrices a sample; its colours are one 3×4 matrix a
sample. The resampling weights are those of torchvision's antialiased ``resized_crop``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from headstart.config import View

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision's rgb_to_grayscale
_TRIES = 10  # torchvision's RandomResizedCrop gives up after so many


@dataclass(frozen=True)
class Parameters:
    """Tensors, one number a sample."""

    def to(self, device: torch.device) -> Self:
        """The same on a device: some kilobytes, so that all that is large is computed there."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return type(self)(**moved)

    def __getitem__(self, part: slice) -> Self:
        """Those of some samples."""
        return type(self)(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


@dataclass(frozen=True)
class Crop(Parameters):
    """A rectangle a sample in shares of the image's sides: ``left, top, width, height``, (B,)
    each, and whether it is mirrored, (B,) bool.
    """

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    flip: Tensor


@dataclass(frozen=True)
class Colour(Parameters):
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
class Draw(Parameters):
    """All that is random in a batch of views; ``sigma`` (B,) is 0 where there is no blur."""

    crop: Crop
    colour: Colour
    sigma: Tensor
    solarize: Tensor


def centre_views(pixels: Tensor, aspect: Tensor, size: int) -> Tensor:
    """The evaluation transform: short side to ``size``, centre crop.

    Args:
        pixels: whole images squashed to squares, (B, 3, S, S) uint8.
        aspect: width over height of the images before that, (B,) float.
        size: side T of the views in pixels.

    Returns:
        (B, 3, T, T) float32 in [0, 1], in channels-last memory, on the device of ``pixels``.
    """
    crop = centre_crop(aspect).to(pixels.device)
    rows, columns = _resampling(crop, pixels.shape[-1], size, bicubic=False)
    views = _resample(pixels, rows, columns)
    # Weights sum to 1 but for rounding: a white image would come out at 1 + 1e-7.
    return views.clamp_(0, 1).contiguous(memory_format=torch.channels_last)


def draw_views(view: View, aspect: Tensor, generator: torch.Generator) -> Draw:
    """Draw every sample's own parameters, as torchvision's transforms draw one image's.

    Args:
        view: what may happen, and how often.
        aspect: width over height of the images, (B,) float.
        generator: of the CPU; the same state gives the same views.
    """
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


def render(
    pixels: Tensor,
    draw: Draw,
    size: int,
    *,
    bicubic: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Make the drawn views of images.

    Args:
        pixels: whole images squashed to squares, (B, 3, S, S) uint8.
        draw: what happens to each of them.
        size: side T of the views in pixels.
        bicubic: the kernel, else the triangle.
        dtype: what the resampling computes in; bfloat16, for networks that compute in it, moves
            a pixel by a third of a grey level on average.

    Returns:
        (B, 3, T, T) float32 in [0, 1], in channels-last memory, on the device of ``pixels``.
    """
    blurred = torch.nonzero(draw.sigma > 0).squeeze(1)  # asked of the CPU: no wait for a device
    solarized = bool(draw.solarize.any())
    draw = draw.to(pixels.device)
    rows, columns = _resampling(draw.crop, pixels.shape[-1], size, bicubic=bicubic)
    if len(blurred):
        chosen = blurred.to(pixels.device)
        blur = blur_matrix(draw.sigma[chosen], size)
        rows[chosen], columns[chosen] = blur @ rows[chosen], blur @ columns[chosen]
    views = _recolour(_resample(pixels, rows, columns, dtype), draw.colour)
    # The blur is linear and keeps constants, so it commutes with the colours but for their clamp.
    views = views.clamp_(0, 1).contiguous(memory_format=torch.channels_last)
    if solarized:
        chosen = draw.solarize[:, None, None, None]
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
    any_fits = fits.any(dim=0)
    width = torch.where(any_fits, width.gather(0, first)[0], (high / aspect).clamp(max=1))
    height = torch.where(any_fits, height.gather(0, first)[0], (aspect / low).clamp(max=1))
    left, top = uniform(0.0, 1.0), uniform(0.0, 1.0)
    left, top = torch.where(any_fits, left, 0.5), torch.where(any_fits, top, 0.5)
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
    device = start.device
    place = torch.arange(size, dtype=torch.float32, device=device) + 0.5  # (T,)
    place = torch.where(flip[:, None], size - place, place)  # (B, T)
    step = (extent * source / size)[:, None]  # source cells a view cell, (B, 1)
    centre = start[:, None] * source + place * step  # (B, T)
    cell = torch.arange(source, dtype=torch.float32, device=device) + 0.5  # (S,)
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
    device = sigma.device
    offset = torch.arange(-reach, reach + 1, device=device)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None]) ** 2)  # (B, 2R+1)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    place = (torch.arange(size, device=device) + offset[:, None]).abs()  # (2R+1, T)
    place = torch.where(place >= size, 2 * (size - 1) - place, place)
    shift = torch.zeros(len(offset), size, size, device=device)
    shift.scatter_(2, place[..., None], 1.0)
    return torch.einsum("bo,ots->bts", kernel, shift)


def _resample(
    pixels: Tensor, rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """rows @ image @ columnsᵀ of every channel, scaled to [0, 1]: (B, 3, T, T) float32.

    The products are computed in ``dtype``: in bfloat16, which holds all of 0 … 255, a pixel
    comes out within about 1/256.
    """
    b, channels, source, _ = pixels.shape
    image = pixels.to(dtype).view(b, channels * source, source)
    # Channels stacked below each other: one product a sample, where broadcasting would copy.
    half = torch.bmm(image, columns.transpose(1, 2).to(dtype)).view(b, channels, source, -1)
    rows = (rows / 255).to(dtype)
    views = [torch.bmm(rows, half[:, c]) for c in range(channels)]
    return torch.stack(views, dim=1).float()


def _recolour(views: Tensor, colour: Colour) -> Tensor:
    """Apply each sample's colours as one matrix: (B, 3, T, T)."""
    own, of_mean = colour_matrices(colour)
    flat = views.flatten(2)  # (B, 3, TT): a product with long rows, not one with long columns
    offset = of_mean @ flat.mean(dim=2, keepdim=True)  # (B, 3, 1)
    return torch.baddbmm(offset, own, flat).view_as(views)


def colour_matrices(colour: Colour) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue in each sample's own order, then grey.

    Returns:
        ``(A, Q)``, (B, 3, 3) each: a colour x becomes A·x + Q·m, where m is the mean colour of the
        view, about whose grey the contrast turns. Brightness, contrast and saturation are
        torchvision's but for its clamp in between; hue turns about the grey axis.
    """
    n, device = len(colour.order), colour.order.device
    luma = torch.tensor(_LUMA, device=device)
    eye = torch.eye(3, device=device).expand(n, 3, 3)
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
    own, of_mean = eye.clone(), torch.zeros(n, 3, 3, device=device)
    for turn in range(4):
        which = colour.order[:, turn]
        step = steps[torch.arange(n, device=device), which]  # (B, 3, 3)
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
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=hue.device) / math.sqrt(3)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * torch.eye(3, device=hue.device) + (1 - cos) / 3 + sin * across
