"""Plain weights, for code of one's own: what ``headstart run --weights`` takes too."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from headstart.export.formats.base import WEIGHTS, Loaded, Model
from headstart.files import write_bytes
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import build_encoder


class Safetensors:
    """``model.safetensors`` with the names of the run's own backbone.

    Of a classifier they stand behind ``body.``, beside ``head.weight`` and ``head.bias``.
    """

    library = "safetensors"
    needs: tuple[str, ...] = ()

    def write(self, model: Model, folder: Path) -> None:
        """The weights of any backbone, of one with a small stem too."""
        from safetensors.torch import save

        named = {f"{_prefix(model)}{name}": tensor for name, tensor in model.body.items()}
        named |= model.head("head")
        content = save({name: tensor.contiguous() for name, tensor in named.items()})
        write_bytes(folder / WEIGHTS, content)

    def load(self, model: Model, folder: Path) -> Loaded:
        """The file in a backbone that is built anew; safetensors itself knows no networks."""
        from safetensors.torch import load_file

        stored = load_file(folder / WEIGHTS)
        size, channels = model.image_size, model.channels
        encoder = build_encoder(model.backbone, image_size=size, stem=model.stem, channels=channels)
        encoder.normalise_by(model.normalisation.mean, model.normalisation.std)
        network: nn.Module = encoder
        if model.classes:
            network = Supervised(encoder, len(model.classes))
            network.load_state_dict({_inside(name): t for name, t in stored.items()}, strict=True)
        else:
            encoder.body.load_state_dict(stored, strict=True)
        weights = {n.removeprefix(_prefix(model)): tensor for n, tensor in stored.items()}
        return Loaded(network.eval().__call__, weights)

    def usage(self, model: Model) -> str:
        """As tensors by name, and in a study."""
        lines = ["from safetensors.torch import load_file", "", f'weights = load_file("{WEIGHTS}")']
        if model.classes:
            lines.append("# features @ weights['head.weight'].T + weights['head.bias'] are logits")
        small = model.stem != "standard"
        return "\n".join([*lines, *(["# conv1 is 3x3 of stride 1, without max-pool"] * small)])


def _prefix(model: Model) -> str:
    return "body." if model.classes else ""


def _inside(name: str) -> str:
    """The name in headstart's own classifier."""
    return f"encoder.{name}" if name.startswith("body.") else name
