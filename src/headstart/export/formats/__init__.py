"""Libraries that an encoder can be handed to; a new one is one file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.export.formats.base import Format

FORMATS: Registry[type[Format]] = Registry(
    "format",
    {
        "timm": "headstart.export.formats.timm:Timm",
        "torchvision": "headstart.export.formats.torchvision:Torchvision",
        "safetensors": "headstart.export.formats.safetensors:Safetensors",
        "onnx": "headstart.export.formats.onnx:Onnx",
        "hf": "headstart.export.formats.huggingface:HuggingFace",
    },
)
