"""torchvision: the state dict of its model of that name, the last linear layer taken off."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from headstart.config import StudyError
from headstart.export.formats.base import (
    WEIGHTS,
    Loaded,
    Model,
    loaded,
    normalise_line,
    refuse_channels,
)
from headstart.export.formats.timm import refuse_small_stem, tensors
from headstart.files import write_bytes
from headstart.nn.encoder import last_linear, torchvision_model


class Torchvision:
    """``model.safetensors`` with torchvision's names; timm's ResNets have the same ones."""

    library = "torchvision"
    needs: tuple[str, ...] = ()

    def write(self, model: Model, folder: Path) -> None:
        """The weights of torchvision's model of that name."""
        from safetensors.torch import save

        head = last_linear(_create(model, len(model.classes) or 1))
        write_bytes(folder / WEIGHTS, save(tensors(model, head)))

    def load(self, model: Model, folder: Path) -> Loaded:
        """torchvision's model of that name, strictly loaded."""
        from safetensors.torch import load_file

        built = _create(model, len(model.classes) or 1)
        if not model.classes:
            built.set_submodule(last_linear(built), nn.Identity())
        built.load_state_dict(load_file(folder / WEIGHTS), strict=True)
        return loaded(model, built)

    def usage(self, model: Model) -> str:
        """By name; an encoder has nothing where the classifier was."""
        built = _create(model, 1)
        head = last_linear(built)
        size = f", image_size={model.image_size}" if _sized(built) else ""
        classes = f", num_classes={len(model.classes)}" if model.classes else ""
        return "\n".join(
            [
                "import torch, torchvision",
                "from safetensors.torch import load_file",
                "",
                f'model = torchvision.models.get_model("{model.backbone}"{classes}{size})',
                *([] if classes else [f'model.set_submodule("{head}", torch.nn.Identity())']),
                f'model.load_state_dict(load_file("{WEIGHTS}"), strict=True)',
                "model.eval()",
                normalise_line(model),
                f"{'logits' if classes else 'features'} = model(x)",
            ]
        )


def _create(model: Model, classes: int) -> nn.Module:
    """torchvision's model of that name, with random weights.

    Raises:
        StudyError: torchvision has none.
    """
    from torchvision import models

    if model.backbone not in models.list_models(module=models):
        raise StudyError(
            f"--to torchvision: '{model.backbone}' is timm's, and torchvision has no model of that "
            "name; take timm, hf, safetensors or onnx"
        )
    refuse_small_stem(model, "torchvision")
    refuse_channels(model, "torchvision")
    return torchvision_model(model.backbone, model.image_size, weights=None, num_classes=classes)


def _sized(built: nn.Module) -> bool:
    """Whether it is a transformer, which is built for one size of image."""
    return hasattr(built, "image_size")
