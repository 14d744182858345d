"""Networks between the stages: stored, loaded strictly, and evaluated without a change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.arms import PROTOCOLS
from headstart.data.batches import Images
from headstart.files import write_bytes
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import Encoder, build_encoder
from headstart.runtime.memory import is_out_of_memory
from headstart.runtime.run import Cell, Dataset, Run
from headstart.store import Entry
from headstart.types import Ints

BATCH = 256  # images asked at a time


def backbone(run: Run) -> dict[str, Any]:
    """The arguments of ``build_encoder`` that a study fixes for every arm."""
    settings = run.study.encoder.model_dump(exclude={"weights", "further_weights"})
    channels = run.study.data.channels
    return settings if channels == "rgb" else {**settings, "channels": channels}


def save_encoder(encoder: Encoder, entry: Entry) -> None:
    """The backbone's plain weights, as timm and torchvision name them."""
    save_weights(encoder.body, entry, "encoder")


def load_encoder(run: Run, entry: Entry, data: Dataset | None = None) -> Encoder:
    """The stored encoder on the engine's device, strictly loaded.

    ``data`` gives the normalisation; without it only colour photographs have one.
    """
    encoder = build_encoder(**backbone(run))
    load_weights(encoder.body, entry, "encoder")
    if data is not None and data.bands:
        encoder.normalise_by(data.normalisation.mean, data.normalisation.std)
    return run.engine.place(encoder)


def save_weights(network: nn.Module, entry: Entry, name: str) -> None:
    """``<entry>/<name>.safetensors``: the weights and buffers of a network."""
    save_tensors(network.state_dict(), entry, name)


def save_tensors(tensors: Mapping[str, Tensor], entry: Entry, name: str) -> None:
    """``<entry>/<name>.safetensors``, moved into place when whole."""
    content = save({key: tensor.contiguous().cpu() for key, tensor in tensors.items()})
    write_bytes(entry.folder / f"{name}.safetensors", content)


def load_weights(network: nn.Module, entry: Entry, name: str) -> None:
    """Fill a network from what ``save_weights`` wrote; a weight too many or too few is an error."""
    network.load_state_dict(load_file(entry.folder / f"{name}.safetensors"))


def load_network(
    run: Run, data: Dataset, cell: Cell, entry: Entry, pretrained: Entry
) -> Supervised:
    """A stored classifier as one network from pixels in [0, 1] to logits, frozen.

    Raises:
        KeyError: the protocol has no such network (majority, k-NN).
    """
    if not PROTOCOLS[cell.protocol].network:
        raise KeyError(f"{cell.protocol} is not a network")
    network = Supervised(load_encoder(run, pretrained, data), len(data.index.classes))
    if cell.protocol == "linear":
        head = load_file(entry.folder / "head.safetensors")
        network.head.load_state_dict(head)
    else:
        load_weights(network, entry, "network")
    return run.engine.place(network).eval().requires_grad_(False)


@torch.inference_mode()
def outputs(
    network: nn.Module,
    images: Images,
    ask: Callable[[Tensor], Tensor] | None = None,
    batch: int = BATCH,
) -> Tensor:
    """The output of a network for each image under the evaluation transform.

    Evaluation mode and float32 whatever training does, so that no image's result depends on the
    others in its batch; every module's mode is put back afterwards.

    Args:
        network: on the device of ``images``.
        images: N of them.
        ask: a method of the network to call instead of its ``forward``.
        batch: images asked at a time, fewer where memory does not hold them; no answer depends
            on it.

    Returns:
        (N, D) float32 on the CPU.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    parts: list[Tensor] = []
    done = 0
    while done < len(images):
        part = np.arange(done, min(done + batch, len(images)))
        images.expect([part, np.arange(part[-1] + 1, min(part[-1] + 1 + batch, len(images)))])
        answer = _answer(ask or network, images, part)
        if answer is None:
            batch = len(part) // 2
            continue
        parts.append(answer)
        done += len(part)
    for module, training in modes:
        module.training = training
    return torch.cat(parts)


def _answer(ask: Callable[[Tensor], Tensor], images: Images, part: Ints) -> Tensor | None:
    """The answers for some images, (n, D) on the CPU; None where memory does not hold so many."""
    try:
        return ask(images.centred(part)).float().cpu()
    except (MemoryError, RuntimeError) as error:
        if len(part) < 2 or not is_out_of_memory(error):
            raise
    return None


def preprocessing(images: Images, data: Dataset) -> str:
    """SHA-256 of what happens to a stored image of ``data`` before the first convolution.

    The size, the cached size and the normalisation, and what becomes of the first images: each
    as 4 × 4 means in sixteenths, which another processor's rounding does not change.
    """
    seen = images.centred(np.arange(min(4, len(images))))
    coarse = (F.adaptive_avg_pool2d(seen, 4) * 16).floor().to(torch.uint8).cpu()
    side = images.cache.pixels.shape[-1]
    by = data.normalisation
    digest = hashlib.sha256(repr((images.size, side, by.mean, by.std)).encode())
    digest.update(coarse.numpy().tobytes())
    return digest.hexdigest()
