"""One picture of the user's before every arm of a finished run, side by side."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headstart.arms import Arm
from headstart.config import StudyError
from headstart.data.bands import decode_bands
from headstart.data.decode import decode
from headstart.data.views import centre_views
from headstart.files import write_bytes
from headstart.runtime.run import Classifiers, Dataset, Run
from headstart.stages.explain.maps import Bools, networks_of, reference
from headstart.stages.explain.pictures import Column, coloured, draw_sheet
from headstart.types import Doubles, Floats, Ints

ROUGH = "more steps would still change the map"


@dataclass(frozen=True)
class ExplainedImage:
    """What every arm says of one picture, and where the maps lie.

    ``predicted`` and ``target`` (A,) are class numbers of A arms; ``probabilities`` (A, C).
    ``converged`` (A, K) says for each of K attributions whether the map reached its accuracy.
    """

    arms: tuple[Arm, ...]
    classes: tuple[str, ...]
    predicted: Ints
    target: Ints
    probabilities: Doubles
    converged: Bools
    sheet: Path
    arrays: Path


def explain_image(
    run: Run, data: Dataset, classifiers: Classifiers, picture: Path, target: str | None = None
) -> ExplainedImage:
    """Maps of one picture by every arm's first seed at the most labels, and one by random weights.

    The picture is decoded as those of the study were. Without a ``target`` class each arm's own
    prediction is explained. Writes ``explained/<name>-<hash>/sheet.png`` and ``maps.npz`` into the
    run; the hash is that of the picture's path.

    Raises:
        StudyError: the picture cannot be read, or there is no such class.
    """
    classes = tuple(data.index.classes.tolist())
    asked = None if target is None else _class_number(classes, target)
    x = _view(run, data, picture)
    networks = networks_of(run.study, classifiers, seeds=1)
    answers, targets, maps, converged = [], [], [], []
    for done, network in enumerate(networks):
        run.tell.progress("explain", done, len(networks))
        loaded = network.load(run, data)
        with torch.inference_mode():
            answers.append(loaded(x).double().softmax(dim=1)[0].cpu().numpy())
        targets.append(int(answers[-1].argmax()) if asked is None else asked)
        found, accurate = _maps(run, loaded, (x, reference(data)), targets[-1])
        maps.append(found)
        converged.append(accurate)
        _tell_rough(run, network.cell.arm, accurate)
    run.tell.progress("explain", len(networks), len(networks))
    folder = run.folder / "explained" / _folder_name(picture)
    folder.mkdir(parents=True, exist_ok=True)
    photo = x[0].cpu().numpy()
    explained = ExplainedImage(
        arms=tuple(network.cell.arm for network in networks),
        classes=classes,
        predicted=np.array([answer.argmax() for answer in answers]),
        target=np.array(targets),
        probabilities=np.stack(answers),
        converged=np.stack(converged),
        sheet=folder / "sheet.png",
        arrays=folder / "maps.npz",
    )
    _save_arrays(run, explained, np.stack(maps), photo)
    _draw(run, explained, maps, data.shown(photo))
    return explained


def _class_number(classes: Sequence[str], name: str) -> int:
    if name not in classes:
        near = get_close_matches(name, classes, n=1, cutoff=0)[0]
        raise StudyError(f"--target: no class '{name}' in this run; did you mean '{near}'?")
    return classes.index(name)


def _view(run: Run, data: Dataset, picture: Path) -> Tensor:
    """(1, C, T, T): the picture as the evaluation sees those of the study."""
    if not picture.is_file():
        raise StudyError(f"--image {picture}: no such file")
    side = data.cache.pixels.shape[-1]
    decoded = decode_bands(picture, side, data.bands) if data.bands else decode(picture, side)
    if isinstance(decoded, str):
        raise StudyError(f"--image {picture}: cannot be read as an image ({decoded})")
    pixels = torch.from_numpy(decoded.pixels)[None].to(run.engine.device)
    aspect = torch.tensor([decoded.width / decoded.height], dtype=torch.float32)
    return centre_views(pixels, aspect, data.size)


def _folder_name(picture: Path) -> str:
    """Of its own for every picture: two classes may both have a 000003.jpg."""
    path = hashlib.sha256(str(picture.resolve()).encode()).hexdigest()
    return f"{picture.stem}-{path[:8]}"


def _tell_rough(run: Run, arm: Arm, converged: Bools) -> None:
    """One line for an arm with maps that are not accurate; one without any has had its own."""
    names = np.array(run.study.explain.attributions)[~converged]
    if len(names):
        run.tell.line(f"{arm}: {', '.join(names.tolist())} did not converge: {ROUGH}")


def _maps(
    run: Run, network: nn.Module, seen: tuple[Tensor, Tensor], target: int
) -> tuple[Floats, Bools]:
    """(K, H, W): a map under each attribution of the picture; zeros where there is none.

    And (K,) whether each converged; a map there is none of has nothing to converge. ``seen`` are
    the picture and the training images that it is compared with.
    """
    from headstart.attributions import NoMap, attribute

    x, references = seen
    classes = torch.tensor([target], device=x.device)
    maps = np.zeros((len(run.study.explain.attributions), *x.shape[2:]), np.float32)
    converged = np.ones(len(maps), dtype=bool)
    for k, name in enumerate(run.study.explain.attributions):
        try:
            found = attribute(network, x, classes, name, reference=references)
        except NoMap as why:
            run.tell.line(f"no map: {why}")
        else:
            maps[k] = found.maps[0].cpu().numpy()
            converged[k] = bool(found.converged[0])
    return maps, converged


def _save_arrays(run: Run, explained: ExplainedImage, maps: Floats, photo: Floats) -> None:
    """``maps`` (A, K, H, W), what they explain, and the picture (C, H, W) they were made of."""
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        arms=np.array([str(arm) for arm in explained.arms]),
        attributions=np.array(run.study.explain.attributions),
        classes=np.array(explained.classes),
        maps=maps,
        target=explained.target,
        predicted=explained.predicted,
        probabilities=explained.probabilities,
        converged=explained.converged,
        picture=photo,
    )
    write_bytes(explained.arrays, content.getbuffer())


def _marks(converged: Bools) -> tuple[str, ...]:
    """What is written into each cell of an arm."""
    return tuple("" if fine else "not converged" for fine in converged)


def _draw(run: Run, explained: ExplainedImage, maps: Sequence[Floats], photo: Floats) -> None:
    from headstart.reporting.words import percent

    seen = photo.transpose(1, 2, 0).astype(np.float64) * 255
    columns = [Column(("picture", ""), (seen,))]
    for a, arm in enumerate(explained.arms):
        share = percent(float(explained.probabilities[a, explained.target[a]])).replace(
            "\u00a0", " "
        )
        caption = f"{explained.classes[explained.target[a]]} {share}"
        pictures = tuple(coloured(m, photo) for m in maps[a])
        columns.append(Column((arm.label, caption), pictures, _marks(explained.converged[a])))
    names = [name.replace("_", " ") for name in run.study.explain.attributions]
    draw_sheet(names, columns, explained.sheet)
