from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny_study
from headstart.runtime.run import Branch, Dataset, Grid, Run
from headstart.stages import review
from headstart.stages.review import LISTED, review_lookalikes
from headstart.types import Features


def made(tmp_path: Path, copies: int) -> tuple[Run, Dataset, Grid]:
    """Random features of all labelled images; the first test images equal training images."""
    run = tiny_study.open_run(tiny_study.study(only=["simclr"]), tmp_path)
    data = tiny_study.made_data(run, pool=8)
    labelled = data.index.where("train", "validation", "test")
    ids = data.index.ids[labelled]
    x = np.random.default_rng(0).normal(size=(len(ids), 64)).astype(np.float32) + 5
    x[-1] = x[-1] * 0 + x[:, :].mean()  # an image like none
    train = np.flatnonzero(np.isin(ids, data.index.ids[data.index.where("train")]))
    test = np.flatnonzero(np.isin(ids, data.index.ids[data.index.where("test")]))
    x[test[:copies]] = x[train[:copies]]
    entry = run.store.entry("extract", "made", {"copies": copies})
    Features(ids, x, data.index.labels[labelled]).save(entry.folder)
    entry.finish({}, time.perf_counter())
    return run, data, Grid((Branch("simclr", 0, entry, entry, ()),))


def test_pairs_that_look_alike_are_listed_and_nothing_is_removed(tmp_path: Path) -> None:
    run, data, grid = made(tmp_path, copies=2)
    before = data.index.ids.copy()
    assert review_lookalikes(run, data, grid) == 2
    text = (tmp_path / "lookalikes.csv").read_text(encoding="utf8")
    rows = list(csv.DictReader(text.splitlines()))
    train, test = data.index.where("train"), data.index.where("test")
    expected = {(data.index.ids[test[i]], data.index.ids[train[i]]) for i in range(2)}
    assert {(row["test"], row["other"]) for row in rows} == expected
    assert all(float(row["cosine"]) > 0.999 for row in rows)
    assert np.array_equal(data.index.ids, before)
    assert len(rows) <= LISTED


def test_images_that_only_share_a_mean_are_not_alike(tmp_path: Path) -> None:
    """Raw features all point the same way: standardised, they do not."""
    run, data, grid = made(tmp_path, copies=0)
    assert review_lookalikes(run, data, grid) == 0


def test_without_a_pretrained_method_there_is_nothing_to_ask(tmp_path: Path) -> None:
    run, data, _ = made(tmp_path, copies=1)
    assert review_lookalikes(run, data, Grid(())) == 0
    assert not (tmp_path / "lookalikes.csv").exists()


def test_of_many_test_images_some_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data, grid = made(tmp_path, copies=6)
    heard = tiny_study.Spoken()
    monkeypatch.setattr(review, "ASKED", 4)
    assert review_lookalikes(replace(run, tell=heard), data, grid) == 4
    assert "4 of 6 test images were asked about" in heard.lines[0]
