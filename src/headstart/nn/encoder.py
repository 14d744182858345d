"""The encoder: any timm or torchvision backbone without its head, with normalisation inside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.nn.weight_files import fill_from_file, first_line

# ImageNet's channel statistics: what pretrained backbones expect, and near enough to any photos.
RGB = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """Pixels in [0, 1] to one feature vector an image.

    Normalisation is the first layer, so that training, testing and attribution cannot disagree
    about it. ``forward`` maps (B, C, H, W) float in [0, 1] to (B, ``num_features``). Three channels
    begin with ImageNet's statistics; others have none, and no answer that is a number, before
    ``normalise_by``.
    """

    mean: Tensor
    std: Tensor
    left_out: tuple[str, ...] = ()
    """Names of the weights of the file it was filled from that it has no place for: a head's."""

    def __init__(self, body: nn.Module, num_features: int, channels: int = RGB) -> None:
        super().__init__()
        self.body = body
        self.num_features = num_features
        unknown = (float("nan"),) * channels
        self.normalise_by(*((MEAN, STD) if channels == RGB else (unknown, unknown)))

    def normalise_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take these means and standard deviations of the channels, (C,) of pixels in [0, 1]."""
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, D)
        """Features of a batch of images."""
        features: Tensor = self.body((x - self.mean) / self.std)
        return features


def build_encoder(
    backbone: str,
    *,
    image_size: int,
    stem: str = "standard",
    weights: str = "random",
    seed: int = 0,
    channels: int = RGB,
) -> Encoder:
    """An encoder with its starting weights.

    Args:
        backbone: a timm name (``resnet18``, ``vit_small_patch16_224``…), else a torchvision one.
        image_size: side of the training images in pixels.
        stem: ``standard``, or ``small`` for a ResNet that keeps its first resolution (3×3
            convolution of stride 1, no max-pool), as the CIFAR settings of the papers do.
        weights: ``random`` (drawn from ``seed``), ``pretrained`` (fetched by timm), or a local
            ``.safetensors``, ``.pth`` or ``.pt`` file.
        seed: of the random weights; the global random state is left as it was.
        channels: of the images. Fetched weights have three; torchvision's backbones too.

    Raises:
        ValueError: for an unknown backbone, stem or weights file, or a backbone that cannot take
            such images, in one line.
    """
    if stem not in ("standard", "small"):
        raise ValueError(f"stem '{stem}' is not one of 'standard', 'small'")
    if weights == "pretrained" and channels != RGB:
        raise ValueError(
            f"weights 'pretrained' are for images of 3 channels, not {channels}; take 'random', or "
            "a file of weights for so many"
        )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would move the random state of every GPU too.
        torch.default_generator.manual_seed(seed)
        body = _body(backbone, image_size, channels, pretrained=weights == "pretrained")
        if stem == "small":
            _small_stem(body, backbone, channels)
    num_features = _feature_width(body, backbone, (channels, image_size, image_size))
    encoder = Encoder(body, num_features, channels)
    if weights not in ("random", "pretrained"):
        encoder.left_out = fill_from_file(body, Path(weights))
    return encoder


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every weight and buffer, names included: equal hashes, equal networks."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _body(backbone: str, image_size: int, channels: int, *, pretrained: bool) -> nn.Module:
    import timm

    if not timm.is_model(backbone):
        if channels != RGB:
            _require_torchvision(backbone)
            raise ValueError(
                f"backbone '{backbone}' is torchvision's, which takes images of 3 channels, not "
                f"{channels}; take one of timm's, like resnet18"
            )
        return _torchvision_body(backbone, image_size, pretrained=pretrained)
    create = partial(timm.create_model, backbone, pretrained=pretrained, num_classes=0)
    if channels != RGB:
        create = partial(create, in_chans=channels)
    try:
        return _sized(create, "img_size", image_size)
    except (OSError, RuntimeError) as error:
        raise ValueError(_unfetched(backbone, error)) from error


def _sized(create: Callable[..., nn.Module], keyword: str, image_size: int) -> nn.Module:
    """Only transformers take a size, and they need it."""
    try:
        return create(**{keyword: image_size})
    except TypeError:
        return create()


def _require_torchvision(backbone: str) -> None:
    from torchvision import models

    if backbone not in models.list_models(module=models):
        raise ValueError(
            f"backbone '{backbone}' is neither a timm nor a torchvision name{_near(backbone)}"
        )


def _torchvision_body(backbone: str, image_size: int, *, pretrained: bool) -> nn.Module:
    _require_torchvision(backbone)
    weights = "DEFAULT" if pretrained else None
    try:
        body = torchvision_model(backbone, image_size, weights=weights)
    except OSError as error:
        raise ValueError(_unfetched(backbone, error)) from error
    if not last_linear(body) or getattr(body, "aux_logits", False):
        raise ValueError(f"backbone '{backbone}' does not end in one linear classifier to take off")
    body.set_submodule(last_linear(body), nn.Identity())
    return body


def torchvision_model(backbone: str, image_size: int, **more: Any) -> nn.Module:
    """torchvision's model of that name with its classifier, for images of that size; ``more`` goes
    to torchvision.
    """
    from torchvision import models

    return _sized(partial(models.get_model, backbone, **more), "image_size", image_size)


def last_linear(network: nn.Module) -> str:
    """The name of the last linear layer, a torchvision model's classifier; "" where it has none."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return names[-1] if names else ""


def _feature_width(body: nn.Module, backbone: str, shape: tuple[int, int, int]) -> int:
    """Width of the features, seen on one black image.

    What a body declares is not always what it gives (timm's ``num_features`` of a MobileNetV3 is
    that of an inner layer), and whether it takes images of this size only running it can tell.
    """
    body.eval()
    try:
        with torch.no_grad():
            features = body(torch.zeros(1, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"backbone '{backbone}' does not take images of {shape[-1]} px ({first_line(error)})"
        ) from error
    body.train()
    if not (isinstance(features, Tensor) and features.ndim == 2):
        raise ValueError(f"backbone '{backbone}' does not give one vector an image")
    return features.shape[1]


def _near(backbone: str) -> str:
    from difflib import get_close_matches

    import timm

    near = get_close_matches(backbone, timm.list_models(), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _unfetched(backbone: str, error: Exception) -> str:
    return (
        f"weights 'pretrained' of '{backbone}' could not be fetched ({first_line(error)}); "
        "give a local file instead, or weights 'random'"
    )


def _small_stem(body: nn.Module, backbone: str, channels: int) -> None:
    conv = getattr(body, "conv1", None)
    if not (isinstance(conv, nn.Conv2d) and hasattr(body, "maxpool")):
        raise ValueError(f"stem 'small' is for ResNets; '{backbone}' has no such stem")
    body.conv1 = nn.Conv2d(channels, conv.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()
