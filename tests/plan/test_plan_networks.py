"""What a step computes and keeps, against numbers worked out by hand and larger steps."""

from __future__ import annotations

import pytest
import torch

import tiny_study
from headstart.config import Study, StudyError
from headstart.layers import build_study
from headstart.methods import METHODS
from headstart.plan import networks
from headstart.plan.networks import Counted, Parabola, _counted, _step, count
from headstart.recipes import resolve_recipe


def tiny(method: str = "simclr") -> Study:
    return tiny_study.study(only=[method])


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_larger_step_lies_on_the_parabola(method: str | None) -> None:
    """Counted for 2, 3 and 4 images, asked for 10."""
    name = method or "simclr"
    study = build_study([("tiny", tiny_study.settings(methods={name: dict(METHODS[name].tiny)}))])
    counted = count(study, method, classes=3)
    flops, kept = _step(_network(study, method), 10, 32)
    assert counted.flops.share(10) == pytest.approx(flops, rel=1e-3)
    assert counted.kept.share(10) == pytest.approx(kept, rel=0.02)


def _network(study: Study, method: str | None) -> torch.nn.Module:
    from headstart.methods.supervised import Supervised
    from headstart.nn.encoder import build_encoder

    encoder = build_encoder(study.encoder.backbone, image_size=study.encoder.image_size)
    if method is None:
        return Supervised(encoder, 3)
    return METHODS[method](encoder, 1, **resolve_recipe(study, method).settings)


def test_a_small_convolution_counts_as_by_hand() -> None:
    """3 × 3 × 3 weights for 8 channels at 15 × 15 places, twice for multiplying and adding."""
    encoder = tiny_study.small_encoder(width=8)
    from headstart.methods.supervised import Supervised

    counted = _counted(Supervised(encoder, 5), encoder, side=32)
    convolution = 2 * 27 * 8 * 15 * 15
    linear = 2 * 8 * 5
    assert counted.forward == convolution
    # Backward: by weights and by inputs, but the pixels need no gradient.
    assert counted.flops.each == 2 * convolution + 3 * linear
    assert counted.flops.pair == 0
    assert counted.features == 8
    assert counted.norms == 1
    assert counted.trained == 4 * (27 * 8 + 8 + 8 + 8 * 5 + 5)


def test_pairs_of_images_count_where_a_loss_compares_them() -> None:
    compares, does_not = count(tiny("simclr"), "simclr"), count(tiny("byol"), "byol")
    assert compares.kept.pair == 4 * 4  # float32, two views: (2B)² cosines
    assert does_not.kept.pair == pytest.approx(0, abs=1)


def test_a_process_has_its_part_of_the_images_and_all_pairs() -> None:
    amount = Parabola(fixed=7, each=3, pair=2)
    assert amount.share(10) == 7 + 30 + 200
    assert amount.share(10, processes=5) == 7 + 6 + 200
    assert amount.share(10, processes=5, each=0.5) == 7 + 3 + 200
    assert Parabola.through([amount.share(n) for n in (2, 3, 4)]) == amount


def test_counting_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert isinstance(count(tiny(), "simclr"), Counted)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_backbone_is_one_line() -> None:
    study = tiny_study.study(encoder={"backbone": "resnet99", "image_size": 32})
    with pytest.raises(StudyError, match="encoder: backbone 'resnet99'"):
        count(study, None)


@pytest.mark.parametrize("method", [None, "simclr", "byol"])
def test_activations_that_are_computed_again_cost_operations_and_save_memory(
    method: str | None,
) -> None:
    """At most a forward pass more of what has a gradient: a block's end is not needed again."""
    changes = {"encoder": {"backbone": "test_vit", "image_size": 64}}
    kept = count(tiny_study.study(only=["simclr", "byol"], **changes), method)
    engine = {"device": "cpu", "activation_checkpointing": True}
    again = count(tiny_study.study(only=["simclr", "byol"], engine=engine, **changes), method)
    passes = 1 if method is None else 2
    assert 0.5 < (again.flops.each - kept.flops.each) / (passes * kept.forward) <= 1
    assert again.kept.each < 0.5 * kept.kept.each
    assert (again.weights, again.forward) == (kept.weights, kept.forward)


def test_a_backbone_without_blocks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_encoder", lambda study: tiny_study.small_encoder())
    asked = tiny_study.study(only=["simclr"], engine={"activation_checkpointing": True})
    with pytest.raises(StudyError, match=r"^engine.activation_checkpointing: .*no blocks"):
        count(asked, None)
