"""The work of a plan, against what a run of the same images does."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_study
from headstart.config import StudyError
from headstart.cost import steps_of
from headstart.pipeline import todo
from headstart.plan.work import Sizes, near_searches, sizes_of, work_of
from headstart.recipes import resolve_recipe
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify.job import FinetuneJob
from headstart.stages.pretrain import Job
from headstart.store import Entry


def opened(tmp_path: Path, **changes: object) -> tuple[Run, Dataset, Sizes]:
    asked = tiny_study.study(only=["simclr"], **changes)
    run = tiny_study.open_run(asked, tmp_path)
    data = tiny_study.made_data(run, pool=100, train=20, held_out=8)
    return run, data, Sizes(100, 60, 24, 24, 3)


@pytest.mark.parametrize("matched", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_as_much_is_trained_as_a_run_trains(
    tmp_path: Path, fraction: float, *, matched: bool
) -> None:
    """Steps of pretraining and of end-to-end training, from the jobs of a real run."""
    classify = {"compute_matched": matched}
    run, data, sizes = opened(tmp_path, label_fractions=[fraction], classify=classify)
    by_method = {work.method: work for work in work_of(run.study, sizes)}
    pool = data.pool(run.study.data.train_joins_pool)
    job = Job(run, data, "simclr", 0, resolve_recipe(run.study, "simclr"), pool)
    assert by_method["simclr"].steps == job.steps
    assert by_method["random"].steps == 0
    least, most = steps_of(run.study.classify.finetune)
    for one in todo(run, data):
        trained = [_job(run, data, cell) for cell in one.cells if _is_trained(cell)]
        steps = sum(job.steps(job.order) for job in trained)
        images = sum(job.order.images(job.steps(job.order)) for job in trained)
        low, high = by_method[one.method].labelled
        assert (low.steps, high.steps) == (least * steps, most * steps)
        assert (low.images, high.images) == (least * images, most * images)
        readings = run.study.classify.finetune.epochs
        assert low.judged == readings * sum(len(job.budget.validation) for job in trained)
        assert by_method[one.method].networks == one.encoder + len(trained)
        assert by_method[one.method].arms == len(one.cells)


def _is_trained(cell: Cell) -> bool:
    return cell.protocol in ("finetune", "supervised", "matched")


def _job(run: Run, data: Dataset, cell: Cell) -> FinetuneJob:
    return FinetuneJob(run, data, cell, data.budget(cell), Entry(run.folder, ""))


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.33, 1.0])
def test_a_budget_is_the_one_that_is_drawn(tmp_path: Path, fraction: float) -> None:
    run, data, sizes = opened(tmp_path, label_fractions=[fraction])
    (cell,) = (c for one in todo(run, data) for c in one.cells if c.protocol == "supervised")
    drawn = data.budget(cell)
    assert sizes.budget(fraction) == (len(drawn.train), len(drawn.validation))


def test_images_are_counted_where_they_lie(bags: Path) -> None:
    study = tiny_study.study(bags)
    found = sizes_of(study, None, None, 0)
    labelled = [path for path in (bags / "labeled").rglob("*") if path.suffix in (".jpg", ".png")]
    pool = [path for path in (bags / "unlabeled").rglob("*") if path.suffix in (".jpg", ".png")]
    assert (found.unlabelled, found.labelled) == (len(pool), len(labelled))
    assert sizes_of(study, 7, None, 0).unlabelled == 7


def test_numbers_are_cut_by_the_study_s_shares() -> None:
    sizes = sizes_of(tiny_study.study(), 1000, 100, 4)
    assert (sizes.train, sizes.validation, sizes.test) == (60, 20, 20)
    assert sizes.all == 1100
    assert sizes.pool(tiny_study.study()) == 1060
    assert sizes.pool(tiny_study.study(data={"train_joins_pool": False})) == 1000


def test_what_cannot_be_planned_is_one_line() -> None:
    with pytest.raises(StudyError, match="how many images have a label"):
        sizes_of(tiny_study.study(), 10, None, 3)
    with pytest.raises(StudyError, match="10 classes need at least 30"):
        sizes_of(tiny_study.study(), 10, 20, 10)


def test_no_search_for_copies_costs_nothing() -> None:
    sizes = Sizes(10**6, 600, 200, 200, 10)
    assert len(list(near_searches(tiny_study.study(), sizes))) == 2
    none = tiny_study.study(data={"near_duplicates": False})
    assert list(near_searches(none, sizes)) == []
