"""Weights from a file are right to the last one, in whoever's names, or refused in one line."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from headstart.nn.encoder import MEAN, STD, Encoder, build_encoder, weights_hash
from headstart.nn.weight_files import fill_from_file

torch.set_num_threads(1)

TINY = "test_resnet"


def tiny(**settings: Any) -> Encoder:
    return build_encoder(TINY, image_size=32, **settings)


def refusal(*args: Any, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        build_encoder(*args, **{"image_size": 32, **settings})
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


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

    body = VisionTransformer(32, 16, 1, 2, 16, 32)
    path = filed(tmp_path / "vit.pth", {f"module.{n}": t for n, t in body.state_dict().items()})
    body.heads = nn.Identity()
    other = VisionTransformer(32, 16, 1, 2, 16, 32)
    other.heads = nn.Identity()
    fill_from_file(other, Path(path))
    assert weights_hash(other) == weights_hash(body)


def test_weights_that_do_not_fit_are_counted_and_one_is_named(tmp_path: Path) -> None:
    body = tiny().body.state_dict()
    names = sorted(name for name in body if not name.endswith("num_batches_tracked"))
    missing = {n: t for n, t in body.items() if n not in names[:2]}
    line = refusal(TINY, weights=filed(tmp_path / "missing.pth", missing))
    assert "2 weights missing, 0 unknown, 0 of another shape" in line
    assert f"(first: {names[0]}, missing)" in line
    unknown = {**body, "projector.0.weight": torch.zeros(2)}
    line = refusal(TINY, weights=filed(tmp_path / "unknown.pth", unknown))
    assert (
        "0 weights missing, 1 unknown, 0 of another shape (first: projector.0.weight, unknown)"
        in line
    )
    shape = {**body, names[0]: torch.zeros(1, 2, 3)}
    line = refusal(TINY, weights=filed(tmp_path / "shape.pth", shape))
    assert f"0 unknown, 1 of another shape (first: {names[0]}, 1×2×3 in the file and" in line
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


# --- other people's layouts --------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> nn.Module:
    """torchvision's ResNet-18 with statistics of batches that are not their start."""
    torch.manual_seed(3)
    network = models.resnet18(num_classes=5).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 32, 32))
    return network.eval()


def features_of(network: nn.Module, x: Tensor) -> Tensor:
    """Of torchvision's own code, up to its pooling; no function of ours takes part."""
    kept = {}
    hook = network.avgpool.register_forward_hook(lambda _, __, out: kept.update(features=out))
    with torch.no_grad():
        network((x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])
    hook.remove()
    pooled: Tensor = kept["features"].flatten(1)
    return pooled


def as_hugging_face(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """A state dict of ResNet-18 under the names of ``transformers.ResNetModel``, spelled out."""
    names = {"conv1": "embedder.embedder.convolution", "bn1": "embedder.embedder.normalization"}
    for stage in range(4):
        for layer in range(2):
            ours, theirs = f"layer{stage + 1}.{layer}", f"encoder.stages.{stage}.layers.{layer}"
            for i in range(2):
                names[f"{ours}.conv{i + 1}"] = f"{theirs}.layer.{i}.convolution"
                names[f"{ours}.bn{i + 1}"] = f"{theirs}.layer.{i}.normalization"
            names[f"{ours}.downsample.0"] = f"{theirs}.shortcut.convolution"
            names[f"{ours}.downsample.1"] = f"{theirs}.shortcut.normalization"
    translated = {}
    for name, values in state.items():
        module, _, kind = name.rpartition(".")
        if module == "fc":
            translated[f"classifier.1.{kind}"] = values
        else:
            translated[f"{prefix}{names[module]}.{kind}"] = values
    return translated


def renamed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {prefix + name: values for name, values in state.items()}


def as_moco(state: dict[str, Tensor]) -> dict[str, Any]:
    """As MoCo's own code stores it: the second network and the queue beside the encoder."""
    both = {f"module.encoder_q.{n}": t for n, t in state.items()}
    both |= {f"module.encoder_k.{n}": torch.zeros_like(t) for n, t in state.items()}
    queue = {"module.queue": torch.zeros(4, 8), "module.queue_ptr": torch.zeros(1)}
    return {"epoch": 200, "arch": "resnet18", "state_dict": both | queue}


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "torchvision": dict,
    "data parallel": renamed("module."),
    "lightning": lambda state: {"state_dict": renamed("model.backbone.")(state)},
    "hugging face": as_hugging_face,
    "hugging face, classifier": lambda state: as_hugging_face(state, "resnet."),
    "moco": as_moco,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_features_of_the_network_it_is_of(
    layout: str, source: nn.Module, tmp_path: Path
) -> None:
    stored = LAYOUTS[layout](source.state_dict())
    path = filed(tmp_path / "any.pth", stored)
    encoder = build_encoder("resnet18", image_size=32, weights=path, seed=9).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), features_of(source, x), rtol=0, atol=1e-5)
    heads = [name for name in encoder.left_out if name.endswith(("fc.weight", "classifier.1.bias"))]
    assert len(heads) == (2 if layout == "moco" else 1)


def test_safetensors_of_hugging_face(source: nn.Module, tmp_path: Path) -> None:
    path = filed(tmp_path / "model.safetensors", as_hugging_face(source.state_dict(), "resnet."))
    encoder = build_encoder("resnet18", image_size=32, weights=path).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), features_of(source, x), rtol=0, atol=1e-5)


def test_a_timm_network_of_its_own_layout(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(4)
    network = timm.create_model(TINY, num_classes=7).eval()
    path = filed(tmp_path / "timm.pth", network.state_dict())
    encoder = tiny(weights=path).eval()
    x = torch.rand(2, 3, 32, 32)
    plain = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(plain), pre_logits=True)
        torch.testing.assert_close(encoder(x), expected, rtol=0, atol=1e-5)
    assert encoder.left_out == ("fc.weight", "fc.bias")


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        (
            "encoder.stages.2.layers.1.layer.0.convolution.weight",
            "drop",
            "layer3.1.conv1.weight, m",
        ),
        ("encoder.stages.0.layers.2.layer.0.convolution.weight", "add", "layers.2.layer.0.con"),
        ("embedder.embedder.convolution.weight", "shape", "64×3×3×3 in the file and 64×3×7×7"),
    ],
)
def test_a_hugging_face_file_that_does_not_fit_names_its_key(
    key: str, change: str, told: str, source: nn.Module, tmp_path: Path
) -> None:
    stored = as_hugging_face(source.state_dict())
    if change == "drop":
        del stored[key]
    else:
        stored[key] = torch.zeros(64, 3, 3, 3)
    path = filed(tmp_path / "any.pth", stored)
    line = refusal("resnet18", weights=path)
    assert path in line
    assert told in line


def test_a_prefix_is_a_whole_word(tmp_path: Path) -> None:
    """``lstrip`` would take ``m`` and ``e`` off any name that begins with them."""
    stored = {f"models.{n}": t for n, t in tiny().body.state_dict().items()}
    line = refusal(TINY, weights=filed(tmp_path / "any.pth", stored))
    assert "(first: " in line
    assert "models.bn1" not in tiny().body.state_dict()


def test_counters_that_old_files_lack_are_no_fault(source: nn.Module, tmp_path: Path) -> None:
    kept = {n: t for n, t in source.state_dict().items() if not n.endswith("num_batches_tracked")}
    encoder = build_encoder(
        "resnet18", image_size=32, weights=filed(tmp_path / "old.pth", kept)
    ).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), features_of(source, x), rtol=0, atol=1e-5)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    body = tiny().body.state_dict()
    name = sorted(body)[0]
    body[name] = torch.full_like(body[name], float("nan"))
    line = refusal(TINY, weights=filed(tmp_path / "nan.pth", body))
    assert f"{name} holds values that are no numbers" in line
