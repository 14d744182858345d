"""Hugging Face: timm's folder, which ``transformers`` wraps as it is (``TimmWrapperModel``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from headstart.export.formats.base import Loaded, Model, loaded, normalise_line, refuse_channels
from headstart.export.formats.timm import Timm


class HuggingFace(Timm):
    """The files of ``timm``, read back with ``transformers``."""

    library = "transformers"
    needs = ("transformers",)

    def write(self, model: Model, folder: Path) -> None:
        """As timm's; its image processor knows three channels of 8 bits only."""
        refuse_channels(model, "transformers")
        super().write(model, folder)

    def load(self, model: Model, folder: Path) -> Loaded:
        """What ``transformers`` makes of the folder.

        Raises:
            ValueError: a weight that found no place, or a place without a weight.
        """
        import transformers

        loader: Any = getattr(transformers, _auto(model))
        with _no_progress_bar():
            network, info = loader.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        wrong = sorted(str(name) for kind in _WRONG for name in info.get(kind) or ())
        if wrong:
            raise ValueError(f"{len(wrong)} weights do not fit (first: {wrong[0]})")
        return loaded(model, _Answer(network, _output(model)), "network.timm_model.")

    def usage(self, model: Model) -> str:
        """From the folder; the processor resizes, crops and normalises."""
        return "\n".join(
            [
                "import torch",
                f"from transformers import AutoImageProcessor, {_auto(model)}",
                "",
                'processor = AutoImageProcessor.from_pretrained(".")  # resizes, crops, normalises',
                f'model = {_auto(model)}.from_pretrained(".").eval()',
                'pixels = processor(image, return_tensors="pt")["pixel_values"]  # a PIL image',
                f"{'logits' if model.classes else 'features'} = model(pixels).{_output(model)}",
                "",
                "# or of images x that are already resized and cropped:",
                normalise_line(model),
                f"{'logits' if model.classes else 'features'} = model(x).{_output(model)}",
            ]
        )


_WRONG = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Load without a bar; the host's own choice is put back."""
    from transformers.utils import logging as library

    logging: Any = library
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class _Answer(nn.Module):
    """One tensor of what a model of ``transformers`` answers."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = getattr(self.network(x), self.output)
        return answer


def _auto(model: Model) -> str:
    return "AutoModelForImageClassification" if model.classes else "AutoModel"


def _output(model: Model) -> str:
    return "logits" if model.classes else "pooler_output"
