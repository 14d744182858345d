"""Networks between the stages: stored, strictly loaded, and asked without being changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.data.batches import Images
from headstart.nn.encoder import MEAN, STD, Encoder, build_encoder
from headstart.stages.run import Run
from headstart.store import Entry

BATCH = 256  # images asked at a time


def backbone(run: Run) -> dict[str, Any]:
    """The arguments of ``build_encoder`` that a study fixes for every arm."""
    return run.study.encoder.model_dump(exclude={"weights"})


def save_encoder(encoder: Encoder, entry: Entry) -> None:
    """The backbone's plain weights, as timm and torchvision name them."""
    save_weights(encoder.body, entry, "encoder")


def load_encoder(run: Run, entry: Entry) -> Encoder:
    """The stored encoder on the engine's device, strictly loaded."""
    encoder = build_encoder(**backbone(run))
    load_weights(encoder.body, entry, "encoder")
    return run.engine.place(encoder)


def save_weights(network: nn.Module, entry: Entry, name: str) -> None:
    """``<entry>/<name>.safetensors``, moved into place when whole."""
    state = {key: tensor.contiguous().cpu() for key, tensor in network.state_dict().items()}
    part = entry.folder / f"{name}.part"
    save_file(state, part)
    part.replace(entry.folder / f"{name}.safetensors")


def load_weights(network: nn.Module, entry: Entry, name: str) -> None:
    """Fill a network from what ``save_weights`` wrote; a weight too many or too few is an error."""
    network.load_state_dict(load_file(entry.folder / f"{name}.safetensors"))


@torch.inference_mode()
def outputs(
    network: nn.Module,
    images: Images,
    ask: Callable[[Tensor], Tensor] | None = None,
    batch: int = BATCH,
) -> Tensor:
    """What a network says of each image under the evaluation transform.

    Evaluation mode and float32 whatever training does, so that no image's result depends on the
    others in its batch; every module's mode is put back afterwards.

    Args:
        network: on the device of ``images``.
        images: N of them.
        ask: a method of the network to call instead of its ``forward``.
        batch: images asked at a time; no answer depends on it.

    Returns:
        (N, D) float32 on the CPU.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    ask = ask or network
    starts = range(0, len(images), batch)
    parts = [np.arange(start, min(start + batch, len(images))) for start in starts]
    answers = torch.cat([ask(images.centred(part)).float().cpu() for part in parts])
    for module, training in modes:
        module.training = training
    return answers


def preprocessing(images: Images) -> str:
    """SHA-256 of what stands between a stored image and the network's first convolution.

    The size, the cached size and the normalisation, and what becomes of the first images: each
    as 4 × 4 means in sixteenths, which another processor's rounding does not change.
    """
    seen = images.centred(np.arange(min(4, len(images))))
    coarse = (F.adaptive_avg_pool2d(seen, 4) * 16).floor().to(torch.uint8).cpu()
    side = images.cache.pixels.shape[-1]
    digest = hashlib.sha256(repr((images.size, side, MEAN, STD)).encode())
    digest.update(coarse.numpy().tobytes())
    return digest.hexdigest()
