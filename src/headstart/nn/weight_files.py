"""Weights from a file into a backbone: all of them fit, or the file is refused in one line.

A file may name its weights as timm, torchvision or Hugging Face's ResNet do, under the prefixes
that training code puts before them, and may hold a classifier head, which is left out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

# What checkpoints put before a backbone's own names, and what is no part of a backbone: heads, and
# the second network and the queue of MoCo, whose encoder is ``encoder_q``.
_PREFIXES = ("module.", "backbone.", "encoder.", "encoder_q.", "model.", "body.", "resnet.")
_HEADS = ("fc.", "classifier.", "head.", "heads.")
_OF_MOCO = ("encoder_k.", "queue", "queue_ptr")
# Hugging Face's ResNetModel -> timm and torchvision; {…} are numbers counted from 0 there.
_STEM = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(\w+)")
_BLOCK = re.compile(
    r"stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)\.(convolution|normalization)\.(\w+)"
)
# It counts batches, and computes nothing here; files of old versions lack it.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class _Stored:
    """One weight of a file: the name it has there, and its values."""

    name: str
    values: Tensor


def fill_from_file(body: nn.Module, path: Path) -> tuple[str, ...]:
    """Fill a backbone from a ``.safetensors`` file or a state dict of ``torch.save``, strictly.

    Args:
        body: the backbone, without a head.
        path: the file; a pickle is read as plain weights only, and never run.

    Returns:
        The names of the weights of the file that are no part of the backbone: a classifier head.

    Raises:
        ValueError: a file that is not there, holds something else, or does not fit the backbone;
            the line names the file and the first weight that is missing, unknown or of another
            shape.
    """
    wanted = body.state_dict()
    found, left_out = _matched(read_weights(path), wanted, path)
    for name in wanted.keys() - found.keys():
        if name.endswith(_COUNTER):
            found[name] = _Stored(name, wanted[name])
    _check_fit(found, wanted, path)
    body.load_state_dict({name: stored.values for name, stored in found.items()})
    return tuple(left_out)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file by the names they have there; no code of it is run.

    Raises:
        ValueError: no such file, or one that holds anything but a dictionary of tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file (or write 'random' or 'pretrained')")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not readable as plain weights ({first_line(error)}); if it is a pickle that "
            "you trust, load it yourself and save its state_dict with safetensors.torch.save_file"
        ) from error
    while isinstance(stored, dict) and isinstance(
        stored.get("state_dict", stored.get("model")), dict
    ):
        stored = stored.get("state_dict", stored.get("model"))
    if not (isinstance(stored, dict) and all(isinstance(t, Tensor) for t in stored.values())):
        raise ValueError(f"{path}: holds no plain dictionary of weights")
    return stored


def _matched(
    stored: Mapping[str, Tensor], wanted: Container[str], path: Path
) -> tuple[dict[str, _Stored], list[str]]:
    """A file's weights by the backbone's names, and the names in the file of what is left out."""
    found: dict[str, _Stored] = {}
    left_out = []
    of_moco = any(_stripped(name, wanted, until="encoder_q.") for name in stored)
    outside = (*_HEADS, *_OF_MOCO) if of_moco else _HEADS
    for name, values in stored.items():
        own = _own_name(name, wanted)
        if own not in wanted and own.startswith(outside):
            left_out.append(name)
        elif own in found:
            raise ValueError(f"{path}: holds more than one network ('{own}' is there twice)")
        else:
            found[own] = _Stored(name, values)
    return found, left_out


def _own_name(name: str, wanted: Container[str]) -> str:
    """The backbone's own name of a stored weight: whole prefixes taken off, as far as needed (a
    backbone may have an ``encoder.`` of its own), then translated from Hugging Face's.
    """
    while name not in wanted and name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    translated = _translated(name)
    return translated if name not in wanted and translated else name


def _stripped(name: str, wanted: Container[str], *, until: str) -> bool:
    """Whether the prefix ``until`` stands before a stored weight, behind others or none."""
    while name not in wanted and name.startswith(_PREFIXES):
        if name.startswith(until):
            return True
        name = name.split(".", 1)[1]
    return False


def _translated(name: str) -> str | None:
    """timm's and torchvision's name of a weight of Hugging Face's ResNet; None for others."""
    if stem := _STEM.fullmatch(name):
        part, kind = stem.groups()
        return f"{'conv1' if part == 'convolution' else 'bn1'}.{kind}"
    if block := _BLOCK.fullmatch(name):
        stage, layer, place, part, kind = block.groups()
        first = part == "convolution"
        if place is None:
            inner = f"downsample.{0 if first else 1}"
        else:
            inner = f"{'conv' if first else 'bn'}{int(place) + 1}"
        return f"layer{int(stage) + 1}.{layer}.{inner}.{kind}"
    return None


def _check_fit(found: Mapping[str, _Stored], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a file with a weight too few, too many, of another shape, or that is no number."""
    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    shared = sorted(wanted.keys() & found.keys())
    shapes = [n for n in shared if wanted[n].shape != found[n].values.shape]
    if missing or unknown or shapes:
        firsts = [
            *(f"{name}, missing" for name in missing[:1]),
            *(f"{found[name].name}, unknown" for name in unknown[:1]),
            *(_two_shapes(found[name], wanted[name]) for name in shapes[:1]),
        ]
        raise ValueError(
            f"{path}: does not fit the backbone: {len(missing)} weights missing, {len(unknown)} "
            f"unknown, {len(shapes)} of another shape (first: {firsts[0]})"
        )
    for name in shared:
        if not torch.isfinite(found[name].values).all():
            raise ValueError(f"{path}: {found[name].name} holds values that are no numbers")


def _two_shapes(stored: _Stored, own: Tensor) -> str:
    there, here = ("×".join(map(str, t.shape)) or "one number" for t in (stored.values, own))
    return f"{stored.name}, {there} in the file and {here} in the backbone"


def first_line(error: Exception) -> str:
    """What an error of a library says first, shortened to fit into a line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
