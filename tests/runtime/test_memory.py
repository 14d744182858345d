"""Memory does not grow with the length of a training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import tiny_study
from headstart.stages.classify import classify
from headstart.stages.pretrain import pretrain, start
from headstart.runtime.run import Cell

class Weighs(tiny_study.Spoken):
    mega = []
    def progress(self, what, done, total):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.mega.append(pages * 4096 / 1e6)

with tempfile.TemporaryDirectory() as folder:
    sizes = {"epochs": 200, "batch_size": 16, "check_epochs": 1, "checkpoint_minutes": 0.01}
    asked = tiny_study.study(encoder={"image_size": 16}, pretrain=sizes)
    run = tiny_study.open_run(asked, Path(folder), Weighs())
    data = tiny_study.made_data(run, pool=32)
    pretrain(run, data, sys.argv[2], 0, start(run, 0, "random"))
    print(json.dumps(Weighs.mega))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moco", "byol"])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_200_epochs(method: str) -> None:
    """Resident megabytes at 200 checks: the last fifty against the second fifty."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), method],
        capture_output=True,
        text=True,
        check=True,
    )
    mega = np.array(json.loads(done.stdout))
    print(f"{method}: {mega[0]:.0f} MB, {np.median(mega[50:100]):.1f}, {np.median(mega[150:]):.1f}")
    assert len(mega) == 200
    assert np.median(mega[150:]) - np.median(mega[50:100]) < 8
