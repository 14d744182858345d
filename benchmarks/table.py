"""The JSON files beside this one as a table in Markdown: ``python benchmarks/table.py cpu``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEAD = (
    "method",
    "network",
    "batch",
    "bare, images/s",
    "training, images/s",
    "ratio to bare",
    "lightly, images/s",
    "ratio to lightly",
    "views/s",
    "FLOPs used",
    "memory, GB",
)


def row(found: dict) -> list[str]:
    """The cells of one measurement."""

    def ratio(key: str) -> str:
        if found[key] is None:
            return "–"
        low, high = found[f"{key}_range"]
        return f"**{found[key]:.2f}** ({low:.2f} … {high:.2f})"

    peer = found["peer_images_per_s"]
    one_way = found["settings"].get("symmetric") is False
    memory = found["peak_gpu_bytes"] or found["peak_rss_bytes"]
    return [
        found["method"] + ", one way" * one_way + ", compiled" * found["compile"],
        f"{found['backbone']} at {found['image_size']} px",
        str(found["batch_size"]),
        f"{found['floor_images_per_s']:,.4g}",
        f"{found['train_images_per_s']:,.4g}",
        ratio("ratio_to_floor"),
        f"{peer:,.4g}" if peer else "–",
        ratio("ratio_to_peer"),
        f"{found['views_per_s']:,.0f}",
        f"{found['flops_utilisation']:.0%}",
        f"{memory / 1e9:.1f}",
    ]


def main() -> None:
    """Print a table of all files whose names begin as asked."""
    files = sorted(Path(__file__).parent.glob(f"{sys.argv[1]}-*.json"))
    rows = [row(json.loads(file.read_text(encoding="utf8"))) for file in files]
    for cells in (HEAD, ["---"] * 3 + ["---:"] * 8, *rows):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
