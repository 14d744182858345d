"""Pictures of a run's report: its first screen, wide, dark and on a phone.

python docs/screenshots.py RUN OUT

Needs playwright and a Chromium that is installed. ``first.jpg`` is made to stand in a README: below
200 kB. The report is written anew from the run's ``results.json``, into a temporary folder.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from headstart.files import write_bytes
from headstart.reporting.page import write_report
from headstart.results import load_results

LIGHTEST = 200_000  # bytes
QUALITIES = (90, 80, 70, 60, 45)
SHOTS: dict[str, dict[str, Any]] = {
    "first": {"viewport": {"width": 1280, "height": 860}},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}


def main(run: Path, out: Path) -> None:
    """Write a JPEG and a PNG a shot."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("screenshots: no chromium is installed")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        page = _report(run, Path(name))
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for shot, settings in SHOTS.items():
            window = browser.new_page(device_scale_factor=1, **settings)
            window.goto(page.as_uri())
            _save(window.screenshot(), out / shot)
        browser.close()


def _report(run: Path, folder: Path) -> Path:
    """The page, written beside the pictures that the run shows."""
    results = load_results(run)
    photos = [image.photo for image in results.explained]
    photos += [image.photo for image in results.shown.images] if results.shown else []
    for name in {Path(photo).parts[0] for photo in photos}:
        shutil.copytree(run / name, folder / name)
    return write_report(results, folder)


def _save(png: bytes, place: Path) -> None:
    from PIL import Image

    write_bytes(place.with_suffix(".png"), png)
    with Image.open(io.BytesIO(png)) as shot:
        flat = shot.convert("RGB")
    for quality in QUALITIES:
        buffer = io.BytesIO()
        flat.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() < LIGHTEST:
            break
    write_bytes(place.with_suffix(".jpg"), buffer.getvalue())
    print(f"{place}.jpg  {buffer.tell():,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
