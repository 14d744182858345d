"""ONNX: one file from pixels in [0, 1] to the answer, normalisation inside, for any batch size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from headstart.export.formats.base import Loaded, Model

FILE = "model.onnx"


class Onnx:
    """``model.onnx``: ``images`` to ``features``, or to ``logits`` and ``probabilities``."""

    library = "onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def write(self, model: Model, folder: Path) -> None:
        """The network as a graph whose batch may have any size."""
        network: nn.Module = _Answers(model.network) if model.classes else model.network
        size = model.image_size
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(2, model.channels, size, size),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=_outputs(model),
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.save(folder / FILE, external_data=False)

    def load(self, model: Model, folder: Path) -> Loaded:
        """An onnxruntime session on the CPU; it is asked for single images and for a batch."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])

        def ask(images: Tensor) -> Tensor:
            (found,) = session.run(_outputs(model)[:1], {"images": images.numpy()})
            return torch.from_numpy(found)

        return Loaded(lambda images: torch.cat([ask(images[:1]), ask(images[1:])]), None)

    def usage(self, model: Model) -> str:
        """With onnxruntime; nothing is left to be normalised."""
        return "\n".join(
            [
                "import onnxruntime",
                "",
                f'session = onnxruntime.InferenceSession("{FILE}")',
                f"# x: float32 array (B, {model.channels}, "
                f"{model.image_size}, {model.image_size}) in [0, 1], B as you like",
                f'{", ".join(_outputs(model))} = session.run(None, {{"images": x}})'
                if model.classes
                else '(features,) = session.run(None, {"images": x})',
            ]
        )


class _Answers(nn.Module):
    """Logits and probabilities (B, C) of images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images)
        return logits, logits.softmax(dim=1)


def _outputs(model: Model) -> list[str]:
    return ["logits", "probabilities"] if model.classes else ["features"]
