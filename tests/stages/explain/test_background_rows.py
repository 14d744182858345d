"""Who reads the background is told from who reads the object, by what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made_atlas import SIDE, atlas, cell, noise, open_data
from torch import Tensor, nn

from headstart.arms import Arm
from headstart.data.cache import PixelCache
from headstart.reporting.sentences import sentence, with_sentences
from headstart.results import Background, Centre, NotMeasured
from headstart.stages.explain.background import (
    _centre_row,
    _scenes,
    background_rows,
    centre_rows,
)
from headstart.stages.explain.maps import Atlas, Bools
from headstart.types import Ints

PER_CLASS = 14
OBJECT, SCENE, NULL = "supervised/supervised", "simclr/finetune", "random/linear"
MASK = np.zeros((SIDE, SIDE), dtype=bool)
MASK[8:24, 8:24] = True


class Reads(nn.Module):
    """Says which colour channel is strongest inside a window: that is the class."""

    def __init__(self, rows: slice) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return 20 * x[:, :, self.rows, self.rows].mean(dim=(2, 3))


@dataclass(frozen=True)
class Middle:
    """The middle of every image is the object; ``without`` (N,) images have no mask."""

    without: int = 0
    key: str = "middle"
    mask: npt.NDArray[np.bool_] = field(default_factory=lambda: MASK)

    def known(self, positions: Ints) -> Bools:
        return np.arange(len(positions)) >= self.without

    def at(self, positions: Ints) -> npt.NDArray[np.bool_]:
        return np.repeat(self.mask[None], len(positions), axis=0)


def coloured(folder: Path, **explain: object) -> Atlas:
    """Three classes; object and background of an image both have the colour of its class."""
    run, data = open_data(folder, held_out=PER_CLASS, **explain)
    labels, rng = data.index.labels, np.random.default_rng(0)
    pixels = rng.integers(0, 60, (len(labels), 3, 40, 40)).astype(np.uint8)
    for i, label in enumerate(labels.tolist()):
        pixels[i, label] += 150
    cache = PixelCache(pixels, *(getattr(data.cache, n) for n in ("aspect", "digests", "reasons")))
    data = replace(data, cache=cache)
    centre, corner = Reads(slice(13, 19)), Reads(slice(0, 5))
    modules: dict[Any, nn.Module] = {
        cell(OBJECT, 0): centre,
        cell(SCENE, 0): corner,
        cell(NULL, 0): centre,
        cell(NULL, 1): centre,
    }
    maps = {c: noise(3 * PER_CLASS, i) for i, c in enumerate(modules)}
    return atlas(run, data, maps, modules=modules)


def by_arm(rows: Sequence[Background] | Sequence[Centre]) -> dict[str, dict[str, Any]]:
    """Rows as ``results.json`` has them."""
    return {str(row.arm): row.model_dump(mode="json") for row in with_sentences(rows)}


def test_who_reads_the_background_is_found_out(tmp_path: Path) -> None:
    found = background_rows(coloured(tmp_path), Middle())  # type: ignore[arg-type]
    rows = by_arm(found.arms)
    assert set(rows) == {OBJECT, SCENE, NULL}
    looks, leans = rows[OBJECT], rows[SCENE]
    assert looks["accuracy"]["mixed_rand"]["value"] == 1
    assert looks["gap"]["value"] == 0
    assert "was not shown to lean on the background" in looks["sentence"]
    assert leans["accuracy"]["original"]["value"] == 1
    assert leans["gap"]["low"] > 0.3
    assert leans["skill"]["low"] > 0.5
    assert leans["skill_p"] < 0.01
    assert leans["follows"] == 1
    assert "leans on the background" in leans["sentence"]
    assert "background alone tells it the class" in leans["sentence"]
    assert leans["worst_group"] is None  # no groups of the user's own
    (difference,) = with_sentences(found.differences)
    assert (str(difference.arm_a), str(difference.arm_b)) == (OBJECT, SCENE)
    assert difference.high is not None
    assert difference.high < 0
    assert difference.sentence.startswith("Fine-tuned SimCLR leans on the background more")


def test_too_few_masks_measure_nothing(tmp_path: Path) -> None:
    few = Middle(without=3 * PER_CLASS - 5)
    found = background_rows(coloured(tmp_path), few)  # type: ignore[arg-type]
    assert found.arms == found.differences == ()
    (gap,) = found.not_measured
    assert (gap.reason, gap.images, gap.needed) == ("few masked images", 5, 10)


def test_the_reason_is_told_where_no_background_can_be_exchanged(tmp_path: Path) -> None:
    full = Middle(mask=np.ones((SIDE, SIDE), dtype=bool))
    (gap,) = background_rows(coloured(tmp_path / "full"), full).not_measured  # type: ignore[arg-type]
    assert gap.reason == "no pair of images"
    made = coloured(tmp_path / "none", background_images=0)
    (gap,) = background_rows(made, Middle()).not_measured  # type: ignore[arg-type]
    assert gap.reason == "turned off"


def test_groups_are_donors_of_others_and_drawn_as_wholes(tmp_path: Path) -> None:
    """Photos in pairs: no pair member stands on the other's scene, and the worst pair is told."""
    made = coloured(tmp_path)
    index, study = made.data.index, made.run.study
    groups = index.groups.copy()
    groups[made.positions] = 1000 + np.arange(len(made.positions)) // 7
    named = study.model_copy(update={"data": study.data.model_copy(update={"groups": "folder"})})
    made = replace(
        made,
        run=replace(made.run, study=named),
        data=replace(made.data, index=replace(index, groups=groups)),
    )
    scenes = _scenes(made, Middle())  # type: ignore[arg-type]
    assert not isinstance(scenes, NotMeasured)
    own = groups[scenes.positions]
    assert (own[scenes.composites.same] != own).all()
    assert (own[scenes.composites.rand] != own).all()
    rows = by_arm(background_rows(made, Middle()).arms)  # type: ignore[arg-type]
    worst = rows[OBJECT]["worst_group"]
    assert (worst["accuracy"], worst["expected"], worst["p"], worst["images"]) == (1, 1, 1, 7)
    assert rows[SCENE]["gap"]["low"] > 0
    assert rows[SCENE]["seed"] == 0


def test_the_proxy_without_masks_says_middle_or_border(tmp_path: Path) -> None:
    made = coloured(tmp_path)
    with torch.no_grad():
        rows = by_arm(centre_rows(made))
    # One colour everywhere: blurring either part changes nothing.
    assert abs(rows[OBJECT]["difference"]["value"]) < 0.05
    assert set(rows) == {OBJECT, SCENE, NULL}
    assert all(row["images"] == 3 * PER_CLASS for row in rows.values())
    assert all(row["seed"] == 0 for row in rows.values())


@pytest.mark.parametrize(
    ("centre", "border", "says"),
    [
        (0.3, 0.1, "blurring the middle costs the true class more than blurring the border"),
        (0.1, 0.3, "blurring the border costs the true class more than blurring the middle"),
        # Blurring the border helps the class by more than blurring the middle costs it.
        (0.1, -0.3, "blurring the middle costs the true class more than blurring the border"),
        (0.2, 0.2, "no difference between blurring the middle and the border could be shown"),
    ],
)
def test_the_proxy_says_what_costs_more(
    centre: float, border: float, says: str, tmp_path: Path
) -> None:
    spread = np.tile([-0.05, 0.05], 3 * PER_CLASS // 2)
    falls = {"centre": centre + spread, "border": np.full(3 * PER_CLASS, border)}
    row = _centre_row(coloured(tmp_path), Arm.parse(OBJECT), falls)
    assert str(sentence(row)).endswith(says)
