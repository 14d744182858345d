"""What a format is: files for one library, and the way that this library reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor, nn

from headstart.config import StudyError
from headstart.data.channels import Normalisation
from headstart.methods.supervised import Supervised
from headstart.nn.encoder import RGB, Encoder
from headstart.runtime.run import RGB_NORMALISATION
from headstart.runtime.stored import Stored

WEIGHTS = "model.safetensors"

Network = Callable[[Tensor], Tensor]
"""Images (B, C, T, T) float32 in [0, 1] -> features (B, D), or logits (B, C) of a classifier."""


@dataclass(frozen=True)
class Model:
    """What is exported: a network with the backbone it is made of."""

    backbone: str
    image_size: int
    stem: str
    network: Encoder | Supervised
    """Evaluation mode, float32, on the CPU."""
    classes: tuple[str, ...]
    """In the order of the logits; empty for an encoder alone."""
    normalisation: Normalisation = RGB_NORMALISATION
    """Inside the network; a library's network has it in front."""

    @classmethod
    def of(cls, stored: Stored) -> Model:
        """The network of a run as it is exported."""
        settings = stored.results.study["encoder"]
        classes = stored.classes if isinstance(stored.network, Supervised) else ()
        backbone, stem = settings["backbone"], settings["stem"]
        by = stored.normalisation
        return cls(backbone, stored.image_size, stem, stored.network, classes, by)

    @property
    def channels(self) -> int:
        """Of the images that it takes."""
        return len(self.normalisation.mean)

    @property
    def encoder(self) -> Encoder:
        """The encoder, without a head."""
        return self.network.encoder if isinstance(self.network, Supervised) else self.network

    @property
    def body(self) -> Mapping[str, Tensor]:
        """The backbone's weights by its library's names."""
        weights: Mapping[str, Tensor] = self.encoder.body.state_dict()
        return weights

    def head(self, name: str) -> dict[str, Tensor]:
        """The weights of the linear head under a library's name for it; none for an encoder."""
        if not isinstance(self.network, Supervised):
            return {}
        head: dict[str, Tensor] = self.network.head.state_dict(prefix=f"{name}.")
        return head


class Format(Protocol):
    """One library's files; made without arguments."""

    library: ClassVar[str]
    """As the Hugging Face Hub calls it."""
    needs: ClassVar[tuple[str, ...]]
    """Modules that must be there beside what headstart itself needs."""

    def write(self, model: Model, folder: Path) -> None:
        """Write the files that the library reads.

        Raises:
            StudyError: the library has no such network, in one line.
        """

    def load(self, model: Model, folder: Path) -> Loaded:
        """What the library makes of the written files: every weight in its place, or an error."""

    def usage(self, model: Model) -> str:
        """The same in lines of Python for a reader; ``x`` are images (B, C, T, T) in [0, 1]."""


@dataclass(frozen=True)
class Loaded:
    """What a library made of the files.

    ``weights`` are those of its network by the backbone's own names, those of a linear head last;
    None where the library has no weights by name.
    """

    answer: Network
    weights: Mapping[str, Tensor] | None


def loaded(model: Model, network: nn.Module, prefix: str = "") -> Loaded:
    """A library's network behind the normalisation that headstart has inside; ``prefix`` is what
    the library puts before the names of its weights.
    """
    weights = {n.removeprefix(prefix): w for n, w in network.state_dict().items()}
    encoder = Encoder(network, 0, model.channels)
    encoder.normalise_by(model.normalisation.mean, model.normalisation.std)
    return Loaded(encoder.eval().__call__, weights)


def normalise_line(model: Model) -> str:
    """The normalisation as a line of Python."""
    by, shape = model.normalisation, f"({model.channels}, 1, 1)"
    return (
        f"x = (x - torch.tensor({list(by.mean)}).view{shape}) "
        f"/ torch.tensor({list(by.std)}).view{shape}"
    )


def refuse_channels(model: Model, library: str) -> None:
    """Some libraries' backbones take three channels only.

    Raises:
        StudyError: the encoder takes another number.
    """
    if model.channels != RGB:
        raise StudyError(
            f"--to: {library}'s {model.backbone} takes images of {RGB} channels, and this encoder "
            f"{model.channels}; take timm, safetensors or onnx"
        )
