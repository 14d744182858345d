"""Any backbone, the same for the same seed, with weights that are either right or refused."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.nn.encoder import MEAN, STD, Encoder, build_encoder, weights_hash

torch.set_num_threads(1)  # many small operations: more threads only wait for each other

TINY = "test_resnet"


def tiny(**settings: Any) -> Encoder:
    return build_encoder(TINY, image_size=32, **settings)


def refusal(*args: Any, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        build_encoder(*args, **{"image_size": 32, **settings})
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "size", "width"),
    [
        ("resnet18", 48, 512),
        ("test_resnet", 32, 96),
        ("test_vit", 64, 64),  # a transformer, built for another size than its name's
        ("test_convnext", 64, 64),
        ("mobilenetv3_small_050", 64, 1024),  # timm declares 288
        ("test_mambaout", 64, 256),  # timm declares 64
        ("mnasnet0_5", 64, 1280),  # torchvision's alone
    ],
)
def test_features_are_as_wide_as_promised(backbone: str, size: int, width: int) -> None:
    encoder = build_encoder(backbone, image_size=size)
    assert encoder.num_features == width
    assert encoder.training
    features = encoder(torch.rand(2, 3, size, size))
    assert features.shape == (2, width)
    assert features.requires_grad


def test_resnet50_has_2048_features() -> None:
    assert build_encoder("resnet50", image_size=32).num_features == 2048


def test_building_does_not_touch_the_statistics_of_batches() -> None:
    for name, buffer in tiny().named_buffers():
        if name.endswith(("running_mean", "num_batches_tracked")):
            assert not buffer.any(), name


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("resnet81", "neither a timm nor a torchvision name; did you mean 'resnet18'?"),
        ("zzzzzz", "neither a timm nor a torchvision name"),
        ("squeezenet1_0", "does not end in one linear classifier"),
        ("hf-hub:someone/something", "neither a timm nor a torchvision name"),
    ],
)
def test_an_unusable_backbone_is_named(backbone: str, words: str) -> None:
    line = refusal(backbone)
    assert f"'{backbone}'" in line
    assert words in line


def test_a_backbone_that_cannot_take_such_images_says_so_when_built() -> None:
    assert "does not take images of 100 px" in refusal("test_vit", image_size=100)


def test_pretrained_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nowhere")
    line = refusal("test_resnet", weights="pretrained")
    assert "could not be fetched" in line
    assert "local file" in line


# --- random states -----------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", [TINY, "test_vit"])
def test_a_seed_is_a_network(backbone: str) -> None:
    def built(seed: int) -> str:
        return weights_hash(build_encoder(backbone, image_size=64, seed=seed))

    first = built(3)
    torch.manual_seed(1234)
    assert built(3) == first
    assert built(4) != first


def test_the_global_random_states_are_left_alone() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    build_encoder("resnet18", image_size=32, stem="small", seed=5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_random_state_of_the_gpu_is_left_alone() -> None:
    torch.cuda.manual_seed(9)
    state = torch.cuda.get_rng_state()
    tiny(seed=5)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_equal_hashes_are_equal_networks() -> None:
    encoder = tiny()
    before = weights_hash(encoder)
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-6
    assert weights_hash(encoder) != before
    for kind in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        module = nn.Module()
        module.register_buffer("x", torch.ones((), dtype=kind))
        assert len(weights_hash(module)) == 64


# --- normalisation and stem --------------------------------------------------------------------


def test_normalisation_is_inside() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    encoder = Encoder(Same(), 3)
    x = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    assert torch.allclose(encoder(x), (x - mean) / std)
    assert encoder.state_dict() == {}  # constants are in no checkpoint


def test_a_small_stem_keeps_the_resolution() -> None:
    encoder = build_encoder("resnet18", image_size=32, stem="small", seed=1)
    again = build_encoder("resnet18", image_size=32, stem="small", seed=1)
    assert weights_hash(encoder) == weights_hash(again)
    conv = encoder.body.conv1
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.bias) == ((3, 3), (1, 1), None)
    body = encoder.body
    with torch.no_grad():
        seen = body.layer1(body.maxpool(body.act1(body.bn1(conv(torch.rand(2, 3, 32, 32))))))
    assert seen.shape == (2, 64, 32, 32)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 512)


def test_a_stem_that_cannot_be_is_refused() -> None:
    assert "stem 'small' is for ResNets" in refusal("test_vit", stem="small", image_size=64)
    assert "stem 'smal' is not one of 'standard', 'small'" in refusal(TINY, stem="smal")


# --- other numbers of channels -----------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4, 13])
@pytest.mark.parametrize(
    ("backbone", "settings"),
    [(TINY, {}), ("resnet18", {"stem": "small"}), ("test_vit", {"image_size": 64})],
)
def test_a_backbone_takes_any_number_of_channels(
    channels: int, backbone: str, settings: dict[str, Any]
) -> None:
    settings = {"image_size": 32, **settings}
    encoder = build_encoder(backbone, channels=channels, **settings).eval()
    x = torch.rand(2, channels, settings["image_size"], settings["image_size"])
    assert encoder(x).isnan().all(), "it has no normalisation yet"
    mean, std = [0.1 * (c + 1) for c in range(channels)], [0.5] * channels
    encoder.normalise_by(mean, std)
    by_hand = np.stack([(x[:, c].numpy() - mean[c]) / std[c] for c in range(channels)], axis=1)
    torch.testing.assert_close(encoder(x), encoder.body(torch.from_numpy(by_hand).float()))


def test_normalisation_is_no_weight() -> None:
    encoder = tiny(channels=2)
    before = set(encoder.state_dict())
    encoder.normalise_by([0.1, 0.2], [1, 2])
    assert set(encoder.state_dict()) == before
    assert not {"mean", "std"} & before


def test_weights_of_other_channels_are_refused(tmp_path: Any) -> None:
    line = refusal("resnet18", weights="pretrained", channels=5)
    assert line.startswith("weights 'pretrained' are for images of 3 channels, not 5")
    file = tmp_path / "three.pt"
    torch.save(tiny().body.state_dict(), file)
    line = refusal(TINY, weights=str(file), channels=5)
    assert "3×" in line
    assert "5×" in line
    five = tmp_path / "five.pt"
    torch.save(tiny(channels=5, seed=3).body.state_dict(), five)
    filled = tiny(weights=str(five), channels=5)
    assert weights_hash(filled) == weights_hash(tiny(channels=5, seed=3))


def test_a_backbone_of_torchvision_takes_three_channels() -> None:
    assert "torchvision's, which takes images of 3 channels" in refusal(
        "regnet_y_400mf", channels=4
    )
    assert "neither a timm nor a torchvision name" in refusal("resnet17", channels=4)
