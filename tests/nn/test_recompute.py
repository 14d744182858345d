"""Computed again, every number is what it was: losses, gradients, statistics and random states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from headstart.methods.moco import MoCo
from headstart.nn.convolutions import faster_convolutions
from headstart.nn.encoder import build_encoder
from headstart.nn.recompute import NoBlocksError, blocks, recomputing

BACKBONES = {
    "resnet18": ("BasicBlock", 8),
    "resnet50": ("Bottleneck", 16),
    "convnext_tiny": ("ConvNeXtBlock", 18),
    "vit_tiny_patch16_224": ("Block", 12),
    "vit_b_16": ("EncoderBlock", 12),  # torchvision's
    "swin_t": ("SwinTransformerBlock", 12),  # torchvision's
    "densenet121": ("DenseLayer", 58),
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_blocks_are_those_that_the_papers_speak_of(backbone: str) -> None:
    with torch.device("meta"):
        body = _body(backbone)
    kind, count = BACKBONES[backbone]
    assert [type(block).__name__ for block in blocks(body)] == [kind] * count


def _body(backbone: str) -> nn.Module:
    import timm
    from torchvision import models

    if timm.is_model(backbone):
        return timm.create_model(backbone, num_classes=0)  # type: ignore[no-any-return]
    return models.get_model(backbone)  # type: ignore[no-any-return]


class Plain(nn.Module):
    """A residual block of BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        grown: Tensor = self.drop(self.norm(self.conv1(x)).relu())
        return x + self.conv2(grown)


def small() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 1), Plain(), Plain(), nn.Flatten(), nn.Linear(256, 2))


def vit() -> nn.Module:
    """With dropout, stochastic depth and several heads."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drops = {"drop_path_rate": 0.3, "proj_drop_rate": 0.3, "attn_drop_rate": 0.2}
        return timm.create_model("test_vit", img_size=8, patch_size=4, num_classes=2, **drops)  # type: ignore[no-any-return]


Again = Callable[[nn.Module], AbstractContextManager[None]]


def passed(network: nn.Module, again: Again, steps: int = 3) -> dict[str, Tensor]:
    """All that a network holds after some steps, the gradients, the losses and random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        ends: dict[str, Tensor] = {}
        with again(network):
            for step in range(steps):
                loss = network(torch.rand(6, 3, 8, 8)).square().mean()
                loss.backward()
                ends[f"loss {step}"] = loss.detach()
                for name, p in network.named_parameters():
                    assert p.grad is not None
                    ends[f"gradient {step} {name}"] = p.grad.clone()
                optimizer.step()
                optimizer.zero_grad()
                ends[f"drawn {step}"] = torch.rand(3)
        return ends | dict(network.state_dict())


def kept(_: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.mark.parametrize("made", [small, vit])
def test_every_bit_is_as_without(made: Callable[[], nn.Module]) -> None:
    """BatchNorm with its running statistics and count of passes, dropout, stochastic depth."""
    one, other = passed(made(), kept), passed(made(), recomputing)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_dropout_does_drop() -> None:
    """Else the test above would show nothing."""
    network = small()
    x = torch.rand(6, 3, 8, 8)
    assert not torch.equal(network(x), network(x))


def test_blocks_are_passed_twice_while_it_lasts_and_only_where_there_is_a_gradient() -> None:
    network = small()
    plain = network[1]
    x = torch.rand(6, 3, 8, 8)
    with recomputing(network):
        network(x).sum().backward()
        assert plain.passes == 2
        with torch.no_grad():
            network(x)
        with torch.inference_mode():
            network(x)
        assert plain.passes == 4
    network(x).sum().backward()
    assert plain.passes == 5
    assert "forward" not in vars(plain)


def test_a_block_that_stands_in_two_places_is_one() -> None:
    """As an encoder does that is an attribute of a method, and part of another one."""
    network = nn.Module()
    network.encoder = small()
    network.whole = nn.Sequential(network.encoder, nn.ReLU())
    plain = network.encoder[1]
    with recomputing(network):
        network.whole(torch.rand(6, 3, 8, 8)).sum().backward()
    assert plain.passes == 2
    assert "forward" not in vars(plain)


@contextmanager
def counting(held: dict[int, Tensor]) -> Iterator[None]:
    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


@pytest.mark.parametrize(
    ("backbone", "most"), [("resnet50", 0.5), ("vit_tiny_patch16_224", 0.2), ("densenet121", 0.3)]
)
def test_less_is_kept_for_the_backward_pass(backbone: str, most: float) -> None:
    """In bytes, weights left out; DenseNet's layers share one list that grows."""
    network = build_encoder(backbone, image_size=32)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    bytes_kept = []
    for again in (kept, recomputing):
        held: dict[int, Tensor] = {}
        with again(network), counting(held):
            loss = network(torch.rand(2, 3, 32, 32)).sum()
            sizes = {key: t.untyped_storage().nbytes() for key, t in held.items()}
            bytes_kept.append(sum(n for key, n in sizes.items() if key not in weights))
            held.clear()
            loss.backward()
    assert bytes_kept[1] < most * bytes_kept[0]


def test_a_network_without_blocks_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten())
    with pytest.raises(NoBlocksError, match="no blocks"), recomputing(network):
        raise AssertionError


def test_mocos_groups_and_small_maps_are_computed_again_as_they_were() -> None:
    """Groups of two images with statistics of their own, and maps of 1 × 1 as products."""
    torch.manual_seed(0)
    x1, x2 = torch.rand(2, 8, 3, 32, 32)
    kept = MoCo(build_encoder("test_resnet", image_size=32), 10, hidden=8, dim=8, norm_group=2)
    again = copy.deepcopy(kept)
    for method, context in ((kept, nullcontext()), (again, recomputing(again))):
        torch.manual_seed(1)
        with context:
            with faster_convolutions(torch.device("cpu")):
                loss = method.loss(x1, x2)
            loss.backward()
    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad)
    for key, tensor in kept.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[key], msg=key)
