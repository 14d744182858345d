"""What a study will cost: its bounds against the search itself, and against a run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_study
from headstart.config import Finetune
from headstart.cost import Cost, Todo, cost_lines, makespan, steps_of, trials_of
from headstart.pipeline import run_study
from headstart.runtime.run import Silence
from headstart.stages.classify.search import Search
from headstart.stages.classify.trials import Setting, Trial

FINETUNE = st.builds(
    Finetune,
    lrs=st.just((0.1, 0.3)),
    weight_decays=st.sampled_from([(1e-4,), (1e-4, 1e-3)]),
    widen=st.integers(0, 3),
    max_lengthening=st.integers(1, 70),
    patience=st.integers(1, 3),
    augmentations=st.sampled_from([("light",), ("light", "strong"), ("light", "strong", "mixup")]),
)


def trained(settings: Finetune, luck: random.Random, rise: float) -> tuple[int, int]:
    """Base lengths that a search trains in all, and in how many trials, where scores are luck and
    rise with the length.
    """
    lengths = []

    def attempt(setting: Setting) -> Trial:
        lengths.append(setting.length)
        score = luck.random() * (1 - rise) + rise * setting.length / 100
        return Trial(setting, (score, 0.0), 10, 10, False, 0.1, 10, 100, {})

    Search(settings, attempt).run()
    return sum(lengths), len(lengths)


@given(FINETUNE, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5, 1.0]))
def test_no_search_trains_less_or_more_than_is_said(
    settings: Finetune, luck: random.Random, rise: float
) -> None:
    steps, trials = trained(settings, luck, rise)
    for done, (least, most) in ((steps, steps_of(settings)), (trials, trials_of(settings))):
        assert least <= done <= most


def test_the_bounds_are_reached() -> None:
    settings = Finetune(lrs=(0.1,), weight_decays=(0,), augmentations=("light",))
    never = random.Random()
    never.random = lambda: 0.5  # type: ignore[method-assign]
    assert trained(settings, never, rise=0.0) == (steps_of(settings)[0], trials_of(settings)[0])
    plain = settings.model_copy(update={"widen": 0})
    assert trained(plain, random.Random(0), rise=1.0) == (steps_of(plain)[1], trials_of(plain)[1])


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 8))
def test_tasks_end_no_sooner_than_they_can(seconds: list[float], workers: int) -> None:
    span = makespan(seconds, workers)
    assert max(*seconds, sum(seconds) / workers) - 1e-6 <= span <= sum(seconds) + 1e-6
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))


def test_what_is_said_names_the_range_and_a_cheaper_way_for_long_runs() -> None:
    cost = Cost(5000.0, 20_000.0, 4000.0, (1000.0, 16_000.0), 2, 3_000_000, 2_000_000_000, 0)
    todo = [Todo("simclr", 0, encoder=True, cells=())]
    lines = cost_lines(cost, todo)
    assert "1 encoder to pretrain, 0 classifiers" in lines[0]
    assert "in 2 processes at once: about 83 min to 5.6 h" in lines[0]
    assert "3 MB of disk" in lines[1]
    assert "2.0 GB of memory" in lines[1]
    assert "--preset quick" in lines[2]
    short = Cost(50.0, 60.0, 40.0, (10.0, 20.0), 1, 1, 1, 5_000_000)
    assert len(cost_lines(short, todo)) == 2
    assert "of the GPU's" in cost_lines(short, todo)[1]


class Listening(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def told(bags: Path, out: Path, **changes: object) -> list[str]:
    """The lines about what is to do, of a run."""
    tell = Listening()
    run_study(tiny_study.study(bags, methods=["simclr"], **changes), out, tell)
    return [line for line in tell.lines if line.startswith("To do:")]


@pytest.mark.slow
def test_only_a_long_study_is_measured_and_only_what_is_left(bags: Path, tmp_path: Path) -> None:
    assert told(bags, tmp_path / "short") == []
    long = {"pretrain": {"epochs": 140, "batch_size": 32}, "explain": {"images": 0}}
    (line,) = told(bags, tmp_path / "long", **long)
    assert "1 encoder to pretrain, 7 classifiers" in line
    assert told(bags, tmp_path / "long", **long) == []  # all of it is there


@pytest.mark.slow
def test_a_run_takes_as_long_as_was_said(bags: Path, tmp_path: Path) -> None:
    """Pretraining, whose number of steps is known: within a quarter, where nothing else runs."""
    from headstart.cost import estimate
    from headstart.pipeline import opened, todo
    from headstart.results import load_results
    from headstart.stages.index import index

    study = tiny_study.study(
        bags,
        methods=["simclr", "moco"],
        pretrain={"epochs": 400, "batch_size": 32},
        explain={"images": 0},
    )
    with opened(study, tmp_path / "run", Silence()) as run:
        data = index(run)
        expected = estimate(run, data, todo(run, data)).pretraining
    run_study(study, tmp_path / "run")
    taken = load_results(tmp_path / "run").provenance.seconds
    spent = sum(
        s for name, s in taken.items() if name.startswith(("pretrain/simclr", "pretrain/moco"))
    )
    assert expected == pytest.approx(spent, rel=0.25)
