"""Where a plan's rates come from, and that nothing assumed is called measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny_study
from headstart.config import Study, StudyError
from headstart.plan.networks import count
from headstart.plan.rates import GPUS, Line, Rates, gpu, read_bench
from made_bench import STAGES, a_bench


def seconds(rates: Rates, study: Study, method: str) -> tuple[float, bool]:
    """Of an image of training in steps of 32, and whether that counts as measured."""
    counted = count(study, method)
    rate = rates.training(study, method, counted)
    return counted.flops.share(32) / 32 / rate.flops, rate.measured


def test_a_rate_of_this_very_network_is_given_back() -> None:
    study = tiny_study.study(only=["simclr"])
    each, measured = seconds(Rates((a_bench(),)), study, "simclr")
    assert each == pytest.approx(1 / 100)
    assert measured
    pace = Rates((a_bench(),)).judged(study, count(study, None))
    assert pace.line.each == pytest.approx(1 / 2000)  # two threads
    assert pace.measured


def test_a_line_goes_through_what_was_timed() -> None:
    assert Line.through({10: 1.2, 50: 2.0}) == Line(pytest.approx(1.0), pytest.approx(0.02))
    assert Line.through({50: 2.0, 10: 1.2}).seconds(3, 100) == pytest.approx(5.0)
    assert Line.through({50: 2.0}) == Line(0.0, 0.04)
    # A disturbed measurement gives no seconds below nought.
    assert Line.through({10: 3.0, 50: 2.0}) == Line(2.0, 0.0)
    assert Line.through({10: 0.1, 50: 2.0}) == Line(0.0, 0.04)


def test_training_on_labels_is_measured_by_the_step_and_by_the_image() -> None:
    study = tiny_study.study(only=["simclr"])
    counted = count(study, None)
    pace = Rates((a_bench(stages=STAGES),)).labelled(study, counted)
    assert pace.line.seconds(1, 16) == pytest.approx(0.01 + 16 * 0.01)
    assert pace.measured
    assert "training on labels, test_resnet at 32 px, batch 32, measured on cpu" in pace.said


def test_of_another_network_only_the_images_are_scaled() -> None:
    rates, twice = Rates((a_bench(stages=STAGES),)), {"image_size": 64}
    study = tiny_study.study(only=["simclr"], encoder={"backbone": "test_resnet"} | twice)
    pace = rates.labelled(study, count(study, None))
    assert pace.line.fixed == pytest.approx(0.01)
    assert pace.line.each == pytest.approx(4 * 0.01, rel=0.05)  # four times the pixels
    assert not pace.measured
    assert "scaled by operations, an assumption" in pace.said
    assert rates.looked(study, count(study, None)) == pytest.approx(4 * 2 / 1000, rel=0.05)


def test_an_older_file_gives_training_on_labels_by_operations() -> None:
    study = tiny_study.study(only=["simclr"])
    rates, counted = Rates((a_bench(),)), count(study, None)
    pace = rates.labelled(study, counted)
    assert not pace.measured
    own = count(study, "simclr").flops.share(32) / 32
    assert pace.line.each == pytest.approx(counted.flops.share(64) / 64 / own / 100)
    assert rates.looked(study, counted) == rates.judged(study, counted).line.each
    assert rates.scored(study) == Line(0.0, 0.0)


def test_another_batch_is_not_called_measured() -> None:
    study = tiny_study.study(only=["simclr"], pretrain={"epochs": 2, "batch_size": 64})
    rate = Rates((a_bench(),)).training(study, "simclr", count(study, "simclr"))
    assert not rate.measured
    assert "batch 32" in rate.said


def test_another_network_s_rate_is_scaled_and_not_called_measured() -> None:
    study = tiny_study.study(only=["simclr"], encoder={"image_size": 64})
    each, measured = seconds(Rates((a_bench(),)), study, "simclr")
    assert not measured
    assert each == pytest.approx(4 / 100, rel=0.05)  # four times the pixels
    rate = Rates((a_bench(),)).training(study, "simclr", count(study, "simclr"))
    assert "an assumption" in rate.said


def test_a_rate_with_activations_computed_again_is_another_one() -> None:
    study = tiny_study.study(only=["simclr"])
    again = tiny_study.study(only=["simclr"], engine={"activation_checkpointing": True})
    files = Rates((a_bench(),)), Rates((a_bench(activation_checkpointing=True),))
    for rates, own, other in zip(files, (study, again), (again, study), strict=True):
        each, measured = seconds(rates, own, "simclr")
        assert measured
        assert each == pytest.approx(1 / 100)
        scaled, measured = seconds(rates, other, "simclr")
        assert not measured
        assert (scaled > each) == (other is again)


def test_of_several_files_the_likest_counts() -> None:
    study = tiny_study.study(only=["byol"])
    files = (a_bench(), a_bench(method="byol", settings={}, train_images_per_s=50.0))
    rate = Rates(files).training(study, "byol", count(study, "byol"))
    assert rate.measured
    assert "byol" in rate.said


def test_a_published_peak_is_an_assumption() -> None:
    rates = Rates(gpu=gpu("H200"), utilisation=0.5)
    study = tiny_study.study(only=["simclr"])
    rate = rates.training(study, "simclr", count(study, "simclr"))
    assert rate.flops == 0.5 * 989e12
    assert not rate.measured
    assert "assumption, not measured" in rate.said
    encoder = count(study, None)
    judged = rates.judged(study, encoder)
    # Networks are judged in float32.
    assert judged.line.each == pytest.approx(encoder.forward / (0.5 * 67e12))
    labelled = rates.labelled(study, encoder)
    assert labelled.line.each == pytest.approx(encoder.flops.share(64) / 64 / (0.5 * 989e12))
    assert not labelled.measured


def test_a_processor_s_file_says_nothing_of_a_gpu() -> None:
    """It gives the rate of reading images, and no more."""
    rates = Rates((a_bench(),), gpu=GPUS["a100"])
    study = tiny_study.study(only=["simclr"])
    assert not rates.training(study, "simclr", count(study, "simclr")).measured
    assert rates.decoded(80) == 500.0
    elsewhere = 1 / (1 / 587 + 5.3e-5 + 2.3e-9 * 280**2)  # decoded there, and hashed here
    assert Rates(gpu=GPUS["a100"]).decoded(280) == pytest.approx(elsewhere)


def test_heads_are_scaled_from_those_that_were_timed() -> None:
    study = tiny_study.study()
    features = count(study, None).features
    known = 5000 * 5 * 1.85  # 25 heads of the older figure
    older = Rates((a_bench(),)).head(study, features, 10)
    assert older.seconds(25, known) == pytest.approx(4.0)
    line = Rates((a_bench(stages=STAGES),)).head(study, features, 20)
    assert line.seconds(3, 300) == pytest.approx(3 * 0.1 + 2 * 300 * 0.001)
    assert Rates(gpu=GPUS["a100"]).head(study, features, 10) == Line(0.0, 0.0)


def test_without_a_rate_there_is_no_plan() -> None:
    with pytest.raises(StudyError, match="--gpu or --bench"):
        Rates()
    with pytest.raises(StudyError, match=r"--gpu h300: no published peak .* known: a100"):
        gpu("h300")


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="No such file"):
        read_bench(tmp_path / "none.json")
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}), encoding="utf8")
    with pytest.raises(StudyError, match="is no file that headstart bench"):
        read_bench(tmp_path / "other.json")


def test_the_project_s_own_files_are_read() -> None:
    folder = Path(__file__).parents[2] / "benchmarks"
    assert read_bench(folder / "cpu-byol-64.json").method == "byol"
