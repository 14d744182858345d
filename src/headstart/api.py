"""headstart from Python: what the command line does, with the same defaults, checks and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config import Study, StudyError
from headstart.layers import FLAGS, Layers, compose_study, flag_layers

if TYPE_CHECKING:
    from torch import nn

    from headstart.results import Comparisons, Results
    from headstart.runtime.run import Tell
    from headstart.stages.predict import Predicted
    from headstart.stages.suggest import Suggested

Location = str | Path
_IMAGES = ("unlabeled", "labeled")


def run(
    study: Location | None = None,
    *,
    out: Location = "runs/study",
    preset: str = "standard",
    progress: bool = True,
    **settings: Any,
) -> Results:
    """Compare self-supervised pretraining with supervised training, as ``headstart run`` does.

    The run folder is taken up again where it holds finished work.

    Args:
        study: a study file (YAML).
        out: the run folder.
        preset: quick, standard or paper.
        progress: whether to say on stderr how far it is.
        settings: flags of the command line with underscores (``unlabeled=``, ``labeled=``,
            ``methods=["simclr"]``, ``seeds=[0, 1]``, ``label_fractions=``, ``epochs=`` …), or
            groups of the study file (``pretrain={"epochs": 200}``). ``unlabeled=`` and ``labeled=``
            take data sets too, a ``torch.utils.data.Dataset`` or ``datasets.Dataset``: see
            ``headstart.data.given``. They are laid down as files in ``out/given``.

    Returns:
        The results, as ``load_results(out)`` gives them.

    Raises:
        StudyError: the user's mistake, in one line; the same as on the command line.
    """
    from headstart.pipeline import run_study

    handed = [name for name in _IMAGES if not isinstance(settings.get(name, ""), Location)]
    settings = _with_files(settings, Path(out) / "given")
    asked = compose_study(preset, None if study is None else Path(study), _layers(settings))
    if handed and asked.data.channels != "rgb":
        raise StudyError(
            f"{handed[0]}: a data set of Python is laid down as pictures of 8 bits; with "
            "data.channels give files"
        )
    with _watching(progress) as tell:
        return run_study(asked, Path(out), tell, "headstart.run()").results


def explain(run: Location, *, progress: bool = True, **settings: Any) -> Results:
    """Ask where the networks of a finished run look; nothing is trained again.

    Args:
        run: the folder of a finished run.
        progress: whether to say on stderr how far it is.
        settings: ``attributions=``, ``images=``, ``masks=``, ``device=``, or ``explain={…}``.

    Raises:
        StudyError: no finished run, or a setting that is none of explaining.
    """
    from headstart.finished import explain_run

    with _watching(progress) as tell:
        return explain_run(Path(run), _layers(settings), tell, "headstart.explain()").results


def compare(
    *paths: Location, baseline: Location | None = None, margin: float | None = None
) -> Comparisons:
    """Compare stored predictions again, as ``headstart compare`` does.

    Args:
        paths: one run folder, or two or more CSV files of predictions.
        baseline: the file to compare with (default: the first).
        margin: the smallest difference that matters, a share.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        StudyError: files that cannot be read or do not fit together.
    """
    from headstart.stages.compare import compare_paths

    places = [Path(path) for path in paths]
    are_files = len(places) > 1 or (bool(places) and places[0].is_file())
    first = None if baseline is None else Path(baseline)
    return compare_paths(places, first, margin, are_files=are_files).found


def predict(
    run: Location,
    images: Sequence[Location],
    *,
    arm: str = "best",
    label_fraction: float | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> Predicted:
    """Name the classes of images with a classifier of a finished run, as ``headstart predict``.

    Args:
        run: the folder of a finished run.
        images: image files, folders, ``.zip`` or ``.tar`` files.
        arm: ``method/protocol``, or the best on the validation images.
        label_fraction: of several amounts of labels (default: the largest).
        seed: of several seeds (default: the first).
        progress: whether to say on stderr how far it is.

    Returns:
        Calibrated probabilities, distances to the training images and features, image by image.

    Raises:
        StudyError: no finished run, no such classifier, or no image that can be read.
    """
    from headstart.finished import predict_images
    from headstart.stages.predict import Wanted

    wanted = Wanted(arm, label_fraction, seed)
    with _watching(progress) as tell:
        return predict_images(Path(run), [Path(image) for image in images], wanted, tell)


def suggest(
    run: Location,
    n: int = 100,
    *,
    out: Location | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Suggested:
    """Suggest unlabelled images that are worth labelling first, as ``headstart suggest`` does.

    Args:
        run: the folder of a finished run.
        n: how many images.
        out: a folder for ``suggestions.csv`` and ``sheet.jpg``; nothing is written without.
        seed: of k-means.
        progress: whether to say on stderr how far it is.

    Returns:
        The images in the order in which to label them; ``trial`` says whether such a choice beat
        a random one on the labelled images, ``lines`` say it in words.

    Raises:
        StudyError: no finished run, no or too few unlabelled images, or no scikit-learn.
    """
    from headstart.finished import suggest_images

    with _watching(progress) as tell:
        return suggest_images(Path(run), n, None if out is None else Path(out), seed, tell)


def load_encoder(run: Location, method: str, seed: int | None = None) -> nn.Module:
    """The encoder that a method trained: images (B, 3, H, W) in [0, 1] -> features (B, D).

    It normalises inside, lies on the CPU and is in evaluation mode; its ``body`` is the plain timm
    or torchvision backbone.

    Args:
        run: the folder of a finished run.
        method: a method of the run; ``random`` for the untrained start; with further weights
            ``weights@NAME`` for these as they are, and ``METHOD@NAME`` for a method that went on
            from them.
        seed: which seed's (default: the first).

    Raises:
        StudyError: no finished run, no such encoder in it, or a damaged file.
    """
    from headstart.runtime.stored import Wanted, find

    return find(run, Wanted(method, seed)).network


def load_classifier(
    run: Location,
    method: str,
    protocol: str = "finetune",
    *,
    seed: int | None = None,
    label_fraction: float | None = None,
) -> nn.Module:
    """A classifier of a run as one network: images (B, 3, H, W) in [0, 1] -> logits (B, C).

    It normalises inside, lies on the CPU and is in evaluation mode; its ``encoder`` gives features,
    its ``head`` is one linear layer. The classes have the order of ``results.data.classes``.

    Args:
        run: the folder of a finished run.
        method: a method of the run, ``random``, or ``supervised``.
        protocol: ``finetune`` or ``linear``; of ``supervised`` it is ``supervised``.
        seed: which seed's (default: the first).
        label_fraction: which share of the labels it learned from (default: the largest).

    Raises:
        StudyError: no finished run, no such classifier in it, or a damaged file.
    """
    from headstart.runtime.stored import Wanted, find

    return find(run, Wanted(method, seed, protocol, label_fraction)).network


def _with_files(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings with a path for each data set that was handed over."""
    from headstart.data.given import stored

    return {
        name: stored(value, name, folder, labeled=name == "labeled")
        if name in _IMAGES and not isinstance(value, Location)
        else value
        for name, value in settings.items()
    }


def _layers(settings: Mapping[str, Any]) -> Layers:
    """Keyword arguments as layers: flags by their short names, groups of the study file whole."""
    layers: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in settings.items():
        if name in FLAGS:
            layers += flag_layers({name: value})
        elif name in Study.model_fields:
            layers.append((name, {name: value}))
        else:
            near = get_close_matches(name, [*FLAGS, *Study.model_fields], n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise StudyError(f"{name}: unknown setting{hint}")
    return layers


def _watching(progress: bool) -> AbstractContextManager[Tell | None]:
    if not progress:
        return nullcontext()
    from headstart.terminal import Terminal

    return Terminal()
