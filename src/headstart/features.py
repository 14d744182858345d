"""An encoder of a finished run as a scikit-learn transformer: images in, features out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from headstart.config import StudyError
from headstart.data.bands import Bands, decode_bands
from headstart.data.decode import Decoded, decode, square
from headstart.data.views import centre_views
from headstart.runtime.stored import Wanted, find
from headstart.types import Floats

if TYPE_CHECKING:

    class _Base:
        """Any class: scikit-learn has no types."""

else:
    try:
        from sklearn.base import (
            BaseEstimator,
            ClassNamePrefixFeaturesOutMixin,
            TransformerMixin,
        )

        class _Base(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
            """What makes it one of scikit-learn's."""

            def __sklearn_tags__(self):
                tags = super().__sklearn_tags__()
                tags.input_tags.two_d_array = False  # a list of images is no table of numbers
                tags.no_validation = True
                return tags

    except ImportError:

        class _Base:
            """Without scikit-learn it fits and transforms all the same."""

            def fit_transform(self, X, y=None):
                return self.fit(X, y).transform(X)


class Encoder(_Base):
    """A method's encoder of a run: pictures -> features (N, D) float32.

    Pictures are a list or an array of paths, a list of PIL images, or an array (N, H, W, 3) of
    uint8. They are decoded, resized, cropped and normalised as those of the run were; of a run on
    channels that are no colours only paths are taken. ``fit`` loads
    the encoder and learns nothing, so no test picture can leak through it. It runs on the CPU.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> make_pipeline(headstart.Encoder("runs/bags"), LogisticRegression()).fit(paths, classes)

    Args:
        run: the folder of a finished run.
        method: whose encoder, as ``headstart.load_encoder`` takes it.
        seed: which seed's (default: the first).
        batch_size: pictures at a time; it changes no feature by more than rounding.
    """

    network_: nn.Module
    image_size_: int
    side_: int
    bands_: Bands | None

    def __init__(
        self,
        run: str | Path,
        method: str = "simclr",
        seed: int | None = None,
        batch_size: int = 256,
    ) -> None:
        self.run = run
        self.method = method
        self.seed = seed
        self.batch_size = batch_size

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Load the encoder; neither pictures nor classes are looked at.

        Raises:
            StudyError: no finished run, no such encoder in it, or no batch size.
        """
        if self.batch_size < 1:
            raise StudyError(f"batch_size: at least 1, not {self.batch_size!r}")
        stored = find(self.run, Wanted(self.method, self.seed))
        self.network_ = stored.encoder.requires_grad_(False)
        self.image_size_, self.side_, self.bands_ = stored.image_size, stored.side, stored.bands
        self._n_features_out = stored.encoder.num_features
        return self

    def transform(self, X: Any) -> Floats:
        """The features of pictures, (N, D) float32.

        Raises:
            StudyError: something that is no picture, or a file that cannot be read.
            NotFittedError: it was not fitted (an ``AttributeError`` without scikit-learn).
        """
        self._require_fitted()
        pictures = _pictures(X)
        parts = [
            self._features(pictures[start : start + self.batch_size], start)
            for start in range(0, len(pictures), self.batch_size)
        ]
        return np.concatenate(parts)

    def _require_fitted(self) -> None:
        try:
            from sklearn.utils.validation import check_is_fitted
        except ImportError:
            _ = self.network_
        else:
            check_is_fitted(self)

    @torch.inference_mode()
    def _features(self, pictures: Sequence[Any], first: int) -> Floats:
        squares = [self._square(p, first + i) for i, p in enumerate(pictures)]
        pixels = torch.from_numpy(np.stack([values for values, _ in squares]))
        aspect = torch.tensor([aspect for _, aspect in squares], dtype=torch.float32)
        x = self.network_(centre_views(pixels, aspect, self.image_size_))
        features: Floats = x.float().numpy()
        return features

    def _square(self, picture: Any, number: int) -> tuple[np.ndarray[Any, Any], float]:
        if self.bands_ is None:
            return _square(picture, self.side_, number)
        if not isinstance(picture, str | Path):
            raise StudyError(
                f"X[{number}]: the images of this run have channels that are no colours; give paths"
            )
        decoded = decode_bands(Path(picture), self.side_, self.bands_)
        return _pixels_of(decoded, picture, number)


def _pixels_of(
    decoded: Decoded | str, picture: str | Path, number: int
) -> tuple[np.ndarray[Any, Any], float]:
    if isinstance(decoded, str):
        raise StudyError(f"X[{number}]: {picture}: cannot be read as an image ({decoded})")
    return decoded.pixels, decoded.width / decoded.height


def _pictures(X: Any) -> list[Any]:
    """The pictures one by one; an array of one column, as a table gives it, is a list of paths."""
    if isinstance(X, str | Path | Image.Image) or not isinstance(X, Iterable):
        raise StudyError(f"X: a list of pictures is needed, not {type(X).__name__}")
    values: Any = X.to_numpy() if hasattr(X, "to_numpy") else X
    pictures = _of_array(values) if isinstance(values, np.ndarray) else list(values)
    if not pictures:
        raise StudyError("X: no picture; at least one is needed")
    return pictures


def _of_array(values: np.ndarray[Any, Any]) -> list[Any]:
    if values.dtype.kind in "OU":
        if values.ndim == 1 or values.shape[1:] == (1,):
            return list(values.ravel())
        raise StudyError(f"X: an array of paths has one column, not the shape {values.shape}")
    if values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] == 3:
        return list(values)
    raise StudyError(
        f"X: an array of pictures is (N, H, W, 3) of uint8, not {values.shape} of {values.dtype}"
    )


def _square(picture: Any, side: int, number: int) -> tuple[np.ndarray[Any, Any], float]:
    """One picture as the run keeps it."""
    if isinstance(picture, str | Path):
        return _pixels_of(decode(Path(picture), side), picture, number)
    if isinstance(picture, Image.Image):
        return square(picture, side)
    if _is_pixels(picture):
        return square(Image.fromarray(picture), side)
    raise StudyError(
        f"X[{number}]: a path, a PIL image or an array (H, W, 3) of uint8 is needed, not "
        f"{type(picture).__name__}"
    )


def _is_pixels(picture: Any) -> bool:
    if not isinstance(picture, np.ndarray):
        return False
    return picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
