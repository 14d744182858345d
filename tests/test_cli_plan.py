"""``headstart plan``: what it says, what it writes, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart import cli
from made_bench import a_bench

TINY = ("--backbone", "test_resnet", "--image-size", "32", "--set", "methods=[simclr]")
IMAGES = ("--images", "1000000", "--labelled-images", "5000", "--classes", "20")


def plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    monkeypatch.setattr("sys.argv", ["headstart", "plan", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_plan_for_a_published_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    words = (*TINY, *IMAGES, "--gpus", 64, "--gpu", "h200", "--json", path)
    code, out, _ = plan(monkeypatch, capsys, *words)
    assert code == 0
    assert out.startswith("1,000,000 images without and 5,000 with a label in 20 classes: about ")
    assert "GPU-hours on 64 GPUs" in out
    assert "30% of its published 989 TFLOP/s in bfloat16, an assumption, not measured" in out
    written = json.loads(path.read_text(encoding="utf8"))
    assert written["measured"] is False
    assert written["sizes"]["unlabelled"] == 1_000_000
    assert written["low"] <= written["high"]
    assert written["gpu_hours"][1] == pytest.approx(64 * written["high"] / 3600)


def test_a_plan_from_a_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    path.write_text(a_bench().model_dump_json(), encoding="utf8")
    words = (*TINY, *IMAGES, "--batch-size", 32, "--bench", path, "--cores", 2)
    code, out, _ = plan(monkeypatch, capsys, *words)
    assert code == 0
    assert "simclr, test_resnet at 32 px, batch 32, measured on cpu, 2 threads" in out
    assert "GPU-hours" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*IMAGES,), "--gpu or --bench: a plan needs a rate"),
        ((*IMAGES, "--gpu", "h300"), "--gpu h300: no published peak"),
        (("--gpu", "h100"), "--labelled-images: how many images have a label?"),
        ((*IMAGES, "--bench", "none.json"), "--bench none.json: No such file"),
        ((*IMAGES, "--gpu", "h100", "--json", "no/where.json"), "no folder no"),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    code, _, err = plan(monkeypatch, capsys, *TINY, *words)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
