"""Grad-CAM: the formula by hand, and the right stage in backbones of many kinds."""

from __future__ import annotations

import pytest
import torch
from small_networks import some_images
from torch import nn
from torch.nn import functional as F

from headstart.attributions import NoMap, attribute
from headstart.attributions.grad_cam import deepest_stage
from headstart.nn.encoder import build_encoder


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Staged(nn.Module):
    """A stem, a stage of 8 × 8 cells and one of 4 × 4, for images of 16 px."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.fine = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.coarse = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.coarse(self.fine(self.stem(x))).mean((2, 3)))


def test_equals_the_formula_by_hand():
    model, x, target = Staged().eval(), some_images(4), torch.tensor([0, 1, 2, 1])
    found = attribute(model, x, target, "grad_cam", batch_size=3).maps
    for i in range(4):
        A = model.fine(model.stem(x[i : i + 1])).detach().requires_grad_()
        score = model.head(model.coarse(A).mean((2, 3)))[0, target[i]]
        (gradient,) = torch.autograd.grad(score, A)
        coarse = torch.zeros(8, 8)
        for k in range(8):
            coarse += gradient[0, k].mean() * A[0, k].detach()
        coarse = coarse.clamp(min=0)
        # Bilinear enlargement by two, by hand: ¾ of the cell and ¼ of the nearer neighbour.
        padded = F.pad(coarse[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        for row, column in [(0, 0), (5, 8), (15, 2)]:
            r, c = row // 2 + 1, column // 2 + 1
            dr, dc = (1 if row % 2 else -1), (1 if column % 2 else -1)
            expected = 0.5625 * padded[r, c] + 0.0625 * padded[r + dr, c + dc]
            expected += 0.1875 * (padded[r + dr, c] + padded[r, c + dc])
            torch.testing.assert_close(found[i, row, column], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "side", "stage", "cells"),
    [
        ("resnet18", 64, "layer2", 8),
        ("resnet18", 32, "layer1", 8),
        ("resnet26", 64, "layer2", 8),  # bottlenecks: layer3 begins with a layer of 8 × 8 cells
        ("mobilenetv3_small_050", 64, "blocks.1", 8),
        ("convnext_atto", 64, "stages.1", 8),
    ],
)
def test_finds_the_deepest_stage(backbone, side, stage, cells):
    body = build_encoder(backbone, image_size=side).eval().body
    sizes = []
    found = deepest_stage(body, torch.zeros(1, 3, side, side))
    found.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[2:])))
    body(torch.zeros(1, 3, side, side))
    names = {module: name for name, module in body.named_modules()}
    assert names[found] == stage
    assert sizes == [(cells, cells)]


@pytest.mark.parametrize("backbone", ["densenet121", "mobilenet_v2"])
def test_backbones_written_as_one_sequence(backbone):
    """Nothing inside a sequence is hidden by the small map that the whole of it ends in."""
    body = build_encoder(backbone, image_size=64).eval().body
    sizes = []
    found = deepest_stage(body, torch.zeros(1, 3, 64, 64))
    found.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[2:])))
    body(torch.zeros(1, 3, 64, 64))
    assert sizes == [(8, 8)]


@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 24), ("vit_tiny_patch16_224", 128)])
def test_says_so_where_there_is_no_stage(backbone, side):
    """A stem of 12 × 12 cells and the 8 × 8 patches of a transformer are no stages."""
    model = nn.Sequential(build_encoder(backbone, image_size=side), nn.LazyLinear(2)).eval()
    x = some_images(1, side)
    model(x)
    with pytest.raises(NoMap, match=f"^grad_cam: no stage of 7 × 7 cells or more at {side} px$"):
        attribute(model, x, torch.tensor([0]), "grad_cam")
    assert not any(module._forward_hooks for module in model.modules())


def test_a_head_of_zeros_has_no_map():
    model = Staged()
    nn.init.zeros_(model.head.weight)
    found = attribute(model, some_images(2), torch.tensor([0, 1]), "grad_cam")
    assert found.present.tolist() == [False, False]
