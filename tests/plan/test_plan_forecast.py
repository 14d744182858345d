"""Hours and bytes of a plan, against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tiny_study
from headstart.config import Study
from headstart.plan.forecast import EXCHANGE, Machine, Plan, forecast
from headstart.plan.lines import plan_lines
from headstart.plan.networks import count
from headstart.plan.rates import GPUS, LINK, Rates
from headstart.plan.work import Sizes, near_searches, work_of
from made_bench import STAGES, a_bench

SIZES = Sizes(unlabelled=6400, train=600, validation=200, test=200, classes=10)
OWN = Machine(gpus=0, cores=4)


def study(**changes: object) -> Study:
    return tiny_study.study(only=["simclr"], **changes)


def test_pretraining_takes_its_images_over_the_rate() -> None:
    """(6,400 + 600) // 32 steps of 32 images and two epochs at 100 images a second, and three
    looks at 512 images without and 512 with a label, at 500 images a second.
    """
    plan = forecast(study(), SIZES, OWN, Rates((a_bench(stages=STAGES),)))
    assert plan.pretraining == pytest.approx(2 * (7000 // 32) * 32 / 100 + 3 * 1024 / 500)
    assert plan.measured
    assert plan.low == pytest.approx(plan.index + plan.pretraining + plan.classifiers[0])
    assert plan.gpu_hours == (0, 0)
    assert plan.gpu_memory == 0


def test_classifiers_take_what_was_measured_of_each_kind_of_work() -> None:
    """By hand: one trial of 20 steps or more an arm, read twice, all 600 labels in batches of 64.

    Random weights and SimCLR have a linear head and k-NN each, SimCLR is fine-tuned, and there are
    the supervised arm and the majority class: seven arms, of which four are networks.
    """
    plan = forecast(study(), SIZES, OWN, Rates((a_bench(stages=STAGES),)))
    trained = 2 * (2 * 10 * 0.01 + 2 * 600 * 0.01)
    validation = min(200, 10 * (60 // 3))
    asked = 3 * 1000 + 4 * (200 + validation) + 2 * 2 * validation
    heads = 2 * (0.1 + 600 * 0.001)
    scores = 7 * 0.1
    assert plan.classifiers[0] == pytest.approx(trained + asked / 1000 + heads + scores)


def test_reading_is_shared_among_the_cores() -> None:
    none = study(data={"near_duplicates": False})
    four = forecast(none, SIZES, OWN, Rates((a_bench(),)))
    eight = forecast(none, SIZES, replace(OWN, cores=8), Rates((a_bench(),)))
    assert four.index == pytest.approx(7400 * (1 / 500 + 7e-5) / 4)
    assert eight.index == pytest.approx(four.index / 2)
    copies = forecast(study(), SIZES, OWN, Rates((a_bench(),)))
    assert copies.index == pytest.approx(four.index + sum(near_searches(study(), SIZES)))


def test_one_process_hands_images_out_however_many_decode() -> None:
    none = study(data={"near_duplicates": False})
    many = forecast(none, SIZES, replace(OWN, cores=1000), Rates((a_bench(),)))
    assert many.index == pytest.approx(7400 * 7e-5)


def test_the_cache_is_as_large_as_its_pixels() -> None:
    plan = forecast(study(), SIZES, OWN, Rates((a_bench(),)))
    assert plan.disk > 7400 * 3 * 40 * 40
    twice = forecast(study(), replace(SIZES, unlabelled=6400 + 7400), OWN, Rates((a_bench(),)))
    assert twice.disk - plan.disk == 7400 * 3 * 40 * 40


def test_a_budget_saves_disk_and_costs_decoding() -> None:
    """An epoch takes as long as decoding what is not kept; with room for all nothing changes."""
    plan, more, less = (
        forecast(study(data={"cache_budget": budget}), SIZES, OWN, Rates((a_bench(),)))
        for budget in (None, "1GB", "10MB")
    )
    assert (more.disk, more.pretraining) == (plan.disk, plan.pretraining)
    assert plan.disk - less.disk == pytest.approx(7400 * 3 * 40 * 40 - 10e6)
    slow = (
        replace(OWN, cores=1),
        Rates((a_bench().model_copy(update={"cache_images_per_s_per_core": 0.1}),)),
    )
    whole = forecast(study(), SIZES, *slow)
    streamed = forecast(study(data={"cache_budget": "10MB"}), SIZES, *slow)
    assert streamed.pretraining > 10 * whole.pretraining
    assert any("decoded again in every epoch" in line for line in streamed.basis)


def on_gpus(gpus: int, **changes: object) -> Plan:
    asked = tiny_study.study(only=["simclr"], seeds=[0, 1, 2, 3], **changes)
    return forecast(asked, SIZES, Machine(gpus, 4), Rates(gpu=GPUS["h200"]))


def test_gpus_share_a_batch_or_the_encoders() -> None:
    """Whichever is done first; a batch shared by more GPUs than help is no gain."""
    one, many = on_gpus(1), on_gpus(8)
    assert len(one.layouts) == 1
    by_name = {layout.how: layout for layout in many.layouts}
    assert set(by_name) == {"--devices 8", "--executor ray, one encoder a GPU"}
    assert many.layouts[0].high == min(layout.high for layout in many.layouts)
    assert many.low == many.layouts[0].low
    assert many.gpu_hours[0] == pytest.approx(8 * many.low / 3600)
    assert by_name["--executor ray, one encoder a GPU"].high < one.high


def test_a_shared_batch_takes_its_part_and_the_exchange() -> None:
    """By hand: SimCLR on eight GPUs, where classifiers cost nothing."""
    asked = study(classify={"protocols": ["knn"]})
    counted = count(asked, "simclr")
    rates = Rates(gpu=GPUS["h200"])
    steps = next(work.steps for work in work_of(asked, SIZES) if work.steps)
    computing = counted.flops.share(32, 8) / (0.3 * 989e12)
    carried = 2 * 7 / 8 * counted.trained + 4 * 32 * counted.features * 4
    step = computing + carried / LINK + (2 * counted.norms + 3) * EXCHANGE
    eight, one = (forecast(asked, SIZES, Machine(gpus, 4), rates) for gpus in (8, 1))
    joint = next(layout for layout in eight.layouts if layout.how == "--devices 8")
    looks = 3 * 1024 * count(asked, None).forward / 67e12 / 0.3  # by one GPU, in float32
    assert joint.low - eight.index - eight.classifiers[0] == pytest.approx(steps * step + looks)
    assert one.pretraining == eight.pretraining


def test_too_little_for_each_gpu_and_too_much_for_one_are_said() -> None:
    assert any("keep no GPU busy" in line for line in on_gpus(8).warnings)
    assert any("cannot be shared by 64" in line for line in on_gpus(64).warnings)
    large = {"pretrain": {"batch_size": 65536}}
    sizes = replace(SIZES, unlabelled=10**6)
    plan = forecast(study(**large), sizes, Machine(1, 4), Rates(gpu=GPUS["a100"]))
    ways = "take engine.activation_checkpointing, a smaller batch, or more GPUs"
    assert any(ways in line for line in plan.warnings)
    again = forecast(
        study(**large, engine={"activation_checkpointing": True}),
        sizes,
        Machine(1, 4),
        Rates(gpu=GPUS["a100"]),
    )
    assert any("take a smaller batch or more GPUs" in line for line in again.warnings)
    assert again.gpu_memory < plan.gpu_memory
    assert on_gpus(1).warnings == ()


def test_a_plan_says_whether_it_rests_on_a_measurement() -> None:
    measured = plan_lines(forecast(study(), SIZES, OWN, Rates((a_bench(stages=STAGES),))))
    assert "Rates:" in measured
    older = plan_lines(forecast(study(), SIZES, OWN, Rates((a_bench(),))))
    assert any("training on labels" in line.lower() and "an assumption" in line for line in older)
    assert any(line.startswith("Not measured for this study") for line in older)
    assert not any("Not measured" in line for line in measured)
    assumed = plan_lines(on_gpus(8))
    assert any(line.startswith("Not measured for this study on this machine") for line in assumed)
    assert any("an assumption, not measured" in line for line in assumed)
    assert any("GPU-hours on 8 GPUs" in line for line in assumed)
    assert "6,400 images without and 1,000 with a label in 10 classes" in assumed[0]


def test_twice_the_epochs_are_twice_the_pretraining() -> None:
    rates = Rates((a_bench(),))
    look = 1024 / 2000
    one, two = (
        forecast(study(pretrain={"epochs": n, "batch_size": 32}), SIZES, OWN, rates) for n in (3, 6)
    )
    assert two.pretraining - look == pytest.approx(2 * (one.pretraining - look))
