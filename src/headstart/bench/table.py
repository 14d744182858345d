"""The figures as a table, and one sentence on what limits the speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

ROWS = (
    ("floor_images_per_s", "bare network: forward, backward, optimiser", "images/s"),
    ("train_images_per_s", "real training", "images/s"),
    ("peer_images_per_s", "{peer}'s documented loop", "images/s"),
    ("ratio_to_floor", "real training over the bare network", "×"),
    ("ratio_to_peer", "real training over {peer}", "×"),
    ("labelled_images_per_s", "training on labels, a batch of the study's", "images/s"),
    ("views_per_s", "views alone, one thread (or the GPU)", "views/s"),
    ("cache_images_per_s_per_core", "decoding into the cache, one core", "images/s"),
    ("heads_core_seconds", "25 linear heads of 45 strengths each", "core-seconds"),
    ("epochs_core_seconds", "the same heads by 150 epochs through the backbone", "core-seconds"),
    ("flops_utilisation", "of what a plain matrix product reaches", "×"),
    ("peak_rss_bytes", "memory", "MB"),
    ("peak_gpu_bytes", "memory of the GPU", "MB"),
)


def bench_table(results: Mapping[str, Any]) -> Table:
    """The measured figures; what was not measured has no row."""
    from rich import box
    from rich.table import Table

    title = (
        f"{results['method']}, {results['backbone']} at {results['image_size']} px, batch "
        f"{results['batch_size']}, {results['precision']}, {results['device']}"
    )
    table = Table(box=box.SIMPLE_HEAD, title=title)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for key, what, unit in ROWS:
        value = results[key]
        if value is not None:
            value = value / 1e6 if unit == "MB" else value
            shown = f"{value:,.2f}" if unit == "×" else f"{value:,.{1 if value < 100 else 0}f}"
            table.add_row(what.format(peer=results["peer"]), shown, unit)
    return table


def limit(results: Mapping[str, Any]) -> str:
    """One plain sentence on what the training waits for."""
    ratio = results["ratio_to_floor"]
    views = 2 * results["train_images_per_s"] / results["views_per_s"]
    if results["device"] == "cpu":
        views /= results["threads"]
    around = max(0.0, 1 - ratio)
    if around <= 0.05:
        return (
            f"The network's own arithmetic takes {min(ratio, 1):.0%} of the time: only a smaller "
            "backbone, smaller images or a faster processor would help."
        )
    if views >= around / 2:
        return (
            f"The network's own arithmetic takes {ratio:.0%} of the time and making views about "
            f"{views:.0%}: the network is so small that its input costs."
        )
    return (
        f"The network's own arithmetic takes {ratio:.0%} of the time and making views about "
        f"{views:.0%}; the rest is spent on the loop, or this machine was busy: look at the range "
        "of the ratio and try again."
    )
