"""Any backbone, the same for the same seed, with weights that are either right or refused."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
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


# --- weights from a file -----------------------------------------------------------------------


def filed(path: Path, weights: Any) -> str:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return str(path)


def with_head(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def named(body: dict[str, Tensor]) -> dict[str, Tensor]:
        head = {"fc.weight": torch.zeros(3, 96), "fc.bias": torch.zeros(3)}
        return {prefix + name: tensor for name, tensor in {**body, **head}.items()}

    return named


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: body,
        with_head(""),
        with_head("module."),
        with_head("backbone."),
        with_head("module.encoder.body."),
        lambda body: {"state_dict": with_head("model.")(body), "epoch": 3},
        lambda body: {"model": with_head("module.backbone.")(body)},
        lambda body: {"state_dict": {"model": body}},
    ],
    ids=["bare", "head", "module", "backbone", "nested", "state_dict", "model", "twice"],
)
def test_weights_are_found_under_prefixes_and_beside_heads(
    tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any]
) -> None:
    source = tiny(seed=7)
    path = filed(tmp_path / "any.pth", wrap(source.body.state_dict()))
    assert weights_hash(tiny(seed=8, weights=path)) == weights_hash(source)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_what_an_encoder_saves_it_reads(tmp_path: Path, suffix: str) -> None:
    source = tiny(seed=7)
    source(torch.rand(4, 3, 32, 32))  # statistics of batches too
    path = filed(tmp_path / f"encoder{suffix}", source.state_dict())
    assert weights_hash(tiny(weights=path)) == weights_hash(source)


def test_a_backbone_with_an_encoder_of_its_own(tmp_path: Path) -> None:
    """torchvision's transformers name their blocks ``encoder.…``, which is no prefix there."""
    from torchvision.models import VisionTransformer

    from headstart.nn import encoder as encoder_module

    body = VisionTransformer(32, 16, 1, 2, 16, 32)
    path = filed(tmp_path / "vit.pth", {f"module.{n}": t for n, t in body.state_dict().items()})
    body.heads = nn.Identity()
    other = VisionTransformer(32, 16, 1, 2, 16, 32)
    other.heads = nn.Identity()
    encoder_module._load_weights(other, Path(path))
    assert weights_hash(other) == weights_hash(body)


def test_weights_that_do_not_fit_are_counted_and_one_is_named(tmp_path: Path) -> None:
    body = tiny().body.state_dict()
    names = sorted(body)
    missing = {n: t for n, t in body.items() if n not in names[:2]}
    line = refusal(TINY, weights=filed(tmp_path / "missing.pth", missing))
    assert "2 weights missing, 0 unknown, 0 of another shape" in line
    assert names[0] in line
    unknown = {**body, "projector.0.weight": torch.zeros(2)}
    line = refusal(TINY, weights=filed(tmp_path / "unknown.pth", unknown))
    assert "0 weights missing, 1 unknown, 0 of another shape (first: projector.0.weight)" in line
    shape = {**body, names[0]: torch.zeros(1, 2, 3)}
    line = refusal(TINY, weights=filed(tmp_path / "shape.pth", shape))
    assert f"0 unknown, 1 of another shape (first: {names[0]})" in line
    other = build_encoder("test_vit", image_size=64).body.state_dict()
    assert "does not fit" in refusal(TINY, weights=filed(tmp_path / "other.pth", other))


def test_two_networks_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    body = tiny(seed=1).body.state_dict()
    both = {**body, **{f"encoder.{n}": t for n, t in tiny(seed=2).body.state_dict().items()}}
    line = refusal(TINY, weights=filed(tmp_path / "both.pth", both))
    assert "more than one network" in line


class Attack:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch attacked",)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"<html>", pickle.dumps(Attack()), pickle.dumps({"a": 1}), b"PK\x03\x04"],
    ids=["empty", "byte", "html", "code", "numbers", "zip"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    assert str(path) in refusal(TINY, weights=str(path))
    assert not (tmp_path / "attacked").exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    path = filed(tmp_path / "module.pth", {"model": Attack()})
    assert "not readable as plain weights" in refusal(TINY, weights=path)
    path = filed(tmp_path / "list.pth", [torch.zeros(2)])
    assert "no plain dictionary" in refusal(TINY, weights=path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    line = refusal(TINY, weights=str(tmp_path / "gone.pth"))
    assert "gone.pth: no such weights file" in line
    assert "pretraned: no such weights file" in refusal(TINY, weights="pretraned")
