"""headstart from Python: the same answers, checks and errors as the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart
from headstart.stages.report import Outcome

SETTINGS: dict[str, Any] = {
    "methods": ["simclr"],
    "seeds": [0],
    "label_fractions": [1.0],
    "epochs": 1,
    "batch_size": 32,
    "backbone": "test_resnet",
    "image_size": 32,
    "device": "cpu",
}
ONE_TRIAL = {
    "epochs": 1,
    "min_steps": 2,
    "lrs": [0.1],
    "weight_decays": [1e-4],
    "max_lengthening": 1,
    "augmentations": ["light"],
}
GROUPS: dict[str, dict[str, Any]] = {
    "classify": {"protocols": ["linear"], "compute_matched": False, "finetune": ONE_TRIAL},
    "explain": {"images": 0},
    "compare": {"replicates": 100},
    "engine": {"threads": 1},
}


def flags() -> list[str]:
    """The same settings for the command line."""
    words = []
    for name, value in SETTINGS.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += ["--" + name.replace("_", "-"), text]
    for group, settings in GROUPS.items():
        for name, value in settings.items():
            words += ["--set", f"{group}.{name}={json.dumps(value)}"]
    return words


def test_python_and_the_command_line_agree(bags: Path, tmp_path: Path) -> None:
    folders = {"unlabeled": bags / "unlabeled", "labeled": bags / "labeled"}
    ours = headstart.run(
        **folders, out=tmp_path / "python" / "run", progress=False, **SETTINGS, **GROUPS
    )
    where = [f"--{name}={folder}" for name, folder in folders.items()]
    command = [sys.executable, "-m", "headstart", "run", *where, *flags()]
    subprocess.run([*command, "--out", tmp_path / "shell" / "run"], check=True, capture_output=True)
    stored = json.loads((tmp_path / "shell" / "run" / "results.json").read_text(encoding="utf8"))
    found = ours.to_json()
    del stored["provenance"], found["provenance"]
    assert found == stored


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epoch": 3}, "epoch: unknown setting; did you mean 'epochs'?"),
        ({"epochs": 0}, "pretrain.epochs"),
        ({"methods": ["simcrl"]}, "did you mean 'simclr'?"),
        ({"labeled": "nowhere"}, "no such folder"),
    ],
)
def test_a_mistake_is_one_line(settings: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(headstart.StudyError) as caught:
        headstart.run(out=tmp_path, progress=False, **settings)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_comes_back_as_it_was_trained(finished: Outcome) -> None:
    run = finished.results_path.parent
    trained, start = (headstart.load_encoder(run, name) for name in ("simclr", "random"))
    x = torch.rand(2, 3, 32, 32)
    assert not trained.training
    assert trained(x).ndim == 2
    assert not torch.equal(trained(x), start(x))
    with pytest.raises(headstart.StudyError, match="no encoder of dino with seed 0"):
        headstart.load_encoder(run, "dino")


def test_a_run_is_compared_again(finished: Outcome) -> None:
    again = headstart.compare(finished.results_path.parent)
    assert again.comparisons == finished.results.comparisons


def test_every_public_name_is_there_and_listed() -> None:
    assert dir(headstart) == sorted(headstart.__all__)
    assert all(getattr(headstart, name) is not None for name in headstart.__all__)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        headstart.other  # noqa: B018
