"""Composites by hand, and oracles that read only the object or only the background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from headstart.attributions import attribute
from headstart.attributions.localisation import localise
from headstart.data.composites import KINDS, plan_composites, without_foreground
from headstart.stats.background import Answers, gap_difference, reliance
from headstart.stats.bootstrap import Resampling
from headstart.stats.focus import means

K, SIDE = 4, 24
PLAN = Resampling(replicates=500)
COLOUR = np.array([0.0, 0.9, 0.0])  # not a colour of any object or background here


def scenes(n=80, shortcut=0.0, seed=0):
    """Red objects on blue backgrounds: how red is the class, how blue is the background's family.

    Family and class agree with probability ``shortcut + (1 − shortcut)/K``, as in the generated
    bags.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    family = np.where(rng.random(n) < shortcut, y, rng.integers(K, size=n))
    x, masks = np.zeros((n, 3, SIDE, SIDE), np.float32), np.zeros((n, SIDE, SIDE), bool)
    for i in range(n):
        top, left = rng.integers(2, SIDE - 12, 2)
        high, wide = rng.integers(5, 10, 2)
        masks[i, top : top + high, left : left + wide] = True
        masks[i, top, left] = False  # not quite a rectangle
        x[i, 0][masks[i]] = 0.25 * (y[i] + 1)
        x[i, 2][~masks[i]] = 0.25 * (family[i] + 1)
    return torch.from_numpy(x), masks, y, family


class Reader(nn.Module):
    """Reads the class off one colour: the mean of the pixels that have it, red or blue."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, x):
        own = x[:, self.channel]
        seen = own > 0.1
        level = (own * seen).sum((1, 2)) / seen.sum((1, 2)).clamp(min=1)
        return -20 * (level[:, None] - 0.25 * (torch.arange(K) + 1)) ** 2


def planned(x, masks, y, seed=0):
    return plan_composites(lambda i: x[torch.from_numpy(i)], masks, y, COLOUR, seed)


def answers(model, made):
    every = np.arange(len(made))
    found = {kind: model(made.batch(kind, every)).argmax(1).numpy() for kind in KINDS}
    return Answers(y=made.y, background=made.background, classes=K, **found)


def test_every_kind_by_hand():
    x, masks, y, family = scenes()
    made, kept = planned(x, masks, y)
    assert kept.tolist() == list(range(80))
    some = np.array([5, 0, 33])
    mask = torch.from_numpy(masks[some])[:, None]
    for kind, background in [
        ("only_fg", None),
        ("only_bg", some),
        ("mixed_same", made.same[some]),
        ("mixed_rand", made.rand[some]),
    ]:
        if background is None:
            expected = torch.tensor([0.0, 0.9, 0.0]).view(1, 3, 1, 1).expand(3, 3, SIDE, SIDE)
        else:
            level = torch.from_numpy(0.25 * (family[background] + 1)).float().view(3, 1, 1, 1)
            expected = level * torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
            expected = expected.expand(3, 3, SIDE, SIDE)
        if kind != "only_bg":
            expected = torch.where(mask, x[some], expected)
        torch.testing.assert_close(made.batch(kind, some), expected)
    assert torch.equal(made.batch("original", some), x[some])
    with pytest.raises(ValueError, match="not one of original"):
        made.batch("mixed_next", some)


def test_donors():
    x, masks, y, _ = scenes(200)
    made, _ = planned(x, masks, y)
    every = np.arange(200)
    assert (made.y[made.same] == made.y).all()
    assert (made.same != every).all()
    assert (made.rand != every).all()
    assert sorted(made.same) == list(every)  # each gives its background once
    shares = np.bincount(made.background, minlength=K) / 200
    assert np.abs(shares - 1 / K).max() < 0.12
    assert 0.1 < (made.background == made.y).mean() < 0.4  # its own class too
    again, other = planned(x, masks, y)[0], planned(x, masks, y, seed=1)[0]
    np.testing.assert_array_equal(made.rand, again.rand)
    assert (made.rand != other.rand).any()


def test_batches_do_not_depend_on_each_other():
    made, _ = planned(*scenes()[:3])
    for kind in KINDS:
        together = made.batch(kind, np.arange(80))
        assert torch.equal(made.batch(kind, np.array([7, 3])), together[[7, 3]])


def test_images_that_cannot_be_used_are_left_out():
    x, masks, y, _ = scenes(16)
    masks[0] = False
    masks[1] = True
    masks[2, 1:-1, 1:-1] = True  # nothing beside it worth tiling
    y[:] = 0
    y[15] = 3  # alone in its class
    made, kept = planned(x, masks, y)
    assert kept.tolist() == list(range(3, 15))
    assert len(made) == 12
    assert torch.equal(made.batch("original", np.array([0])), x[3:4])
    with pytest.raises(ValueError, match="no two images"):
        planned(x[:2], masks[:2], y[:2])
    with pytest.raises(ValueError, match="do not fit"):
        planned(x, masks, y[:3])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_nothing_of_the_object_is_left(seed):
    """Objects of any shape in a colour that no background has, in backgrounds without order."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(0.5 * rng.random((1, 3, 20, 20)).astype(np.float32))
    mask = np.zeros((20, 20), bool)
    top, left = rng.integers(0, 12, 2)
    mask[top : top + 8, left : left + 7] = rng.random((8, 7)) < 0.5
    mask[top + 3, left + 3] = True
    x[0][:, torch.from_numpy(mask)] = 1
    filled = without_foreground(x, mask[None])
    assert float(filled.max()) <= 0.5
    changed = (filled != x).any(1)[0].numpy()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    outside = np.ones((20, 20), bool)
    outside[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2] = False
    assert not changed[outside].any()  # the picture beside the box is as it was
    # Every colour in the box is one of the background's.
    background = {tuple(c) for c in x[0][:, torch.from_numpy(outside)].T.tolist()}
    assert {tuple(c) for c in filled[0].flatten(1).T.tolist()} <= background


def test_an_image_without_background_cannot_be_filled():
    with pytest.raises(ValueError, match="no background"):
        without_foreground(torch.zeros(1, 3, 8, 8), np.ones((1, 8, 8), bool))


@pytest.mark.parametrize("shortcut", [0.0, 0.6])
def test_oracles_are_told_apart(shortcut):
    """The reader of backgrounds scores what the knob says; gap and focus separate the two."""
    x, masks, y, family = scenes(200, shortcut)
    made, _ = planned(x, masks, y)
    of_object, of_background = (answers(Reader(channel), made) for channel in (0, 2))
    np.testing.assert_array_equal(of_background.original, family)
    reads_object, reads_background = reliance(of_object, PLAN), reliance(of_background, PLAN)
    knob = shortcut + (1 - shortcut) / K
    low, high = reads_background.accuracy["original"][1:]
    assert low <= knob <= high
    assert reads_object.accuracy["original"].value == 1
    assert reads_object.gap == (0, 0, 0)
    if shortcut:
        assert reads_object.gap.high < reads_background.gap.low
        assert gap_difference(of_background, of_object, PLAN).low > 0
        assert reads_background.skill_p < 0.01
        assert reads_background.follows_more.low > 0
    else:  # it reads the background, but the background says nothing of the class
        assert reads_background.gap.low < 0.1


@pytest.mark.parametrize("name", ["saliency", "smoothgrad"])
def test_focus_tells_the_oracles_apart(name):
    x, masks, y, _ = scenes(24)
    target = torch.from_numpy((y + 1) % K)  # a class it does not see: the score has a slope
    found = []
    for channel in (0, 2):
        maps = attribute(Reader(channel), x, target, name).maps.numpy()
        found.append(means(vars(localise(maps, masks)), plan=PLAN))
    on_object, on_background = found
    assert on_object["lift"].low > on_background["lift"].high
    assert on_object["lift"].low > 1
    assert on_background["lift"].high < 1
    assert on_object["background"].high < on_background["background"].low


def test_donors_are_of_another_group_where_the_class_has_one():
    """Photos of one scene share their background: as a donor it would be the image's own."""
    x, masks, y, _ = scenes()
    groups = np.arange(80) // 20 * 10 + y  # five photos of each of four scenes a class

    def drawn(groups):
        return plan_composites(lambda i: x[torch.from_numpy(i)], masks, y, COLOUR, groups=groups)

    made, kept = drawn(groups)
    assert len(kept) == 80
    assert (groups[made.same] != groups).all()
    assert (groups[made.rand] != groups).all()
    assert (y[made.same] == y).all()
    assert sorted(made.same.tolist()) == list(range(80))
    # Sabotage: without groups some images stand on their own scene.
    assert (groups[drawn(None)[0].same] == groups).any()
    alone = drawn(y)[0]  # one group a class: another image of it, never itself
    assert (alone.same != np.arange(80)).all()
    assert (alone.rand != np.arange(80)).all()
