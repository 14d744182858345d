"""timm: its own folder layout, which ``timm.create_model("local-dir:…")`` reads too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from headstart.config import StudyError
from headstart.export.formats.base import WEIGHTS, Loaded, Model, loaded, normalise_line
from headstart.files import write_bytes
from headstart.nn.encoder import RGB
from headstart.store import write_json


class Timm:
    """``model.safetensors`` with timm's names, and ``config.json``."""

    library = "timm"
    needs: tuple[str, ...] = ()

    def write(self, model: Model, folder: Path) -> None:
        """The weights of timm's model of that name, and what timm needs to build it."""
        from safetensors.torch import save

        built = create(model)
        head = _classifier(built, model) if model.classes else ""
        write_bytes(folder / WEIGHTS, save(tensors(model, head)))
        write_json(folder / "config.json", _config(model, built))

    def load(self, model: Model, folder: Path) -> Loaded:
        """timm's model of that name, strictly loaded."""
        from safetensors.torch import load_file

        built = create(model)
        built.load_state_dict(load_file(folder / WEIGHTS), strict=True)
        return loaded(model, built)

    def usage(self, model: Model) -> str:
        """Two ways: from the folder, or into a model that is built by name."""
        return "\n".join(
            [
                "import timm, torch",
                "",
                'model = timm.create_model("local-dir:.", pretrained=True).eval()',
                normalise_line(model),
                f"{'logits' if model.classes else 'features'} = model(x)",
                "",
                "# or, by name:",
                "from safetensors.torch import load_file",
                f"model = timm.create_model({_call(model)}).eval()",
                f'model.load_state_dict(load_file("{WEIGHTS}"), strict=True)',
            ]
        )


def create(model: Model) -> nn.Module:
    """timm's model of that name, with random weights.

    Raises:
        StudyError: timm has none.
    """
    import timm

    if not timm.is_model(model.backbone):
        raise StudyError(
            f"--to: '{model.backbone}' is torchvision's, and timm has no model of that name; take "
            "torchvision, safetensors or onnx"
        )
    refuse_small_stem(model, "timm")
    built: nn.Module = timm.create_model(model.backbone, **_arguments(model))
    return built


def refuse_small_stem(model: Model, library: str) -> None:
    """A small stem is headstart's own change of a ResNet.

    Raises:
        StudyError: the encoder has one.
    """
    if model.stem != "standard":
        raise StudyError(
            f"--to: this encoder has a stem '{model.stem}', which {library}'s {model.backbone} has "
            "not; take safetensors or onnx"
        )


def tensors(model: Model, head: str) -> dict[str, Tensor]:
    """All weights, the head under its name in the library."""
    named = {**model.body, **model.head(head)}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _arguments(model: Model) -> dict[str, Any]:
    """What timm is called with: transformers alone take a size."""
    import timm

    arguments: dict[str, Any] = {"num_classes": len(model.classes)}
    if model.channels != RGB:
        arguments["in_chans"] = model.channels
    try:
        timm.create_model(model.backbone, num_classes=0, img_size=model.image_size)
    except TypeError:
        return arguments
    return {**arguments, "img_size": model.image_size}


def _call(model: Model) -> str:
    named = [f"{name}={value}" for name, value in _arguments(model).items()]
    return ", ".join([f'"{model.backbone}"', *named])


def _classifier(built: nn.Module, model: Model) -> str:
    """The name of timm's linear classifier."""
    named: dict[str, nn.Module] = dict(built.named_modules())
    last: list[str] = [name for name, module in named.items() if module is built.get_classifier()]  # type: ignore[operator]
    if len(last) != 1 or not isinstance(named[last[0]], nn.Linear):
        raise StudyError(
            f"--to: timm's {model.backbone} does not end in one linear classifier; take "
            "safetensors or onnx, or the encoder alone"
        )
    return last[0]


def _config(model: Model, built: nn.Module) -> dict[str, Any]:
    """``config.json`` as timm writes it for a hub; the evaluation transform of the run in it."""
    arguments = _arguments(model)
    classes = arguments.pop("num_classes")
    known = getattr(built, "pretrained_cfg", {})
    # Told which is the first convolution, timm turns its weights from 3 channels into others.
    told = ("first_conv",) * (model.channels == RGB) + ("classifier", "pool_size")
    kept = {key: known[key] for key in told if key in known}
    transform = {
        "input_size": [model.channels, model.image_size, model.image_size],
        "fixed_input_size": "img_size" in arguments,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": list(model.normalisation.mean),
        "std": list(model.normalisation.std),
        "num_classes": classes,
    }
    config: dict[str, Any] = {
        "architecture": model.backbone,
        "num_classes": classes,
        "num_features": getattr(built, "num_features", model.encoder.num_features),
        "model_args": arguments,
        "pretrained_cfg": {**transform, **kept},
    }
    if model.classes:
        config["label_names"] = list(model.classes)
    return config
