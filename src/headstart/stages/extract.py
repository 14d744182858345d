"""extract: a frozen encoder and images -> features, computed once for every head."""

from __future__ import annotations

from typing import Any

from headstart.runtime.networks import load_encoder, outputs, preprocessing
from headstart.runtime.run import Dataset, Run
from headstart.store import Entry
from headstart.types import Features


def extract(run: Run, data: Dataset, pretrained: Entry, label: str) -> Entry:
    """Features of all labelled images under one stored encoder."""
    settings = {"image_size": data.size, "cache_factor": run.study.data.cache_factor}
    entry = run.store.entry("extract", label, settings, [data.entry, pretrained])

    def work() -> dict[str, Any]:
        index = data.index
        positions = index.where("train", "validation", "test")
        x = outputs(load_encoder(run, pretrained, data), data.images(positions))
        Features(index.ids[positions], x.numpy(), index.labels[positions]).save(entry.folder)
        seen = preprocessing(data.images(index.where("test")), data)
        return {"dimension": x.shape[1], "preprocessing": seen}

    return entry.make(work)
