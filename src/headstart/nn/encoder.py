"""The encoder: any timm or torchvision backbone without its head, with normalisation inside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

# ImageNet's channel statistics: what pretrained backbones expect, and near enough to any photos.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What checkpoints put before a backbone's own names, and what belongs to a head we do not have.
_PREFIXES = ("module.", "backbone.", "encoder.", "model.", "body.")
_HEADS = ("fc.", "classifier.", "head.", "heads.")


class Encoder(nn.Module):
    """Pixels in [0, 1] to one feature vector an image.

    Normalisation is the first layer, so that training, testing and attribution cannot disagree
    about it. ``forward`` maps (B, 3, H, W) float in [0, 1] to (B, ``num_features``).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, num_features: int) -> None:
        super().__init__()
        self.body = body
        self.num_features = num_features
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, D)
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

    Raises:
        ValueError: for an unknown backbone, stem or weights file, or a backbone that cannot take
            such images, in one line.
    """
    if stem not in ("standard", "small"):
        raise ValueError(f"stem '{stem}' is not one of 'standard', 'small'")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would move the random state of every GPU too.
        torch.default_generator.manual_seed(seed)
        body = _body(backbone, image_size, pretrained=weights == "pretrained")
        if stem == "small":
            _small_stem(body, backbone)
    num_features = _feature_width(body, backbone, image_size)
    if weights not in ("random", "pretrained"):
        _load_weights(body, Path(weights))
    return Encoder(body, num_features)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every weight and buffer, names included: equal hashes, equal networks."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _body(backbone: str, image_size: int, *, pretrained: bool) -> nn.Module:
    import timm

    if not timm.is_model(backbone):
        return _torchvision_body(backbone, image_size, pretrained=pretrained)
    create = partial(timm.create_model, backbone, pretrained=pretrained, num_classes=0)
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


def _torchvision_body(backbone: str, image_size: int, *, pretrained: bool) -> nn.Module:
    from torchvision import models

    if backbone not in models.list_models(module=models):
        raise ValueError(
            f"backbone '{backbone}' is neither a timm nor a torchvision name{_near(backbone)}"
        )
    weights = "DEFAULT" if pretrained else None
    try:
        body = _sized(
            partial(models.get_model, backbone, weights=weights), "image_size", image_size
        )
    except OSError as error:
        raise ValueError(_unfetched(backbone, error)) from error
    linears = [name for name, module in body.named_modules() if isinstance(module, nn.Linear)]
    if not linears or getattr(body, "aux_logits", False):
        raise ValueError(f"backbone '{backbone}' does not end in one linear classifier to take off")
    parent, _, child = linears[-1].rpartition(".")
    setattr(body.get_submodule(parent), child, nn.Identity())
    return body


def _feature_width(body: nn.Module, backbone: str, image_size: int) -> int:
    """Width of the features, seen on one black image.

    What a body declares is not always what it gives (timm's ``num_features`` of a MobileNetV3 is
    that of an inner layer), and whether it takes images of this size only running it can tell.
    """
    body.eval()
    try:
        with torch.no_grad():
            features = body(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"backbone '{backbone}' does not take images of {image_size} px ({_first_line(error)})"
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
        f"weights 'pretrained' of '{backbone}' could not be fetched ({_first_line(error)}); "
        "give a local file instead, or weights 'random'"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _small_stem(body: nn.Module, backbone: str) -> None:
    conv = getattr(body, "conv1", None)
    if not (isinstance(conv, nn.Conv2d) and hasattr(body, "maxpool")):
        raise ValueError(f"stem 'small' is for ResNets; '{backbone}' has no such stem")
    body.conv1 = nn.Conv2d(3, conv.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()


def _load_weights(body: nn.Module, path: Path) -> None:
    """Fill ``body`` from a file, strictly: a weight that is missing or unknown is an error."""
    wanted = body.state_dict()
    stored: dict[str, Tensor] = {}
    for name, tensor in _read_weights(path).items():
        own = _own_name(name, wanted)
        if own in stored:
            raise ValueError(f"{path}: holds more than one network ('{own}' is there twice)")
        if own in wanted or not own.startswith(_HEADS):
            stored[own] = tensor
    missing, unknown = sorted(wanted.keys() - stored), sorted(stored.keys() - wanted)
    shapes = [n for n in wanted.keys() & stored if wanted[n].shape != stored[n].shape]
    if missing or unknown or shapes:
        example = (missing + unknown + shapes)[0]
        raise ValueError(
            f"{path}: does not fit the backbone: {len(missing)} weights missing, {len(unknown)} "
            f"unknown, {len(shapes)} of another shape (first: {example})"
        )
    body.load_state_dict(stored)


def _own_name(name: str, wanted: Container[str]) -> str:
    """The backbone's own name of a stored weight: whole prefixes taken off, as far as needed (a
    backbone may have an ``encoder.`` of its own).
    """
    while name not in wanted and name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file (or write 'random' or 'pretrained')")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not readable as plain weights ({_first_line(error)}); if it is a pickle that "
            "you trust, load it yourself and save its state_dict with safetensors.torch.save_file"
        ) from error
    while isinstance(stored, dict) and isinstance(
        stored.get("state_dict", stored.get("model")), dict
    ):
        stored = stored.get("state_dict", stored.get("model"))
    if not (isinstance(stored, dict) and all(isinstance(t, Tensor) for t in stored.values())):
        raise ValueError(f"{path}: holds no plain dictionary of weights")
    return stored
