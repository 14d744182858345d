"""Export small runs in every format, and print the table of ``docs/export.md``.

python docs/export_table.py runs/export

Each run pretrains SimCLR for twenty epochs on generated bags of 32 px, so that no weight and
no running mean is near its start. Runs again where it was stopped.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

import headstart
from headstart.data.decode import square
from headstart.data.synthetic import BagsSpec, generate
from headstart.data.views import centre_views
from headstart.export.formats import FORMATS
from headstart.export.write import Asked, export
from headstart.runtime.stored import Wanted

BACKBONES = ("test_resnet", "resnet18", "resnet50", "test_vit", "regnet_y_400mf")
SIZE = 32
TRIAL = {"epochs": 1, "min_steps": 2, "lrs": [0.1], "weight_decays": [1e-4], "max_lengthening": 1}
SETTINGS: dict[str, Any] = {
    "methods": {"simclr": {"hidden": 32, "dim": 32}},
    "pretrain": {"epochs": 20, "batch_size": 32},
    "classify": {"protocols": ["linear"], "compute_matched": False, "finetune": TRIAL},
    "explain": {"images": 0},
    "compare": {"replicates": 100},
    "engine": {"device": "cpu", "threads": 1},
    "seeds": [0],
}


def main() -> None:
    """Run, export, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    home = parser.parse_args().folder
    spec = BagsSpec(pool=60, train_per_class=6, validation_per_class=3, test_per_class=4, size=96)
    bags = home / "bags"
    if not bags.exists():
        generate(bags, spec)
    print("| backbone | " + " | ".join(f"`{name}`" for name in FORMATS) + " |")
    print("|---" * (1 + len(FORMATS)) + "|")
    for backbone in BACKBONES:
        run = home / backbone
        encoder = {"backbone": backbone, "image_size": SIZE}
        folders = {"unlabeled": bags / "unlabeled", "labeled": bags / "labeled"}
        headstart.run(**folders, out=run, encoder=encoder, progress=False, **SETTINGS)
        print(f"| {backbone} | " + " | ".join(row(run, home / "exported")) + " |", flush=True)
    print("\n" + resized(sorted((bags / "labeled" / "test").rglob("*.jpg"))))


def row(run: Path, out: Path) -> Iterator[str]:
    """A cell a format: the encoder's difference, and the classifier's."""
    for name in FORMATS:
        cells = [cell(Asked(run, wanted, name, out)) for wanted in _wanted()]
        yield " / ".join(dict.fromkeys(cells)) if "–" in cells else " / ".join(cells)


def _wanted() -> tuple[Wanted, Wanted]:
    return Wanted("simclr"), Wanted("simclr", protocol="linear")


def cell(asked: Asked) -> str:
    """The largest difference over the largest answer; a dash where the library has no model."""
    try:
        found = export(asked).agreement.relative
    except headstart.StudyError as error:
        if "has no model of that name" not in str(error):
            raise
        return "–"
    shutil.rmtree(asked.out)
    return f"{found:.0e}" if found else "0"


def resized(paths: list[Path]) -> str:
    """How far torchvision's own resize and crop of a file is from the run's pixels."""
    plain = v2.Compose([v2.Resize(SIZE, antialias=True), v2.CenterCrop(SIZE), v2.PILToTensor()])
    apart = []
    for path in paths:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        pixels, aspect = square(rgb, round(1.25 * SIZE))
        own = centre_views(torch.from_numpy(pixels)[None], torch.tensor([aspect]), SIZE)[0]
        apart.append(float((own * 255 - plain(rgb)).abs().mean()))
    return (
        f"{len(paths)} bags, resized and cropped by torchvision: {np.mean(apart):.1f} grey levels"
    )


if __name__ == "__main__":
    main()
