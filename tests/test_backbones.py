"""A study with a vision transformer goes through every arm, to a report."""

from __future__ import annotations

from pathlib import Path

from headstart.data.synthetic import BagsSpec, generate
from headstart.pipeline import run_study
from headstart.runtime.run import Silence
from tiny_study import study


def test_a_transformer_goes_through_every_arm(tmp_path: Path) -> None:
    spec = BagsSpec(32, train_per_class=4, validation_per_class=2, test_per_class=3, size=72)
    bags = generate(tmp_path / "bags", spec)
    changes = {
        "encoder": {"backbone": "test_vit", "image_size": 64},
        "explain": {"attributions": ["saliency", "grad_cam"]},
        "classify": {"compute_matched": True},
    }
    asked = study(bags, only=["simclr"], **changes)
    outcome = run_study(asked, tmp_path / "run", Silence(), "")
    arms = {str(arm.arm): arm for arm in outcome.results.arms}
    wanted = ("linear", "knn", "finetune")
    assert {f"simclr/{protocol}" for protocol in wanted} <= set(arms)
    assert {"supervised/supervised", "supervised/matched"} <= set(arms)
    assert {arm.status for arm in arms.values()} == {"ok"}
    assert outcome.results.explanations is not None
    for network in outcome.results.explanations.networks:
        assert set(network.without_map) == {"saliency", "grad_cam"}
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
