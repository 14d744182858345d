from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.bench import parts, stages
from headstart.bench import run as bench_run
from headstart.cli import main
from headstart.plan.rates import read_bench

SMALL = ["--backbone", "test_resnet", "--image-size", "32", "--batch-size", "16", "--rounds", "2"]
KEYS = {
    "floor_images_per_s",
    "train_images_per_s",
    "ratio_to_floor",
    "views_per_s",
    "cache_images_per_s_per_core",
    "peer_images_per_s",
    "ratio_to_peer",
    "peak_rss_bytes",
    "peak_gpu_bytes",
    "flops_utilisation",
    "labelled_images_per_s",
    "stages",
}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["headstart", "bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "IMAGES", 100)
    monkeypatch.setattr(parts, "REPEATS", 1)
    monkeypatch.setattr(bench_run, "SEGMENT_SECONDS", 0.01)
    monkeypatch.setattr(stages, "REPEATS", 1)
    monkeypatch.setattr(stages, "STEP_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_bench_writes_every_figure(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    where = ["--data", str(bags / "unlabeled"), "--out", str(tmp_path / "out")]
    assert call(monkeypatch, *SMALL, *where, "--device", "cpu", "--json", str(path)) == 0
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    assert found.keys() >= KEYS
    rate = found["train_images_per_s"] / found["floor_images_per_s"]
    low, high = found["ratio_to_floor_range"]
    assert low <= found["ratio_to_floor"] <= high
    assert found["ratio_to_floor"] == pytest.approx(rate, rel=0.5)
    assert found["peer_images_per_s"] is None
    assert found["peak_rss_bytes"] > 100e6
    assert read_bench(path).stages
    assert "The network's own arithmetic" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
def test_bench_draws_photographs_and_runs_the_peer_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightly")
    monkeypatch.setattr(bench_run, "PHOTO_SIDE", 40)
    path = tmp_path / "bench.json"
    where = ["--out", str(tmp_path / "out"), "--json", str(path), "--device", "cpu"]
    how = ["--method", "byol", "--peer", "lightly", "--core-seconds"]
    assert call(monkeypatch, *SMALL, *where, *how) == 0
    found = json.loads(path.read_text(encoding="utf8"))
    assert found["core_seconds"]
    assert found["method"] == "byol"
    assert found["ratio_to_peer"] > 0
    assert len(list((tmp_path / "out" / "photos-512" / "unlabeled").iterdir())) == 512


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--method", "mocoo"], "--method: unknown 'mocoo'; did you mean 'moco'?"),
        (["--peer", "solo"], "--peer solo: the known peer is lightly"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--batch-size", "500"], "are fewer than a batch of 500"),
        (["--backbone", "resnet1"], "resnet1"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    line: str,
    bags: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--data", str(bags / "unlabeled"), "--out", str(tmp_path)]
    assert call(monkeypatch, *SMALL, *where, *arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert line in last
    assert last.startswith("headstart: ")
